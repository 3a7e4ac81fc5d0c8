package collect

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

func collectKubelet(n Node, live Live, running processes, f *harden.Facts) error {
	k := &harden.KubeletFacts{PeakPids: -1, Process: running.newest(harden.Kubelet)}
	if err := kubeletArgs(n, f.Distro, k); err != nil {
		return err
	}
	k.Config = kubeletFile(n, f.Distro, k)
	if !k.Config.State.Exists && k.Config.Unread.IsZero() && k.Process == nil {
		return errNoKubelet
	}
	if err := addConfigLayers(n, k); err != nil {
		return err
	}
	addFlagLayers(k)
	if s, ok := k.Field("staticPodPath").Value.(string); ok {
		k.StaticPodPath = s
	}
	k.ServingKey = servingKey(n, k)
	if live != nil {
		k.PeakPids = peakPids(n)
		k.CgroupVersion = cgroupVersion(n)
	}
	f.Kubelet = k
	return nil
}

// kubeletFile reads the configuration file that the flags name; kubeadm's kubelets have one where they do not.
func kubeletFile(n Node, distro harden.Distro, k *harden.KubeletFacts) harden.FileFact {
	file := k.Flag("config").Last()
	switch {
	case file != "":
	case distro != harden.Kubeadm:
		return harden.FileFact{}
	default:
		file = kubeletConfig
	}
	return readFile(n, file)
}

// addConfigLayers reads the file and, after it, the drop-ins of --config-dir, each merged over what came before.
//
// A layer that cannot be read makes all of it unknown: what it says may be the opposite of the others.
func addConfigLayers(n Node, k *harden.KubeletFacts) error {
	if k.Flag("config").Set && k.Config.Unread.IsZero() && !k.Config.State.Exists {
		k.Config.Unread = harden.Msg("%s: it does not exist, and the kubelet does not start without it", k.Config.Path)
	}
	k.Decode = strictDecode(k.Config.State.Data)
	if err := addYAMLLayer(k, k.Config); err != nil {
		return err
	}
	dir := k.Flag("config-dir").Last()
	if dir == "" {
		return nil
	}
	paths, err := dropIns(n, dir)
	if err != nil {
		return fmt.Errorf("reading the kubelet's configuration: %w", err)
	}
	for _, p := range paths {
		file := readFile(n, p)
		if file.Unread.IsZero() && (!file.State.Exists || file.State.Dir) {
			file.Unread = harden.Msg("%s: it leads to no file, and the kubelet does not start with it", p)
		}
		k.DropIns = append(k.DropIns, file)
		if err := addYAMLLayer(k, file); err != nil {
			return err
		}
	}
	return nil
}

func addYAMLLayer(k *harden.KubeletFacts, file harden.FileFact) error {
	if !file.Unread.IsZero() {
		return fmt.Errorf("reading the kubelet's configuration: %s", file.Unread)
	}
	fields := map[string]any{}
	if err := harden.ReadYAML(file.State.Data, &fields); err != nil {
		return fmt.Errorf("reading the kubelet's configuration: %s: %w", file.Path, err)
	}
	if len(fields) > 0 {
		k.Layers = append(k.Layers, harden.KubeletLayer{Source: file.Path, Fields: fields})
	}
	return nil
}

// dropIns are the files of --config-dir as the kubelet finds them: a sorted walk to any depth that takes *.conf and follows links
// to files, not to directories (filepath.WalkDir in cmd/kubelet/app/server.go). What it cannot walk it does not start with.
func dropIns(n Node, dir string) ([]string, error) {
	attrs, ok := n.(Attributes)
	if !ok {
		return nil, fmt.Errorf("looking into %s: what lies there cannot be told here", dir)
	}
	top, err := attrs.Look(path.Clean(dir))
	switch {
	case err != nil:
		return nil, err
	case top.Kind == "":
		return nil, fmt.Errorf("looking into %s: there is no such directory, and the kubelet does not start without it", dir)
	case top.Kind == harden.StatLink && strings.HasSuffix(dir, "/"):
		dir = top.Target // a path that ends so is followed
	case top.Kind != harden.StatDir:
		return nil, nil
	}
	var out []string
	looked := 0
	var visit func(dir string) error
	visit = func(dir string) error {
		entries, err := attrs.LookInto(dir)
		if looked += len(entries); err == nil && looked > maxStats {
			err = fmt.Errorf("looking into %s: more than %d files lie there and in the folders before it", dir, maxStats)
		}
		for _, e := range entries {
			switch {
			case err != nil:
			case e.Kind == harden.StatDir:
				err = visit(e.Path)
			case path.Ext(e.Path) == ".conf":
				out = append(out, e.Path)
			}
		}
		return err
	}
	return out, visit(path.Clean(dir))
}

func strictDecode(data []byte) string {
	var c kubeletv1beta1.KubeletConfiguration
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return err.Error()
	}
	return ""
}

