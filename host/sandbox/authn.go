package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
)

// authn is who may ask without credentials.
type authn struct {
	anonymous  bool
	conditions []string // paths; none: every path
}

// loadAuthn reads --authentication-config, or goes by --anonymous-auth.
func (s *apiServer) loadAuthn(file read) error {
	s.authn.anonymous = s.args.is("anonymous-auth", true)
	if modes := s.args.list("authorization-mode"); slices.Contains(modes, "AlwaysAllow") || len(modes) == 0 && !s.args.Changed("authorization-config") {
		s.authn.anonymous = false // everything would be allowed to anybody
	}
	path := s.args.text("authentication-config")
	if path == "" {
		return nil
	}
	c, err := readAuthn(path, file)
	if err != nil {
		return fmt.Errorf("failed to load authentication configuration from file %q: %w", path, err)
	}
	if c.Anonymous == nil {
		return nil
	}
	if s.args.Changed("anonymous-auth") {
		return fmt.Errorf("anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file")
	}
	s.authn.anonymous = s.authn.anonymous && c.Anonymous.Enabled
	var shown []string
	for _, cond := range c.Anonymous.Conditions {
		s.authn.conditions = append(s.authn.conditions, cond.Path)
		shown = append(shown, fmt.Sprintf(`{"Path":%q}`, cond.Path))
	}
	if !c.Anonymous.Enabled && len(shown) > 0 {
		return fmt.Errorf("invalid authentication configuration: anonymous.conditions: Invalid value: [%s]: enabled should be set to true when conditions are defined", strings.Join(shown, ","))
	}
	return nil
}

func readAuthn(path string, file read) (*apiserverv1.AuthenticationConfiguration, error) {
	data, err := file(path)
	if err != nil {
		return nil, missing(path, err)
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("empty config data")
	}
	o, err := decodeAuthn(data)
	if err != nil {
		return nil, err
	}
	c, ok := o.(*apiserverv1.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("expected AuthenticationConfiguration, got %T", o)
	}
	return c, nil
}

// addBeta knows the type under its older names too; its fields are the same.
func addBeta(s *runtime.Scheme) error {
	for _, v := range []string{"v1beta1", "v1alpha1"} {
		gv := apiserverv1.SchemeGroupVersion
		gv.Version = v
		s.AddKnownTypeWithName(gv.WithKind("AuthenticationConfiguration"), &apiserverv1.AuthenticationConfiguration{})
	}
	return nil
}

// answer is the status of a GET without credentials. rbac says that the roles have been read.
func (s *apiServer) answer(path string, rbac bool) int {
	switch {
	case !s.authn.anonymous, len(s.authn.conditions) > 0 && !slices.Contains(s.authn.conditions, path):
		return 401
	case !rbac || !slices.Contains(s.args.list("authorization-mode"), "RBAC") && !s.args.Changed("authorization-config"):
		return 403
	case slices.Contains(publicPaths, path):
		return 200
	}
	return 403
}

// publicPaths are what the roles system:public-info-viewer and kubeadm's bootstrap-signer-clusterinfo let anybody read.
var publicPaths = []string{"/healthz", "/livez", "/readyz", "/version", "/version/", "/api/v1/namespaces/kube-public/configmaps/cluster-info"}

// allowsAll says that the authorization is AlwaysAllow, which it is without the flag too.
func (s *apiServer) allowsAll() bool {
	modes := s.args.list("authorization-mode")
	return slices.Contains(modes, "AlwaysAllow") || len(modes) == 0 && !s.args.Changed("authorization-config")
}

// admin is the status of a GET as the administrator.
func (s *apiServer) admin(path string) int {
	switch {
	case path == "/debug/pprof" || strings.HasPrefix(path, "/debug/pprof/"):
		if s.args.is("profiling", true) {
			return 200
		}
		return 404
	case slices.Contains(publicPaths, path), slices.Contains([]string{"/", "/api", "/apis", "/metrics"}, path):
		return 200
	}
	for _, tree := range []string{"/healthz/", "/livez/", "/readyz/", "/api/v1", "/apis/", "/openapi/", "/metrics/"} {
		if strings.HasPrefix(path, tree) {
			return 200
		}
	}
	return 404
}
