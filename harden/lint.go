package harden

import (
	"crypto/tls"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/patches"
)

// wellFormed are the checks of what a stage writes and starts, as far as it can be judged without running it: files decoded
// strictly, and the rules by which components refuse flags. What was wrong before and stays so is not this plan's.
func wellFormed(f *Facts, st Stage) []Check {
	if f.Identity.Offline && len(st.Steps) == 0 {
		return nil
	}
	found := map[ComponentID][]Message{}
	checked := map[ComponentID]bool{}
	var out []Check
	for _, c := range Components {
		if _, touched := st.Effect(c.ID); touched {
			checked[c.ID] = true
			found[c.ID] = flagProblems(f, st, c)
		}
	}
	readers := map[string]ComponentID{}
	for _, c := range Components {
		for _, p := range filesOf(st, c) {
			if readers[p] == "" {
				readers[p] = c.ID
			}
		}
	}
	for _, s := range st.Steps {
		if s.Kind != StepFile || !s.After.Exists {
			continue
		}
		reader := readers[s.Path]
		problems := fileProblems(f, s, reader)
		switch {
		case len(problems) == 0:
		case reader != "":
			checked[reader] = true
			found[reader] = append(found[reader], problems...)
		default:
			out = append(out, problemCheck(Check{Control: s.Controls()[0]}, s.ID, problems))
		}
	}
	for _, c := range Components {
		if checked[c.ID] {
			out = append(out, problemCheck(Check{Component: c.ID}, string(c.ID), found[c.ID]))
		}
	}
	return append(out, pairChecks(st)...)
}

func problemCheck(c Check, what string, problems []Message) Check {
	c.Blocks = true
	c.Precondition = Precondition{ID: "well-formed", Title: Msg("files and flags for %s are well-formed", what), State: Met}
	if len(problems) == 0 {
		return c
	}
	c.State, c.Message = Unmet, problems[0]
	if more := len(problems) - 1; more > 0 {
		c.Message = Msg("%s (and %d more)", problems[0], more)
	}
	for _, p := range problems {
		c.Evidence = append(c.Evidence, Evidence{Source: what, Value: p.String()})
	}
	return c
}

// fileProblems are new problems of a file that the stage writes and the reader reads.
func fileProblems(f *Facts, s Step, reader ComponentID) []Message {
	judge := func(data []byte) []Message {
		if !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(s.Path)) {
			return nil
		}
		return DecodeProblems(data, versionOf(f, reader))
	}
	switch c, _ := ComponentByID(reader); {
	case c.StaticPod() && s.Component == reader:
		judge = func(data []byte) []Message { return ExpectKind(data, "Pod", versionOf(f, Kubelet)) }
	case f.Kubelet != nil && s.Path == f.Kubelet.Config.Path:
		judge = func(data []byte) []Message { return ExpectKind(data, "KubeletConfiguration", versionOf(f, Kubelet)) }
	case f.Kubelet != nil && KubeletReadsFlags(f.Kubelet, s.Path):
		judge = func([]byte) []Message { return nil } // editing it has read it, and its flags are checked
	case strings.HasPrefix(s.Path, "/etc/sysctl.d/"):
		judge = sysctlProblems
	}
	var before []Message
	if s.Before.Exists {
		before = judge(s.Before.Data)
	}
	var out []Message
	for _, m := range newProblems(before, judge(s.After.Data)) {
		out = append(out, Msg("%s: %s", s.Path, m))
	}
	return out
}

func newProblems(before, after []Message) []Message {
	var out []Message
	for _, m := range after {
		if !slices.ContainsFunc(before, func(b Message) bool { return b.String() == m.String() }) {
			out = append(out, m)
		}
	}
	return out
}

// versionOf a component, or of the node where the kubelet's own is not known; zero: not known.
func versionOf(f *Facts, id ComponentID) Version {
	switch c := f.Component(id); {
	case c != nil && id != Etcd:
		return c.Version
	case id == Kubelet && f.Kubelet != nil && !f.Kubelet.Version.IsZero():
		return f.Kubelet.Version
	}
	return Version{}
}

// flagProblems are new problems of a component's flags.
func flagProblems(f *Facts, st Stage, c Component) []Message {
	var out []Message
	for _, s := range st.Steps {
		if s.Component != c.ID || s.Kind != StepFile || !c.StaticPod() {
			continue
		}
		before := flagRules(f, st, c, s.Before.Data, false)
		out = append(out, newProblems(before, flagRules(f, st, c, s.After.Data, true))...)
	}
	return out
}

// command is a component's command line with what its files hold.
type command struct {
	args    []string
	version Version
	// file gives what the process would read at a path; known says that it is known here, mounted that it would see the host there.
	file func(path string) (data []byte, known, mounted bool)
}

