package collect_test

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// TestAnArgumentFromElsewhereIsNotKnown: where no process shows what $(NAME) comes to, nothing is said of the component.
func TestAnArgumentFromElsewhereIsNotKnown(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Edit(t, "/etc/kubernetes/manifests/kube-apiserver.yaml", "    image: ",
		"    - --bind-address=$(IP)\n    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}]\n    image: ")
	f := n.Facts(t)
	if why := f.Missing[harden.NeedAPIServer]; !strings.Contains(why.String(), "$(IP)") {
		t.Errorf("missing: %q", why)
	}
	c := f.Component(harden.APIServer)
	c.Process = &harden.ProcessFact{Args: slices.Concat(c.Args[:len(c.Args)-1], []string{"--bind-address=192.0.2.11"})}
	if c.Drifted() {
		t.Error("what the environment says is taken for a drift")
	}
}

func TestFixturesAreReadAsKubeadmNodes(t *testing.T) {
	for minor, version := range map[string]string{"1.30": "v1.30.4", "1.34": "v1.34.2", "1.37": "v1.37.2"} {
		t.Run(minor, func(t *testing.T) {
			f := hardentest.Fixture(t, minor).Facts(t)
			if f.Distro != "kubeadm" || f.Identity.Node != "cp1" || f.Identity.KubernetesVersion != version || len(f.Identity.CADigest) != 64 {
				t.Errorf("identity: %q %+v", f.Distro, f.Identity)
			}
			for _, c := range harden.Components {
				if c.StaticPod() && (f.Component(c.ID) == nil || len(f.Component(c.ID).Args) == 0 || len(f.Component(c.ID).Rivals) > 0) {
					t.Errorf("%s: %+v", c.ID, f.Component(c.ID))
				}
			}
			if got := f.Component(harden.APIServer).Flag("authorization-mode").List(); strings.Join(got, ",") != "Node,RBAC" {
				t.Errorf("authorization-mode: %v", got)
			}
			if host, ok := f.Component(harden.APIServer).HostPath("/etc/kubernetes/pki/etcd/ca.crt"); !ok || host != "/etc/kubernetes/pki/etcd/ca.crt" {
				t.Errorf("host path: %q %v", host, ok)
			}
			if field := f.Kubelet.Field("authentication.anonymous.enabled"); field.Value != false {
				t.Errorf("kubelet field: %+v", field)
			}
			if f.Kubelet.Decode != "" {
				t.Errorf("strict decode: %s", f.Kubelet.Decode)
			}
			if _, missing := f.Missing[harden.NeedWorkloads]; !missing {
				t.Error("cluster facts are not named missing")
			}
		})
	}
}

// withUnit is a node whose unit files say something else than kubeadm's.
type withUnit struct {
	*hardentest.Node
	unit collect.Unit
}

func (n withUnit) Unit(string) (collect.Unit, error) { return n.unit, nil }

