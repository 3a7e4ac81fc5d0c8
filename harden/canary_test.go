package harden_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

func flagsOf(args []string) map[string][]string {
	out := map[string][]string{}
	for _, f := range patches.ParseArgs(args) {
		out[f.Name] = append(out[f.Name], f.Value)
	}
	return out
}

// with adds flags, given as name=value.
func with(flags ...string) []hardentest.Edit {
	var out []hardentest.Edit
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		out = append(out, hardentest.Flag(name, value))
	}
	return out
}

func newCanary(t *testing.T, minor string, edits ...hardentest.Edit) (harden.Canary, corev1.Pod, corev1.Pod) {
	t.Helper()
	manifest := hardentest.APIServer(t, minor, edits...).Files[hardentest.ManifestPath].Data
	c, err := harden.NewCanary(harden.CanaryInput{Manifest: manifest, Port: 16443, Resident: 400 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var live, own corev1.Pod
	if err := yaml.UnmarshalStrict(manifest, &live); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(c.Manifest, &own); err != nil {
		t.Fatal(err)
	}
	return c, live, own
}

// TestCanaryDiffersOnlyInWhatWouldDisturb: the canary of every version's planned manifest.
func TestCanaryDiffersOnlyInWhatWouldDisturb(t *testing.T) {
	for _, minor := range hardentest.Minors {
		t.Run(minor, func(t *testing.T) {
			c, live, own := newCanary(t, minor)
			was, is := flagsOf(slices.Concat(live.Spec.Containers[0].Command, live.Spec.Containers[0].Args)), flagsOf(c.Args)
			want := map[string]string{
				"bind-address": "127.0.0.1", "secure-port": "16443", "endpoint-reconciler-type": "none",
				"feature-gates": "APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false",
			}
			for name, value := range want {
				if !slices.Equal(is[name], []string{value}) {
					t.Errorf("--%s is %q, want %q", name, is[name], value)
				}
				delete(is, name)
				delete(was, name)
			}
			for name := range was {
				if !slices.Equal(was[name], is[name]) {
					t.Errorf("--%s is %q, and the live one's %q", name, is[name], was[name])
				}
				delete(is, name)
			}
			if len(is) > 0 {
				t.Errorf("it has flags more: %v", is)
			}
			ct := own.Spec.Containers[0]
			if own.Name == live.Name || own.Namespace != live.Namespace || own.Labels["component"] != "" || len(own.Annotations) > 0 {
				t.Errorf("somebody may take it for the live one: %+v", own.ObjectMeta)
			}
			if own.Spec.PriorityClassName != "" || own.Spec.Priority != nil || own.Spec.RestartPolicy != corev1.RestartPolicyNever {
				t.Errorf("priority %q %v, restarts %s", own.Spec.PriorityClassName, own.Spec.Priority, own.Spec.RestartPolicy)
			}
			if r := ct.Resources; !r.Requests.Memory().IsZero() || len(r.Requests) != 1 || !r.Requests.Cpu().IsZero() || r.Limits.Memory().Value() != 800<<20 {
				t.Errorf("resources %+v", ct.Resources)
			}
			if len(ct.Ports) != 1 || ct.Ports[0].ContainerPort != 16443 || ct.Ports[0].HostPort != 16443 {
				t.Errorf("ports %+v", ct.Ports)
			}
			var asked []string
			for _, p := range c.Probes {
				if p.Host != "127.0.0.1" || p.Port != 16443 {
					t.Errorf("the %s probe asks %s:%d", p.Name, p.Host, p.Port)
				}
				asked = append(asked, p.Name+" "+p.Path)
			}
			if !slices.Equal(asked, []string{"liveness /livez", "readiness /readyz", "startup /livez"}) {
				t.Errorf("it is asked %q", asked)
			}
			if own.Spec.Volumes[0].HostPath == nil || len(own.Spec.Volumes) != len(live.Spec.Volumes) || len(ct.VolumeMounts) != len(live.Spec.Containers[0].VolumeMounts) {
				t.Error("its volumes are others")
			}
			if again, err := harden.ReadCanary(c.Manifest); err != nil || !slices.Equal(again.Args, c.Args) || again.Port != 16443 || again.Host != "127.0.0.1" {
				t.Errorf("read again it is another: %v %+v", err, again)
			}
		})
	}
}

func TestCanaryOfOtherFlags(t *testing.T) {
	for _, tt := range []struct {
		name  string
		flags []string
		want  map[string]string // "-": not there
	}{
		{"peers and sockets", []string{"peer-ca-file=/a", "peer-advertise-ip=192.0.2.1", "peer-advertise-port=1", "debug-socket-path=/run/x", "shutdown-delay-duration=20s"}, map[string]string{
			"peer-ca-file": "-", "peer-advertise-ip": "-", "peer-advertise-port": "-", "debug-socket-path": "-", "shutdown-delay-duration": "-",
		}},
		{"feature gates stay", []string{"feature-gates=A=true,UnknownVersionInteroperabilityProxy=true"}, map[string]string{
			"feature-gates": "A=true,APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false",
		}},
		{"feature gates with a component", []string{"feature-gates=kube:A=true,kube:APIServerIdentity=true"}, map[string]string{
			"feature-gates": "kube:A=true,kube:APIServerIdentity=false,kube:UnknownVersionInteroperabilityProxy=false",
		}},
		{"audit log", []string{"audit-log-path=/etc/kubernetes/pki/audit.log"}, map[string]string{"audit-log-path": "/etc/kubernetes/pki/" + harden.CanaryLog}},
		{"audit log on standard output", []string{"audit-log-path=-"}, map[string]string{"audit-log-path": "-"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, _ := newCanary(t, "1.37", with(tt.flags...)...)
			is := flagsOf(c.Args)
			for name, value := range tt.want {
				if value == "-" && tt.name != "audit log on standard output" {
					if len(is[name]) > 0 {
						t.Errorf("--%s is there: %q", name, is[name])
					}
				} else if !slices.Equal(is[name], []string{value}) {
					t.Errorf("--%s is %q, want %q", name, is[name], value)
				}
			}
			wantLog := ""
			if tt.name == "audit log" {
				wantLog = "/etc/kubernetes/pki/" + harden.CanaryLog
			}
			if c.AuditLog != wantLog {
				t.Errorf("its log is %q, want %q", c.AuditLog, wantLog)
			}
		})
	}
}

// TestCanaryListensWhereOnlyTheNodeAsks: by the family of the address that the live one advertises.
func TestCanaryListensWhereOnlyTheNodeAsks(t *testing.T) {
	c, _, _ := newCanary(t, "1.37", hardentest.NoFlag("advertise-address"), hardentest.Flag("advertise-address", "2001:db8::1"))
	if c.Host != "::1" || c.Probes[0].Host != "::1" {
		t.Errorf("it is at %s", c.Host)
	}
}

func TestCanaryGate(t *testing.T) {
	c, _, _ := newCanary(t, "1.37", with("audit-log-path=/etc/kubernetes/pki/audit.log")...)
	live := harden.Gate{Component: harden.APIServer, Proofs: []harden.Proof{
		{Kind: harden.ProofAnonymous, Path: "/api", Status: 401}, {Kind: harden.ProofAuditLine, Path: "/etc/kubernetes/pki/audit.log"},
		{Kind: harden.ProofConfigz, Path: "a"},
	}}
	g := c.Gate(live)
	if len(g.Proofs) != 2 || g.Proofs[1].Path != c.AuditLog || !slices.Equal(g.Args, c.Args) {
		t.Errorf("%+v", g.Proofs)
	}
	c.AuditLog = ""
	if g := c.Gate(live); len(g.Proofs) != 1 {
		t.Errorf("a log that it does not keep is looked at: %+v", g.Proofs)
	}
}

func TestMountProblems(t *testing.T) {
	api, _ := harden.ComponentByID(harden.APIServer)
	manifest := func(kind string) []byte {
		return []byte("apiVersion: v1\nkind: Pod\nspec: {containers: [{name: kube-apiserver}], volumes: [{name: v, hostPath: {path: /x, type: " + kind + "}}]}\n")
	}
	file, dir := harden.State{Exists: true}, harden.State{Exists: true, Dir: true}
	for _, tt := range []struct {
		kind string
		is   harden.State
		ok   bool
	}{
		{"Directory", dir, true}, {"Directory", file, false}, {"Directory", harden.State{}, false},
		{"File", file, true}, {"File", dir, false}, {"File", harden.State{}, false},
		{"DirectoryOrCreate", harden.State{}, true}, {"DirectoryOrCreate", file, false},
		{"FileOrCreate", harden.State{}, true}, {"FileOrCreate", dir, false}, {"''", harden.State{}, true},
	} {
		got := harden.MountProblems(manifest(tt.kind), api, func(string) (harden.State, error) { return tt.is, nil })
		if (len(got) == 0) != tt.ok {
			t.Errorf("%s of %+v: %v", tt.kind, tt.is, got)
		}
	}
}