// flagFields are the kubelet's flags that override a field of its configuration (cmd/kubelet/app/options).
var flagFields = []struct {
	flag, field string
	kind        string // "string", "bool", "int", "list", "gates"
}{
	{"anonymous-auth", "authentication.anonymous.enabled", "bool"},
	{"authentication-token-webhook", "authentication.webhook.enabled", "bool"},
	{"authorization-mode", "authorization.mode", "string"},
	{"client-ca-file", "authentication.x509.clientCAFile", "string"},
	{"read-only-port", "readOnlyPort", "int"},
	{"rotate-certificates", "rotateCertificates", "bool"},
	{"rotate-server-certificates", "serverTLSBootstrap", "bool"},
	{"streaming-connection-idle-timeout", "streamingConnectionIdleTimeout", "string"},
	{"make-iptables-util-chains", "makeIPTablesUtilChains", "bool"},
	{"event-qps", "eventRecordQPS", "int"},
	{"pod-max-pids", "podPidsLimit", "int"},
	{"seccomp-default", "seccompDefault", "bool"},
	{"tls-min-version", "tlsMinVersion", "string"},
	{"tls-cipher-suites", "tlsCipherSuites", "list"},
	{"tls-cert-file", "tlsCertFile", "string"},
	{"tls-private-key-file", "tlsPrivateKeyFile", "string"},
	{"protect-kernel-defaults", "protectKernelDefaults", "bool"},
	{"pod-manifest-path", "staticPodPath", "string"},
	{"container-runtime-endpoint", "containerRuntimeEndpoint", "string"},
	{"healthz-bind-address", "healthzBindAddress", "string"},
	{"healthz-port", "healthzPort", "int"},
	{"allowed-unsafe-sysctls", "allowedUnsafeSysctls", "list"},
	{"fail-cgroupv1", "failCgroupV1", "bool"},
	{"feature-gates", "featureGates", "gates"},
}

// addFlagLayers adds a layer for each flag that overrides a field, naming the environment file that holds it.
func addFlagLayers(k *harden.KubeletFacts) {
	for _, ff := range flagFields {
		fact := k.Flag(ff.flag)
		if !fact.Set {
			continue
		}
		source := "flag --" + ff.flag + " of " + fact.Source
		for _, e := range k.EnvFiles {
			flags, err := patches.EnvFlags(e.File.State.Data, e.Variable)
			if err == nil && slices.ContainsFunc(flags, func(f patches.Flag) bool { return f.Name == ff.flag }) {
				source = "flag --" + ff.flag + " in " + e.File.Path
			}
		}
		k.Layers = append(k.Layers, harden.KubeletLayer{Source: source, Fields: nested(ff.field, typed(fact, ff.kind))})
	}
}

func typed(fact harden.FlagFact, kind string) any {
	s := fact.Last()
	switch kind {
	case "bool":
		if b, err := strconv.ParseBool(s); err == nil {
			return b
		}
	case "int":
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return float64(n) // as YAML numbers are decoded
		}
	case "gates":
		out := map[string]any{}
		for _, e := range fact.List() {
			name, value, _ := strings.Cut(e, "=")
			if b, err := strconv.ParseBool(value); err == nil {
				out[name] = b
			}
		}
		return out
	case "list":
		var out []any
		for _, e := range fact.List() {
			out = append(out, e)
		}
		return out
	}
	return s
}

func nested(field string, v any) map[string]any {
	keys := strings.Split(field, ".")
	for i := len(keys) - 1; i > 0; i-- {
		v = map[string]any{keys[i]: v}
	}
	return map[string]any{keys[0]: v}
}

// servingKey is the kind of key that the kubelet serves with: its own file, the rotated one or the self-signed one.
func servingKey(n Node, k *harden.KubeletFacts) string {
	paths := []string{"/var/lib/kubelet/pki/kubelet-server-current.pem", "/var/lib/kubelet/pki/kubelet.crt"}
	if p, ok := k.Field("tlsCertFile").Value.(string); ok && p != "" {
		paths = []string{p}
	}
	for _, p := range paths {
		rest := readFile(n, p).State.Data
		for {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				continue
			}
			switch cert.PublicKey.(type) {
			case *rsa.PublicKey:
				return "RSA"
			case *ecdsa.PublicKey:
				return "ECDSA"
			}
		}
	}
	return ""
}

// cgroupVersion goes by the file that only the unified hierarchy has at its top.
func cgroupVersion(n Node) int {
	names, err := n.List("/sys/fs/cgroup")
	switch {
	case err != nil || len(names) == 0:
		return 0
	case slices.Contains(names, "cgroup.controllers"):
		return 2
	}
	return 1
}

// peakPids is the largest number of processes in one pod's control group now (v2) or ever seen there where the kernel
// counts it; -1 where there is none to read.
func peakPids(n Node) int {
	most := -1
	var visit func(dir string, depth int)
	visit = func(dir string, depth int) {
		names, err := n.List(dir)
		if err != nil {
			return
		}
		// kubepods itself is the sum of them.
		if strings.Contains(strings.ReplaceAll(path.Base(dir), "kubepods", ""), "pod") {
			// The peak is never below what is there now.
			for _, name := range []string{"pids.peak", "pids.current"} {
				if !slices.Contains(names, name) {
					continue
				}
				if v, err := strconv.Atoi(strings.TrimSpace(string(readFile(n, path.Join(dir, name)).State.Data))); err == nil {
					most = max(most, v)
					break
				}
			}
		}
		for _, name := range names {
			if depth > 0 && (strings.HasPrefix(name, "kubepods") || strings.HasPrefix(name, "pod") || name == "besteffort" || name == "burstable") {
				visit(path.Join(dir, name), depth-1)
			}
		}
	}
	for _, top := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids"} {
		visit(top, 4)
	}
	return most
}
