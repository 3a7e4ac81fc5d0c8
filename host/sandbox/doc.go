// Package sandbox is a control-plane node that is not there: real files in a temporary root, and a kubelet, an API server and
// the rest that behave towards them as those of kubeadm 1.37 do, by a clock that is given.
//
// Nothing runs by itself. What would have happened since is worked out when somebody looks, so a clock that jumps, or runs
// faster than time, is as good as one that does not. Only the files are real: logs are kept in memory, and directories that the
// kubelet would make for a mount are not made, so that the root can be compared byte for byte.
//
// The API server and the kubelet accept and refuse configuration as the real ones do, with their last words. The controller
// manager, the scheduler and etcd accept any.
package sandbox
