package sandbox

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// plugins are the admission plugins of 1.37 (--help).
var plugins = strings.Fields(`AlwaysAdmit AlwaysDeny AlwaysPullImages CertificateApproval CertificateSigning
	CertificateSubjectRestriction ClusterTrustBundleAttest DefaultIngressClass DefaultStorageClass DefaultTolerationSeconds
	DenyServiceExternalIPs EventRateLimit ExtendedResourceToleration ImagePolicyWebhook LimitPodHardAntiAffinityTopology
	LimitRanger MutatingAdmissionPolicy MutatingAdmissionWebhook NamespaceAutoProvision NamespaceExists NamespaceLifecycle
	NodeDeclaredFeatureValidator NodeRestriction OwnerReferencesPermissionEnforcement PersistentVolumeClaimResize
	PodGroupProtection PodNodeSelector PodResizeValidator PodSecurity PodTolerationRestriction PodTopologyLabels Priority
	ResourceQuota RuntimeClass ServiceAccount StorageObjectInUseProtection TaintNodesByCondition ValidatingAdmissionPolicy
	ValidatingAdmissionWebhook`)

// removedGates are feature gates that were common once and that 1.37 does not know any more.
var removedGates = strings.Fields(`AnonymousAuthConfigurableEndpoints StructuredAuthenticationConfiguration
	StructuredAuthorizationConfiguration AuthorizeWithSelectors KMSv2 KMSv1`)

// apiServer is a configuration that the API server has accepted.
type apiServer struct {
	args  arguments
	authn authn
	audit *auditing // nil: off
}

// read gives a file as a process in the container sees it.
type read func(path string) ([]byte, error)

// startAPIServer accepts a command line or says what the API server's last words would be.
func startAPIServer(argv []string, file read) (*apiServer, error) {
	a := arguments{flagSet("kube-apiserver", apiServerFlags)}
	if err := a.Parse(argv[min(1, len(argv)):]); err != nil {
		return nil, wordsf("Error: %s", err)
	}
	if rest := a.Args(); len(rest) > 0 {
		return nil, wordsf("Error: \"kube-apiserver\" does not take any arguments, got %q", rest)
	}
	s := &apiServer{args: a}
	for _, step := range []func(read) error{s.checkGates, s.checkFlags, s.checkFiles, s.loadAuthn, s.loadAudit} {
		if err := step(file); err != nil {
			return nil, failure(err)
		}
	}
	return s, nil
}

// words are an error as others word it.
type words string

func (w words) Error() string { return string(w) }

func wordsf(format string, args ...any) error { return words(fmt.Sprintf(format, args...)) }

// failure puts an error as the components' last line does.
func failure(err error) error {
	return fmt.Errorf(`"command failed" err=%s`, strconv.Quote(err.Error()))
}

func (s *apiServer) checkGates(read) error {
	for gate := range strings.SplitSeq(s.args.text("feature-gates"), ",") {
		name, _, _ := strings.Cut(strings.TrimPrefix(gate, "kube:"), "=")
		if slices.Contains(removedGates, name) {
			return fmt.Errorf("unrecognized feature gate: %s", name)
		}
	}
	return nil
}

// checkFlags is what the API server says at once of flags that are wrong in themselves or do not go together.
func (s *apiServer) checkFlags(read) error {
	a := s.args
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := s.goaway(); err != nil {
		errs = append(errs, err)
	}
	if !a.Changed("etcd-servers") {
		refuse("--etcd-servers must be specified")
	}
	if !a.Changed("service-account-issuer") {
		refuse("service-account-issuer is a required flag")
	}
	s.checkAuthorization(refuse)
	if a.Changed("authentication-config") {
		a.VisitAll(func(f *pflag.Flag) {
			if f.Changed && strings.HasPrefix(f.Name, "oidc-") && len(errs) == 0 {
				refuse("authentication-config file and oidc-* flags are mutually exclusive")
			}
		})
	}
	for _, name := range []string{"audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize"} {
		if v := a.text(name); strings.HasPrefix(v, "-") {
			refuse("--%s %s can't be a negative number", name, v)
		}
	}
	for _, f := range []struct {
		name  string
		known []string
	}{{"format", []string{"legacy", "json"}}, {"mode", []string{"batch", "blocking", "blocking-strict"}}} {
		if v := a.text("audit-log-" + f.name); v != "" && !slices.Contains(f.known, v) {
			refuse("invalid audit log %s %s, allowed %ss are %q", f.name, v, f.name, strings.Join(f.known, ","))
		}
	}
	s.checkAdmission(refuse)
	if err := checkTLS(a.text("tls-min-version"), a.list("tls-cipher-suites")); err != nil {
		errs = append(errs, err)
	}
	if agg := utilerrors.NewAggregate(errs); agg != nil {
		return agg
	}
	return nil
}

