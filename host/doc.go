// Package host is the node as it is: the files below a root, and of the running machine its processes, systemd units,
// container runtime and probe endpoints.
//
// # Files
//
// [Root] implements backups.FS; the interface lives in backups, so host imports it for the types of its signatures.
// Every path is resolved inside the root: absolute links such as /var/run lead to the root's own /run, and nothing leads
// out of it. Reads follow links. Writes are refused with an [UnsafeError] where anybody but root could decide what is
// written to: see [Root.Create].
//
// # Processes and services
//
// They exist only where the root is the running machine's own "/": everywhere else these methods return nothing, or
// [ErrOffline]. Nothing here contacts an address that the caller or the node's own configuration did not name.
//
// Texts from files, processes and containers are returned as they are; making them safe to show is up to the caller.
// Error messages quote paths.
package host
