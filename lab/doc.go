// Package lab starts a real kubeadm cluster on this machine, for tests that must see a real kubelet, API server, etcd and
// systemd.
//
// A node is a systemd-nspawn container booted from a root filesystem of its own, in a network of its own that nothing outside
// the cluster can reach. All that takes long to make is kept below one folder and made once: binaries, built from Go modules;
// the distribution's root filesystem; and the stopped node right after kubeadm init, from which Start and Reset begin.
package lab