func (c command) flag(name string) FlagFact { return flagFrom(c.args, name, "") }

func (c command) set(name string) bool { return c.flag(name).Set }

func flagRules(f *Facts, st Stage, c Component, manifest []byte, planned bool) []Message {
	pod, ct := podOf(manifest, c)
	if pod == nil {
		return nil
	}
	cmd := command{args: slices.Concat(ct.Command, ct.Args), version: versionOf(f, c.ID)}
	cmd.file = func(path string) ([]byte, bool, bool) {
		host, mounted := hostPath(pod, ct, path)
		if !mounted {
			return nil, false, false
		}
		for _, s := range st.Steps {
			if s.Path == host && s.Kind == StepFile {
				if planned {
					return s.After.Data, s.After.Exists, true
				}
				return s.Before.Data, s.Before.Exists, true
			}
		}
		fact, read := f.Files[host]
		return fact.State.Data, read && fact.Unread.IsZero() && fact.State.Exists, true
	}
	switch c.ID {
	case APIServer:
		return apiServerFlagProblems(cmd)
	case ControllerManager, Scheduler:
		return servingProblems(cmd)
	case Etcd:
		return etcdFlagProblems(cmd)
	}
	return nil
}

// TLSProblems are the reasons for which a component refuses a lowest version and a list of cipher suites. Go's HTTP/2 does not
// start with a list that lacks the suites that its standard wants, unless TLS 1.3 is the lowest.
func TLSProblems(version string, suites []string) []Message {
	var out []Message
	if !slices.Contains([]string{"", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"}, version) {
		out = append(out, Msg("there is no TLS version %q", version))
	}
	for _, name := range suites {
		if !knownSuite(name) {
			out = append(out, Msg("there is no cipher suite %q", name))
		}
	}
	if len(suites) > 0 && version != "VersionTLS13" && !slices.ContainsFunc(suites, func(name string) bool {
		return name == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" || name == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
	}) {
		out = append(out, Msg("the cipher suites lack both that HTTP/2 needs: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 and TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"))
	}
	return out
}

func knownSuite(name string) bool {
	if name == "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" || name == "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" {
		return true
	}
	return slices.ContainsFunc(slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()), func(c *tls.CipherSuite) bool { return c.Name == name })
}

func servingProblems(c command) []Message {
	suites := c.flag("tls-cipher-suites").List()
	if b, err := strconv.ParseBool(c.flag("disable-http2-serving").Last()); err == nil && b && len(suites) > 0 {
		return slices.DeleteFunc(TLSProblems(c.flag("tls-min-version").Last(), suites), func(m Message) bool { return strings.Contains(m.Format, "HTTP/2") })
	}
	return TLSProblems(c.flag("tls-min-version").Last(), suites)
}

func etcdFlagProblems(c command) []Message {
	var out []Message
	least := c.flag("tls-min-version").Last()
	versions := []string{"", "TLS1.2", "TLS1.3"}
	for _, name := range []string{"tls-min-version", "tls-max-version"} {
		if v := c.flag(name).Last(); !slices.Contains(versions, v) {
			out = append(out, Msg("--%s: there is no TLS version %q; TLS1.2 and TLS1.3 are possible", name, v))
		}
	}
	if least == "TLS1.3" && c.flag("tls-max-version").Last() == "TLS1.2" {
		out = append(out, Msg("--tls-min-version is above --tls-max-version"))
	}
	suites := c.flag("cipher-suites").List()
	for _, name := range suites {
		if !knownSuite(name) {
			out = append(out, Msg("--cipher-suites: there is no cipher suite %q", name))
		}
	}
	if least == "TLS1.3" && len(suites) > 0 {
		out = append(out, Msg("--cipher-suites cannot be set where TLS1.3 is the lowest version"))
	}
	return out
}

// authorizationModes of the API server.
var authorizationModes = []string{"AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node"}

// neededFiles are flags that name files which the API server reads when it starts.
var neededFiles = []string{
	"tls-cert-file", "tls-private-key-file", "client-ca-file", "requestheader-client-ca-file", "token-auth-file", "service-account-key-file",
	"service-account-signing-key-file", "etcd-cafile", "etcd-certfile", "etcd-keyfile", "kubelet-client-certificate", "kubelet-client-key",
	"kubelet-certificate-authority", "proxy-client-cert-file", "proxy-client-key-file", "audit-policy-file", "audit-webhook-config-file",
	"authentication-config", "authorization-config", "authorization-policy-file", "authorization-webhook-config-file",
	"authentication-token-webhook-config-file", "admission-control-config-file", "encryption-provider-config", "egress-selector-config-file",
	"tracing-config-file", "oidc-ca-file",
}

