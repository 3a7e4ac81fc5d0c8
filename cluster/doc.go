// Package cluster is the Kubernetes API of one cluster: who it is, the facts that controls need of it, and the few objects
// that are written. It is the only importer of client-go.
//
// Nothing is cached and nothing is watched: every method asks, and gives up after [Options].Timeout per request. Requests go
// to the kubeconfig's server and nowhere else: redirects are not followed. Credential plugins that a kubeconfig names
// are run, as kubectl runs them; login by OpenID Connect from within this program is not built in, as it would talk to
// others than the cluster.
//
// Every error is an [objects.Error], with the reason told apart. Names and other texts from the API are returned as they
// are; making them safe to show is up to the caller.
package cluster
