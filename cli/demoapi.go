package cli

import (
	"context"
	"time"

	clustersandbox "kubectl-harden.io/kubectl-harden/cluster/sandbox"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/host/sandbox"
)

// sandboxAPI is the sandbox cluster behind the sandbox node's API server: it answers while that one serves.
type sandboxAPI struct {
	sandbox.ServerAPI // what is asked of the server itself
	cluster           *clustersandbox.Cluster
	node              *sandbox.Node
}

func (s *sandboxAPI) now() *clustersandbox.Cluster {
	s.cluster.Down(!s.node.Serving())
	return s.cluster
}

func (s *sandboxAPI) At(_ string, port int) apply.API {
	return sandbox.ServerAPI{Node: s.node, Port: port}
}

func (s *sandboxAPI) Readyz(context.Context) (bool, []string, error) {
	return s.node.Serving(), nil, nil
}

func (s *sandboxAPI) TrialWrite(ctx context.Context) error {
	_, err := s.now().AdminGet(ctx, "/api", "")
	return err
}

func (s *sandboxAPI) CheckIdentity(ctx context.Context, node harden.Identity) error {
	return s.now().CheckIdentity(ctx, node)
}

func (s *sandboxAPI) Facts(ctx context.Context, needs []harden.Need) (*harden.ClusterFacts, map[harden.Need]harden.Message) {
	return s.now().Facts(ctx, needs)
}

func (s *sandboxAPI) Object(ctx context.Context, ref harden.ObjectRef) (harden.State, string, string, error) {
	return s.now().Object(ctx, ref)
}

func (s *sandboxAPI) Preview(ctx context.Context, ref harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error) {
	return s.now().Preview(ctx, ref, yaml)
}

func (s *sandboxAPI) Edited(ctx context.Context, ref harden.ObjectRef, edit func(harden.State) (harden.State, error)) (harden.ObjectPreview, error) {
	return s.now().Edited(ctx, ref, edit)
}

func (s *sandboxAPI) Create(ctx context.Context, ref harden.ObjectRef, yaml []byte) (string, string, error) {
	return s.now().Create(ctx, ref, yaml)
}

func (s *sandboxAPI) Replace(ctx context.Context, ref harden.ObjectRef, yaml []byte, uid, version string) (string, error) {
	return s.now().Replace(ctx, ref, yaml, uid, version)
}

func (s *sandboxAPI) Delete(ctx context.Context, ref harden.ObjectRef, uid, version string) error {
	return s.now().Delete(ctx, ref, uid, version)
}

func (s *sandboxAPI) NodeReady(ctx context.Context, node string, since time.Time) (bool, string, error) {
	return s.now().NodeReady(ctx, node, since)
}

func (s *sandboxAPI) AdminGet(ctx context.Context, path, userAgent string) (int, error) {
	return s.now().AdminGet(ctx, path, userAgent)
}

func (s *sandboxAPI) GetAt(_ context.Context, host string, port int, path string) (int, error) {
	return s.node.GetAt(host, port, path)
}

func (s *sandboxAPI) ControlPlanes(ctx context.Context) ([]harden.ControlPlane, error) {
	return s.now().ControlPlanes(ctx)
}

func (s *sandboxAPI) AskAt(ctx context.Context, address, path string) error {
	return s.now().AskAt(ctx, address, path)
}

func (s *sandboxAPI) Encryption(ctx context.Context, m harden.ControlPlane) (string, error) {
	return s.now().Encryption(ctx, m)
}

func (s *sandboxAPI) Working(ctx context.Context, namespaces []string) (map[string]string, error) {
	return s.now().Working(ctx, namespaces)
}

func (s *sandboxAPI) Endpoints(ctx context.Context) ([]string, error) { return s.now().Endpoints(ctx) }

func (s *sandboxAPI) Leases(ctx context.Context) (map[string]harden.Lease, error) {
	return s.now().Leases(ctx)
}

func (s *sandboxAPI) Configz(ctx context.Context, node string) (map[string]any, error) {
	return s.now().Configz(ctx, node)
}

func (s *sandboxAPI) ServingRequests(ctx context.Context, node string) ([]harden.ServingRequest, []string, error) {
	return s.now().ServingRequests(ctx, node)
}

func (s *sandboxAPI) Approve(ctx context.Context, r harden.ServingRequest, why string) error {
	return s.now().Approve(ctx, r, why)
}

func (s *sandboxAPI) KubeletServing(ctx context.Context, node string) (harden.KubeletServingFact, error) {
	return s.now().KubeletServing(ctx, node)
}
