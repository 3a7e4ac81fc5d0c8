package sandbox

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

const canaryManifest = harden.StaticPodDir + "/" + harden.CanaryFile

// rehearse starts the canary of the manifest with these flags.
func (b *bench) rehearse(flags ...string) harden.Canary {
	b.t.Helper()
	const first = "    - kube-apiserver\n"
	lines := first
	for _, f := range flags {
		lines += "    - " + f + "\n"
	}
	text := strings.Replace(b.read(manifest), first, lines, 1)
	c, err := harden.NewCanary(harden.CanaryInput{Manifest: []byte(text), Port: freePort, Resident: resident})
	if err != nil {
		b.t.Fatal(err)
	}
	b.write(canaryManifest, string(c.Manifest))
	return c
}

func (b *bench) canaryNow() apply.CanaryState {
	b.t.Helper()
	s, err := b.Canary(context.Background(), time.Time{})
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// TestCanaryBesideTheLiveOne serves as a second one would, and leaves the live one alone.
func TestCanaryBesideTheLiveOne(t *testing.T) {
	b := newBench(t, Options{Broken: true}) // broken is the live one's port only
	live, err := b.Instance(context.Background(), apiServerComponent)
	if err != nil {
		t.Fatal(err)
	}
	c := b.rehearse("--profiling=false")
	b.pass(5 * time.Second)
	s := b.canaryNow()
	if !s.Running || !harden.SameArgs(s.Instance.Args, c.Args) || s.Instance.ID == live.ID {
		t.Fatalf("%+v", s)
	}
	for _, p := range c.Probes {
		if r := b.Probe(context.Background(), p); !r.Healthy(p) {
			t.Errorf("%+v: %+v", p, r)
		}
	}
	api := ServerAPI{b.Node, c.Port}
	if status, err := api.AdminGet(context.Background(), "/debug/pprof/", ""); err != nil || status != 404 {
		t.Errorf("profiling: %d %v", status, err)
	}
	if ready, failing, err := api.Readyz(context.Background()); err != nil || !ready {
		t.Errorf("%v %v %v", ready, failing, err)
	}
	if err := api.TrialWrite(context.Background()); err != nil {
		t.Error(err)
	}
	if status := b.Admin("/debug/pprof/", ""); status != 200 {
		t.Errorf("the live one has changed: %d", status)
	}
	now, err := b.Instance(context.Background(), apiServerComponent)
	if err != nil || now.ID != live.ID {
		t.Errorf("%+v %v", now, err)
	}
	all, err := b.Processes(string(harden.APIServer))
	if ps := all[string(harden.APIServer)]; err != nil || len(ps) != 1 || ps[0].Container != live.ID {
		t.Errorf("the canary is taken for the live one: %+v %v", ps, err)
	}
	if err := b.Files().Remove(canaryManifest); err != nil {
		t.Fatal(err)
	}
	b.pass(3 * time.Second)
	if s := b.canaryNow(); s.Running || s.There {
		t.Errorf("it is still there: %+v", s)
	}
	if err := api.TrialWrite(context.Background()); err == nil {
		t.Error("what is gone takes writes")
	}
}

// TestCanaryThatDiesStaysDead: it says why, and is not started again.
func TestCanaryThatDiesStaysDead(t *testing.T) {
	b := newBench(t, Options{})
	b.rehearse("--audit-policy-file=" + policyFile)
	b.pass(time.Minute)
	s := b.canaryNow()
	if s.Running || !strings.Contains(s.Words, policyFile+": no such file or directory") {
		t.Fatalf("%+v", s)
	}
	if n := len(b.Node.canary().dead); n != 1 {
		t.Errorf("it was started %d times", n)
	}
	if !b.Serving() {
		t.Error("the live one does not serve")
	}
}

func TestCanaryThatRefusesProbes(t *testing.T) {
	b := newBench(t, Options{})
	c := b.rehearse("--anonymous-auth=false")
	b.pass(5 * time.Second)
	for _, p := range c.Probes {
		if r := b.Probe(context.Background(), p); r.Status != 401 {
			t.Errorf("%+v: %+v", p, r)
		}
	}
}

func TestCanaryKeepsALogOfItsOwn(t *testing.T) {
	b := newBench(t, Options{})
	b.write(policyFile, policyTop+"rules: [{level: Metadata}]\n")
	c := b.rehearse("--audit-policy-file="+policyFile, "--audit-log-path=/etc/kubernetes/pki/audit.log")
	b.pass(5 * time.Second)
	p := c.Probes[0]
	p.Path = "/api?marker=x"
	b.Probe(context.Background(), p)
	if has, err := b.LogHas(c.AuditLog, "marker=x"); err != nil || !has {
		t.Errorf("its log: %v %v", has, err)
	}
	if has, _ := b.LogHas("/etc/kubernetes/pki/audit.log", "marker=x"); has {
		t.Error("it writes the live one's log")
	}
	if err := b.Clear(c.AuditLog); err != nil {
		t.Fatal(err)
	}
	if _, err := b.LogHas(c.AuditLog, "marker=x"); err == nil {
		t.Error("its log is left")
	}
}

// TestAsked: the sandbox's programs judge as the real ones do.
func TestAsked(t *testing.T) {
	kubelet, _ := harden.ComponentByID(harden.Kubelet)
	scheduler, _ := harden.ComponentByID(harden.Scheduler)
	b := newBench(t, Options{})
	live, err := b.Instance(context.Background(), apiServerComponent)
	if err != nil {
		t.Fatal(err)
	}
	config := b.read("/var/lib/kubelet/config.yaml")
	api := func(flags ...string) []string { return slices.Concat(live.Args, flags) }
	for _, tt := range []struct {
		name   string
		c      harden.Component
		args   []string
		config string
		values bool // the values too, not the flags alone
		says   string
	}{
		{name: "flags", c: apiServerComponent, args: api("--profiling=false")},
		{name: "unknown flag", c: apiServerComponent, args: api("--no-such-flag"), says: "Error: unknown flag: --no-such-flag"},
		{name: "gone gate", c: apiServerComponent, args: api("--feature-gates=KMSv2=true"), says: "unrecognized feature gate: KMSv2"},
		{name: "values", c: apiServerComponent, args: api("--profiling=false"), values: true},
		{name: "plugin", c: apiServerComponent, args: api("--disable-admission-plugins=Foo"), values: true, says: `disable-admission-plugins plugin "Foo" is unknown`},
		{name: "kubelet", c: kubelet, args: []string{"kubelet", "--config=/x"}, config: config, values: true},
		{name: "kubelet's value", c: kubelet, args: []string{"kubelet", "--config=/x"}, config: config + "readOnlyPort: 70000\n", values: true, says: "readOnlyPort"},
		{name: "scheduler", c: scheduler, args: []string{"kube-scheduler", "--kubeconfig=/x"}, values: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check, ok := harden.VersionCheck(tt.args), true
			if tt.values {
				check, ok = harden.ValuesCheck(tt.c.ID, harden.NewestSupported, tt.args, tt.args)
			}
			if !ok {
				t.Fatal("it is not checked")
			}
			output, code, err := b.Ask(context.Background(), tt.c, check.Args, check.Config, []byte(tt.config))
			if err != nil {
				t.Fatal(err)
			}
			if said := check.Judge(output, code); said != "" && tt.says == "" || !strings.Contains(said, tt.says) {
				t.Errorf("says %q, want %q", said, tt.says)
			}
		})
	}
}