func (s *apiServer) checkAuthorization(refuse func(string, ...any)) {
	a, modes := s.args, s.args.list("authorization-mode")
	if a.Changed("authorization-config") {
		if a.Changed("authorization-mode") {
			refuse("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined")
		}
		return
	}
	for _, m := range modes {
		if !slices.Contains([]string{"AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node"}, m) {
			refuse("authorization-mode %q is not a valid mode", m)
		}
	}
	if slices.Contains(modes, "ABAC") && !a.Changed("authorization-policy-file") {
		refuse("authorization-mode ABAC's authorization policy file not passed")
	}
	if slices.Contains(modes, "Webhook") && !a.Changed("authorization-webhook-config-file") {
		refuse("authorization-mode Webhook's authorization config file not passed")
	}
	sorted := slices.Sorted(slices.Values(modes))
	if len(slices.Compact(sorted)) < len(modes) {
		refuse("authorization-mode %q has mode specified more than once", modes)
	}
}

func (s *apiServer) checkAdmission(refuse func(string, ...any)) {
	on, off := s.args.list("enable-admission-plugins"), s.args.list("disable-admission-plugins")
	if s.args.Changed("admission-control") && len(on)+len(off) > 0 {
		refuse("admission-control and enable-admission-plugins/disable-admission-plugins flags are mutually exclusive")
		return
	}
	for _, l := range []struct {
		flag  string
		names []string
	}{{"enable", on}, {"disable", off}} {
		for _, name := range l.names {
			if !slices.Contains(plugins, name) {
				refuse("%s-admission-plugins plugin %q is unknown", l.flag, name)
			}
		}
	}
	var both []string
	for _, name := range on {
		if slices.Contains(off, name) {
			both = append(both, name)
		}
	}
	if len(both) > 0 {
		refuse("%v in enable-admission-plugins and disable-admission-plugins overlapped", both)
	}
	if slices.Contains(on, "EventRateLimit") && !s.args.Changed("admission-control-config-file") {
		refuse("couldn't init admission plugin \"EventRateLimit\": limits: Invalid value: null: must not be empty")
	}
}

// offByDefault are the admission plugins that are on only by their name in a flag.
var offByDefault = strings.Fields(`AlwaysAdmit AlwaysDeny AlwaysPullImages DenyServiceExternalIPs EventRateLimit ExtendedResourceToleration
	ImagePolicyWebhook LimitPodHardAntiAffinityTopology NamespaceAutoProvision NamespaceExists NodeRestriction
	OwnerReferencesPermissionEnforcement PodNodeSelector PodTolerationRestriction`)

// admitting are the admission plugins that are on.
func (s *apiServer) admitting() []string {
	if s.args.Changed("admission-control") {
		return s.args.list("admission-control")
	}
	on, off := s.args.list("enable-admission-plugins"), s.args.list("disable-admission-plugins")
	var out []string
	for _, p := range plugins {
		if !slices.Contains(off, p) && (slices.Contains(on, p) || !slices.Contains(offByDefault, p)) {
			out = append(out, p)
		}
	}
	return out
}

// checkTLS is the components' common judgement of a version and a list of cipher suites.
func checkTLS(version string, suites []string) error {
	if !slices.Contains([]string{"", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"}, version) {
		return fmt.Errorf("unknown tls version %q", version)
	}
	known := []string{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"}
	for _, c := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		known = append(known, c.Name)
	}
	for _, name := range suites {
		if !slices.Contains(known, name) {
			return wordsf("Cipher suite %s not supported or doesn't exist", name)
		}
	}
	return nil
}

// neededFiles are read when the API server starts, in about this order; as says what it puts before the reason.
var neededFiles = []struct{ flag, as string }{
	{"tls-cert-file", ""}, {"tls-private-key-file", ""},
	{"service-account-signing-key-file", "failed to parse service-account-issuer-key-file: "}, {"service-account-key-file", ""},
	{"client-ca-file", ""}, {"requestheader-client-ca-file", ""}, {"token-auth-file", ""},
	{"authorization-config", "failed to load AuthorizationConfiguration from file: failed to read: "},
	{"authorization-policy-file", ""}, {"authorization-webhook-config-file", ""},
	{"encryption-provider-config", "error while parsing file: error while loading file: error reading encryption provider configuration file: "},
	{"etcd-cafile", "error creating storage factory: "}, {"etcd-certfile", "error creating storage factory: "}, {"etcd-keyfile", "error creating storage factory: "},
}

func (s *apiServer) checkFiles(file read) error {
	for _, n := range neededFiles {
		paths := s.args.list(n.flag)
		if paths == nil {
			paths = []string{s.args.text(n.flag)}
		}
		for _, p := range paths {
			if p == "" {
				continue
			}
			if _, err := file(p); err != nil {
				return fmt.Errorf("%s%w", n.as, missing(p, err))
			}
		}
	}
	return nil
}

// missing says that a file cannot be opened as a component does.
func missing(p string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: no such file or directory", p)
	}
	return fmt.Errorf("open %s: %w", p, err)
}