func TestKubeletFlagsComeFromTheUnitAndItsFiles(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\"--read-only-port=10255\"\nOTHER=\"--anonymous-auth=true\"\n", 0o644)
	n.Write("/etc/kubernetes/kubelet.conf.d/10.conf", "kind: KubeletConfiguration\nreadOnlyPort: 1\npodPidsLimit: 7\nstaticPodPath: null\n", 0o644)
	n.Files["/etc/kubernetes/kubelet.conf.d"] = harden.State{Exists: true, Dir: true, Mode: 0o755}
	unit := collect.Unit{
		ExecStart:   "/usr/bin/kubelet --seccomp-default $CONFIG_ARGS $KUBELET_EXTRA_ARGS",
		Environment: []string{"CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml --config-dir=/etc/kubernetes/kubelet.conf.d"},
		EnvFiles:    []string{"/etc/default/kubelet"},
	}
	f, err := collect.FromNode(withUnit{n, unit}, nil, collect.Options{Root: "/", Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]harden.FieldFact{
		"readOnlyPort":                     {Set: true, Value: 10255.0},
		"podPidsLimit":                     {Set: true, Value: 7.0},
		"seccompDefault":                   {Set: true, Value: true},
		"authentication.anonymous.enabled": {Set: true, Value: false},
		"staticPodPath":                    {},
	} {
		if got := f.Kubelet.Field(path); got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestTheKubeletsCommandLineIsExpandedAsSystemdDoes(t *testing.T) {
	const start = "/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml "
	for _, row := range []struct {
		name  string
		unit  collect.Unit
		files map[string]string
		want  string   // arguments behind --config, with | between them
		from  []string // environment files that give flags
		fails string
	}{
		{name: "a later assignment wins", unit: collect.Unit{ExecStart: start + "$A", Environment: []string{"A=--v=1", "A=--v=2"}}, want: "--v=2"},
		{name: "a file wins over an assignment", unit: collect.Unit{ExecStart: start + "$A", Environment: []string{"A=--v=1"}, EnvFiles: []string{"/e/a"}},
			files: map[string]string{"/e/a": "A=--v=2\n"}, want: "--v=2", from: []string{"/e/a"}},
		{name: "a later file wins over an earlier one", unit: collect.Unit{ExecStart: start + "$A $B", EnvFiles: []string{"/e/a", "/e/b"}},
			files: map[string]string{"/e/a": "A=--v=2\nB=--x\n", "/e/b": "A='--v=3 --y'\n"}, want: "--v=3|--y|--x", from: []string{"/e/b", "/e/a"}},
		{name: "an empty value wins too", unit: collect.Unit{ExecStart: start + "$A --end", Environment: []string{"A=--v=1"}, EnvFiles: []string{"/e/a"}},
			files: map[string]string{"/e/a": "A=\n"}, want: "--end"},
		{name: "a file that may be missing", unit: collect.Unit{ExecStart: start + "$A --end", EnvFiles: []string{"-/e/a"}}, want: "--end"},
		{name: "a file that may not", unit: collect.Unit{ExecStart: start + "$A", EnvFiles: []string{"/e/a"}}, fails: "/e/a is missing"},
		{name: "braces do not split", unit: collect.Unit{ExecStart: start + `${A} --ip=${B} "$B"`, Environment: []string{"A=--a b", "B=1 2"}}, want: "--a b|--ip=1 2|1|2"},
		{name: "quotes", unit: collect.Unit{ExecStart: start + `"--a=b c" $A`, Environment: []string{`A=--x='1 2' --y`}}, want: "--a=b c|--x=1 2|--y"},
		{name: "dollars", unit: collect.Unit{ExecStart: start + "--a=$$x --b=$A $$A $UNSET ${UNSET}", Environment: []string{"A=1"}}, want: "--a=$x|--b=$A|$A|"},
		{name: "open braces", unit: collect.Unit{ExecStart: start + "--a=${A"}, fails: "is not closed"},
		{name: "a file that cannot be read for certain is noted", unit: collect.Unit{ExecStart: start + "$A", EnvFiles: []string{"/e/a"}},
			files: map[string]string{"/e/a": "A=\"--v=2\n"}, from: []string{"/e/a"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.37")
			for p, text := range row.files {
				n.Write(p, text, 0o644)
			}
			f, err := collect.FromNode(withUnit{n, row.unit}, nil, collect.Options{Root: "/", Offline: true})
			if err != nil {
				t.Fatal(err)
			}
			if row.fails != "" {
				if why := f.Missing[harden.NeedKubelet]; !strings.Contains(why.String(), row.fails) {
					t.Errorf("missing because %q, want %q", why, row.fails)
				}
				return
			}
			if got := strings.Join(f.Kubelet.Args[2:], "|"); got != row.want {
				t.Errorf("arguments %q, want %q", got, row.want)
			}
			var from []string
			for _, e := range f.Kubelet.EnvFiles {
				from = append(from, e.File.Path)
			}
			if !slices.Equal(from, row.from) {
				t.Errorf("flags from %q, want %q", from, row.from)
			}
		})
	}
}

func TestAKubeletConfigurationThatCannotBeReadIsUnknown(t *testing.T) {
	for name, text := range map[string]string{"broken": "a: [\n", "not a mapping": "- a\n"} {
		n := hardentest.Fixture(t, "1.37")
		n.Write("/var/lib/kubelet/config.yaml", text, 0o600)
		if f := n.Facts(t); f.Missing[harden.NeedKubelet].IsZero() {
			t.Errorf("%s: the kubelet counts as known", name)
		}
	}
}

// TestWhatIsWrongWithAFileIsSaidWithWhatToDo: the decoder's own words name neither the line nor what is wrong in it.
func TestWhatIsWrongWithAFileIsSaidWithWhatToDo(t *testing.T) {
	const config, manifest = "/var/lib/kubelet/config.yaml", "/etc/kubernetes/manifests/kube-apiserver.yaml"
	for _, row := range []struct{ old, new, want string }{
		{"  - command:", "\t- command:", "line 13: there is a tab in the indentation; what to do: replace the tab by spaces"},
		{"    component: kube-apiserver", "    component: kube\xff", "line 7: there is a byte that is not valid UTF-8 (0xff); what to do: convert the file to UTF-8"},
	} {
		n := hardentest.Fixture(t, "1.37")
		n.Edit(t, manifest, row.old, row.new)
		f := n.Facts(t)
		if got, want := f.Missing[harden.Need(harden.APIServer)].String(), manifest+": not a pod: "+row.want; got != want {
			t.Errorf("the manifest is unknown because of %q, want %q", got, want)
		}
		broken := slices.IndexFunc(f.StaticPods, func(p harden.StaticPodFact) bool { return p.Path == manifest })
		if broken < 0 || !strings.HasSuffix(f.StaticPods[broken].Broken.String(), row.want) {
			t.Errorf("the static pods are %v", f.StaticPods)
		}
	}
	n := hardentest.Fixture(t, "1.37")
	n.Edit(t, config, "authentication:\n  anonymous:", "authentication:\n\tanonymous:")
	if got := n.Facts(t).Missing[harden.NeedKubelet].String(); !strings.HasSuffix(got, "there is a tab in the indentation; what to do: replace the tab by spaces") {
		t.Errorf("the kubelet is unknown because of %q", got)
	}
}

func TestAFileWithThePodsNameIsARivalWhateverItsContainer(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write("/etc/kubernetes/manifests/zz", "kind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\nspec: {containers: [{name: a}, {name: b}]}\n", 0o600)
	c := n.Facts(t).Component(harden.APIServer)
	if len(c.Rivals) != 1 || c.Effective != "/etc/kubernetes/manifests/zz" {
		t.Errorf("rivals %v, effective %s", c.Rivals, c.Effective)
	}
}

// unreadable is a node where some paths cannot be read, and whose unit files can be or not.
type unreadable struct {
	*hardentest.Node
	paths []string
	unit  collect.Unit
	err   error
}

func (n unreadable) denied(p string) error {
	if slices.Contains(n.paths, p) {
		return &fs.PathError{Op: "open", Path: p, Err: fs.ErrPermission}
	}
	return nil
}

func (n unreadable) State(p string) (harden.State, error) {
	if err := n.denied(p); err != nil {
		return harden.State{}, err
	}
	return n.Node.State(p)
}

func (n unreadable) LookInto(dir string) ([]harden.StatFact, error) {
	if err := n.denied(dir); err != nil {
		return nil, err
	}
	return n.Node.LookInto(dir)
}

func (n unreadable) Unit(string) (collect.Unit, error) { return n.unit, n.err }

// TestDropInsThatAreNotSeenAreUnknown: what a drop-in says wins over the file, so that none may be passed over.
func TestDropInsThatAreNotSeenAreUnknown(t *testing.T) {
	const dir, deep = "/etc/kubelet.d", "/etc/kubelet.d/a/b/c/d/e/10.conf"
	unit := collect.Unit{ExecStart: "/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml --config-dir=" + dir}
	read := func(change func(n *unreadable)) *harden.Facts {
		n := unreadable{Node: hardentest.Fixture(t, "1.37"), unit: unit}
		for d := path.Dir(deep); d != "/"; d = path.Dir(d) {
			n.Files[d] = harden.State{Exists: true, Dir: true, Mode: 0o755}
		}
		n.Write(deep, "kind: KubeletConfiguration\nauthentication: {anonymous: {enabled: true}}\n", 0o644)
		change(&n)
		f, err := collect.FromNode(n, nil, collect.Options{Offline: true})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := read(func(*unreadable) {})
	if got := f.Kubelet.Field("authentication.anonymous.enabled"); got.Value != true {
		t.Errorf("a drop-in deep in the directory: %+v", got)
	}
	for name, change := range map[string]func(n *unreadable){
		"a directory that may not be looked into": func(n *unreadable) { n.paths = []string{dir} },
		"a folder that may not be looked into":    func(n *unreadable) { n.paths = []string{dir + "/a/b"} },
		"a file that may not be read, or a pipe":  func(n *unreadable) { n.paths = []string{deep} },
		"a link that leads nowhere":               func(n *unreadable) { n.Links[dir+"/20.conf"] = "/nowhere" },
		"no file that --config names":             func(n *unreadable) { delete(n.Files, "/var/lib/kubelet/config.yaml") },
		"a link to a directory":                   func(n *unreadable) { n.Links[dir+"/20.conf"] = dir + "/a" },
		"no directory": func(n *unreadable) {
			for p := range n.Files {
				if strings.HasPrefix(p, dir) {
					delete(n.Files, p)
				}
			}
		},
	} {
		if f := read(change); f.Missing[harden.NeedKubelet].IsZero() {
			t.Errorf("%s: the kubelet counts as known: %+v", name, f.Kubelet.Field("authentication.anonymous.enabled"))
		}
	}
	// As the kubelet, which follows no link to a directory.
	f = read(func(n *unreadable) {
		n.unit.ExecStart = strings.Replace(unit.ExecStart, dir, "/etc/link", 1)
		n.Links["/etc/link"] = dir
	})
	if len(f.Kubelet.DropIns) > 0 || !f.Missing[harden.NeedKubelet].IsZero() {
		t.Errorf("a link for a directory: %v %v", f.Kubelet.DropIns, f.Missing[harden.NeedKubelet])
	}
}

// TestAUnitThatCannotBeReadIsUnknown: the flags in it win over the file, and kubeadm's own unit may not be the one.
func TestAUnitThatCannotBeReadIsUnknown(t *testing.T) {
	n := unreadable{Node: hardentest.Fixture(t, "1.37"), err: &fs.PathError{Op: "reading", Path: "/etc/systemd/system/kubelet.service", Err: fs.ErrPermission}}
	f, err := collect.FromNode(n, nil, collect.Options{Offline: true})
	if err != nil || !strings.Contains(f.Missing[harden.NeedKubelet].String(), "kubelet.service: permission denied") {
		t.Errorf("the kubelet is unknown because of %q, %v", f.Missing[harden.NeedKubelet], err)
	}
}

// TestASysctlFileThatCannotBeReadIsUnknown: it may be the one that is loaded last.
func TestASysctlFileThatCannotBeReadIsUnknown(t *testing.T) {
	n := unreadable{Node: hardentest.Fixture(t, "1.37"), paths: []string{"/etc/sysctl.d/99-last.conf"}}
	n.Files["/etc/sysctl.d"] = harden.State{Exists: true, Dir: true, Mode: 0o755}
	n.Write("/etc/sysctl.d/99-last.conf", "vm.panic_on_oom=1\n", 0o600)
	f, err := collect.FromNode(n, nil, collect.Options{Offline: true})
	if err != nil || !strings.Contains(f.Missing[harden.NeedSysctls].String(), "/etc/sysctl.d/99-last.conf: permission denied") {
		t.Errorf("kernel settings are unknown because of %q, %v", f.Missing[harden.NeedSysctls], err)
	}
	// What is switched off by a link to /dev/null is read by nobody.
	n.paths = []string{"/etc/sysctl.d/99-last.conf", "/dev/null"}
	delete(n.Files, "/etc/sysctl.d/99-last.conf")
	n.Links["/etc/sysctl.d/99-last.conf"] = "/dev/null"
	if f, err = collect.FromNode(n, nil, collect.Options{Offline: true}); err != nil || !f.Missing[harden.NeedSysctls].IsZero() {
		t.Errorf("a file that is switched off: %q, %v", f.Missing[harden.NeedSysctls], err)
	}
}

// What stands in a component's place and defines no pod leaves open what runs there: it is unknown, not absent.
func TestAnEmptyManifestWasTakenForNoComponent(t *testing.T) {
	const manifest = harden.StaticPodDir + "/kube-apiserver.yaml"
	for name, tt := range map[string]struct {
		edit func(n *hardentest.Node)
		says string
	}{
		"empty":             {func(n *hardentest.Node) { n.Write(manifest, "", 0o600) }, "it defines no pod with a name and containers"},
		"comments only":     {func(n *hardentest.Node) { n.Write(manifest, "# later\n", 0o600) }, "it defines no pod with a name and containers"},
		"another kind":      {func(n *hardentest.Node) { n.Write(manifest, "kind: ConfigMap\nmetadata: {name: x}\n", 0o600) }, "it defines no pod with a name and containers"},
		"a link to nothing": {func(n *hardentest.Node) { n.Files[manifest] = harden.State{} }, "it is a link to nothing"},
	} {
		n := hardentest.Fixture(t, "1.37")
		tt.edit(n)
		f := n.Facts(t)
		if why := f.Missing[harden.NeedAPIServer]; !strings.Contains(why.String(), tt.says) {
			t.Errorf("%s: missing is %q", name, why)
		}
		i := slices.IndexFunc(f.StaticPods, func(p harden.StaticPodFact) bool { return p.Path == manifest })
		if i < 0 || !strings.Contains(f.StaticPods[i].Broken.String(), tt.says) {
			t.Errorf("%s: %+v", name, f.StaticPods)
		}
	}
}