// TestWhatIsArmedRemovesACanary when its time is over, whoever lives then.
func TestWhatIsArmedRemovesACanary(t *testing.T) {
	b := newBench(t, Options{})
	b.rehearse("--profiling=false")
	g := apply.Guard{Name: harden.CanaryName, Remove: []string{canaryManifest, "/no/such/file"}, After: time.Minute}
	if err := b.Arm(context.Background(), g); err != nil {
		t.Fatal(err)
	}
	b.pass(30 * time.Second)
	if !b.canaryNow().Running {
		t.Fatal("it does not run")
	}
	b.pass(40 * time.Second)
	if s, err := b.State(canaryManifest); err != nil || s.Exists || b.canaryNow().Running {
		t.Errorf("it is left: %v %v", s.Exists, err)
	}
}

// TestAServerIsAskedWhetherChangesAreInForce: the canary has what the plan asks for, the live one has not.
func TestAServerIsAskedWhetherChangesAreInForce(t *testing.T) {
	b := newBench(t, Options{Broken: true})
	b.write("/etc/kubernetes/pki/tokens.csv", "sesame,mei,1\n")
	c := b.rehearse("--service-account-extend-token-expiration=false", "--disable-admission-plugins=PodSecurity", "--token-auth-file=/etc/kubernetes/pki/tokens.csv")
	b.pass(5 * time.Second)
	for _, row := range []struct {
		name     string
		server   ServerAPI
		security bool
		token    int
		life     time.Duration
	}{
		{"canary", ServerAPI{b.Node, c.Port}, false, 200, 3607 * time.Second},
		{"live", ServerAPI{Node: b.Node}, true, 401, 8760 * time.Hour},
	} {
		on, err := row.server.AdmissionPlugins(t.Context())
		if err != nil || !slices.Contains(on, "NodeRestriction") || slices.Contains(on, "AlwaysPullImages") || slices.Contains(on, "PodSecurity") != row.security {
			t.Errorf("%s: %v %v", row.name, on, err)
		}
		if status, err := row.server.GetWith(t.Context(), "sesame", "/api"); err != nil || status != row.token {
			t.Errorf("%s: a token is answered %d %v", row.name, status, err)
		}
		if life, asked, err := row.server.TokenLife(t.Context()); err != nil || !asked || life != row.life {
			t.Errorf("%s: a token lives for %s %v %v", row.name, life, asked, err)
		}
		if refusal, err := row.server.TrialPod(t.Context(), "shop"); err != nil || refusal != "" {
			t.Errorf("%s: a pod is refused: %s %v", row.name, refusal, err)
		}
	}
	if _, err := (ServerAPI{b.Node, 1}).AdmissionPlugins(t.Context()); err == nil {
		t.Error("nobody listens there, and it answers")
	}
}