func apiServerFlagProblems(c command) []Message {
	out := servingProblems(c)
	refuse := func(format string, args ...any) { out = append(out, Msg(format, args...)) }
	for _, name := range neededFiles {
		for _, p := range c.flag(name).Values {
			if _, _, mounted := c.file(p); strings.HasPrefix(p, "/") && !mounted {
				refuse("--%s: no mount shows %s to the API server", name, p)
			}
		}
	}
	for _, name := range []string{"etcd-servers", "service-account-issuer", "service-account-key-file", "service-account-signing-key-file"} {
		if !c.set(name) && !c.set("service-account-signing-endpoint") {
			refuse("--%s is missing", name)
		}
	}
	admissionFlagProblems(c, refuse)
	authnFlagProblems(c, refuse)
	authzFlagProblems(c, refuse)
	auditFlagProblems(c, refuse)
	if c.set("encryption-provider-config-automatic-reload") && !c.set("encryption-provider-config") {
		refuse("--encryption-provider-config-automatic-reload is for --encryption-provider-config, which is not set")
	}
	return out
}

func admissionFlagProblems(c command, refuse func(string, ...any)) {
	on, off, exact := c.flag("enable-admission-plugins"), c.flag("disable-admission-plugins"), c.flag("admission-control")
	if exact.Set && (on.Set || off.Set) {
		refuse("--admission-control does not go with --enable-admission-plugins or --disable-admission-plugins")
	}
	for _, name := range slices.Concat(on.List(), off.List(), exact.List()) {
		if !knownPlugin(name, c.version) {
			refuse("there is no admission plugin %q in %s", name, c.version)
		}
	}
	for _, name := range on.List() {
		if off.Has(name) {
			refuse("the admission plugin %s is enabled and disabled", name)
		}
	}
	file := c.flag("admission-control-config-file").Last()
	config, known, _ := c.file(file)
	missing := needsConfiguration(config)
	for _, name := range slices.Concat(on.List(), exact.List()) {
		if (file == "" || known) && missing(name) {
			refuse("the admission plugin %s does not start without a configuration in --admission-control-config-file", name)
		}
	}
}

func authnFlagProblems(c command, refuse func(string, ...any)) {
	file := c.flag("authentication-config")
	oidc := slices.ContainsFunc(patches.ParseArgs(c.args), func(fl patches.Flag) bool { return strings.HasPrefix(fl.Name, "oidc-") })
	switch {
	case file.Set && oidc:
		refuse("--authentication-config does not go with --oidc flags")
	case oidc && (!c.set("oidc-issuer-url") || !c.set("oidc-client-id")):
		refuse("--oidc flags need --oidc-issuer-url and --oidc-client-id")
	}
	if data, known, _ := c.file(file.Last()); file.Set && known && c.set("anonymous-auth") && hasAnonymous(data) {
		refuse("--anonymous-auth does not go with the anonymous section of %s", file.Last())
	}
}

func authzFlagProblems(c command, refuse func(string, ...any)) {
	modes := c.flag("authorization-mode")
	if c.set("authorization-config") {
		if modes.Set || c.set("authorization-policy-file") || c.set("authorization-webhook-config-file") {
			refuse("--authorization-config does not go with --authorization-mode, --authorization-policy-file or --authorization-webhook-* flags")
		}
		return
	}
	seen := map[string]bool{}
	for _, m := range modes.List() {
		if !slices.Contains(authorizationModes, m) {
			refuse("--authorization-mode: there is no mode %q", m)
		}
		if seen[m] {
			refuse("--authorization-mode: %s is there twice", m)
		}
		seen[m] = true
	}
	for _, need := range []struct{ mode, flag string }{{"ABAC", "authorization-policy-file"}, {"Webhook", "authorization-webhook-config-file"}} {
		if seen[need.mode] != c.set(need.flag) {
			refuse("--authorization-mode %s and --%s go together", need.mode, need.flag)
		}
	}
}

func auditFlagProblems(c command, refuse func(string, ...any)) {
	for _, kind := range []string{"log", "webhook"} {
		if mode := c.flag("audit-" + kind + "-mode").Last(); !slices.Contains([]string{"", "batch", "blocking", "blocking-strict"}, mode) {
			refuse("--audit-%s-mode: there is no mode %q", kind, mode)
		}
	}
	if format := c.flag("audit-log-format").Last(); !slices.Contains([]string{"", "json", "legacy"}, format) {
		refuse("--audit-log-format: there is no format %q", format)
	}
	for _, name := range []string{"audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize"} {
		if n, err := strconv.Atoi(c.flag(name).Last()); err == nil && n < 0 {
			refuse("--%s: %s", name, fmt.Sprintf("%d is negative", n))
		}
	}
}
