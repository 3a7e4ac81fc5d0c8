package collect_test

import (
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// configured is a machine whose runtime tells this.
type configured struct {
	filtering
	told harden.RuntimeFact
	err  error
	args []string

	started time.Time
}

func (c *configured) RuntimeConfig() (*harden.RuntimeFact, error) { return &c.told, c.err }

func (c *configured) Processes(...string) (map[string][]harden.ProcessFact, error) {
	if c.args == nil {
		return nil, nil
	}
	return map[string][]harden.ProcessFact{harden.Containerd: {{PID: 612, Args: c.args, Started: c.started}}}, nil
}

func TestRegistriesThatNeedNotProveThemselves(t *testing.T) {
	const (
		main  = "/etc/containerd/config.toml"
		hosts = "/etc/containerd/certs.d/registry.lan/hosts.toml"
	)
	two := harden.RuntimeFact{Name: harden.Containerd, Version: "v2.0.5"}
	newer := harden.RuntimeFact{Name: harden.Containerd, Version: "2.2.1"}
	one := harden.RuntimeFact{Name: harden.Containerd, Version: "v1.7.27", Registries: &harden.RuntimeRegistries{}}
	dirs := harden.RuntimeFact{Name: harden.Containerd, Version: "v1.7.27", Registries: &harden.RuntimeRegistries{ConfigPath: "/etc/x:/etc/containerd/certs.d"}}
	for name, tt := range map[string]struct {
		told  harden.RuntimeFact
		args  []string
		files map[string]string
		want  string // what is wrong, or why it is not known
	}{
		"told, nothing wrong": {told: one, files: map[string]string{hosts: "skip_verify = true\n"}},
		"told, wrong": {told: harden.RuntimeFact{Name: harden.Containerd, Version: "v1.7.27", Registries: &harden.RuntimeRegistries{Unverified: []string{"a.lan"}}},
			want: "registry.configs.a.lan.tls.insecure_skip_verify = true"},
		"told, a mirror": {told: harden.RuntimeFact{Name: harden.Containerd, Version: "v1.7.27", Registries: &harden.RuntimeRegistries{Mirrors: []string{"https://a", "http://127.0.0.1:5000", "http://localhost", "http://[::1]:5000", "http://localhost.evil.example"}}},
			want: `registry.mirrors endpoint = "http://localhost.evil.example"`},
		"told, directories":                     {told: dirs, files: map[string]string{hosts: "skip_verify = true\n"}, want: hosts + "skip_verify = true"},
		"no files":                              {told: two},
		"without a default directory":           {told: two, files: map[string]string{hosts: "skip_verify = true\n"}},
		"the default directory":                 {told: newer, files: map[string]string{hosts: "server = \"https://a\"\n[host.\"https://b\"]\n  skip_verify=true # for now\n"}, want: hosts + "skip_verify = true"},
		"docker's directory":                    {told: newer, files: map[string]string{"/etc/docker/certs.d/a/hosts.toml": "server = 'http://a.lan'\n"}, want: "/etc/docker/certs.d/a/hosts.toml" + "http://a.lan"},
		"in a comment":                          {told: newer, files: map[string]string{hosts: "# skip_verify = true\nserver = \"https://a#b\" # was \"http://a\"\n  #[host.\"http://b\"]\nskip_verify = false\n"}},
		"another directory":                     {told: newer, files: map[string]string{main: "[plugins.\"io.containerd.cri.v1.images\".registry]\n config_path = '/etc/x'\n", hosts: "skip_verify = true\n"}},
		"that directory":                        {told: two, files: map[string]string{main: "config_path = \"/etc/containerd/certs.d\"\n", hosts: "\"skip_verify\" = true\n"}, want: hosts + "skip_verify = true"},
		"a mirror of a file":                    {told: two, files: map[string]string{main: "[mirrors.\"docker.io\"]\n endpoint = [\n  \"https://a\", # x\n  \"http://b\",\n ]\n"}, want: main + "mirror http://b"},
		"no list of mirrors":                    {told: two, files: map[string]string{main: "[plugins.\"io.containerd.tracing.processor.v1.otlp\"]\n endpoint = \"http://b\"\n"}},
		"an import":                             {told: two, files: map[string]string{main: "imports = [\"more/*.toml\"]\n", "/etc/containerd/more/a.toml": "endpoint = ['http://b']\n"}, want: "/etc/containerd/more/a.tomlmirror http://b"},
		"an import of itself":                   {told: two, files: map[string]string{main: "imports = [\"/etc/containerd/*.toml\"]\n"}},
		"imports by directories":                {told: two, files: map[string]string{main: "imports = [\"/etc/*/a.toml\"]\n"}, want: "cannot be told"},
		"another file":                          {told: two, args: []string{"containerd", "--config", "/opt/c.toml"}, files: map[string]string{main: "endpoint = ['http://b']\n", "/opt/c.toml": "endpoint = ['http://c']\n"}, want: "/opt/c.tomlmirror http://c"},
		"another file, joined":                  {told: two, args: []string{"containerd", "-c=/opt/c.toml"}, files: map[string]string{"/opt/c.toml": "endpoint = ['http://c']\n"}, want: "/opt/c.tomlmirror http://c"},
		"a key with dots, in a table in a line": {told: two, files: map[string]string{main: "a.b = {registry.config_path = '/etc/containerd/certs.d'}\n", hosts: "[host]\n\"https://a\".skip_verify = true\n"}, want: hosts + "skip_verify = true"},
		"in a text":                             {told: newer, files: map[string]string{hosts: "x = \"\"\"\nskip_verify = true\n[host.'http://b']\n\"\"\"\n"}},
		"a registry without TLS":                {told: newer, files: map[string]string{hosts: "[host.\"http://b\"]\n capabilities = [\"pull\"]\n"}, want: hosts + "http://b"},
		"no TOML":                               {told: newer, files: map[string]string{hosts: "skip_verify true\n"}, want: hosts + ": it is no TOML"},
		"too long":                              {told: two, files: map[string]string{main: strings.Repeat("#\n", 1<<20)}, want: "it is longer than"},
		"CRI-O":                                 {told: harden.RuntimeFact{Name: harden.CRIO, Version: "1.35.0"}, want: "registries.conf"},
	} {
		n := hardentest.Fixture(t, "1.37")
		for p, text := range tt.files {
			n.Write(p, text, 0o644)
			n.Files[path.Dir(p)] = harden.State{Exists: true, Dir: true, Mode: 0o755}
		}
		f, err := collect.FromNode(n, &configured{told: tt.told, args: tt.args}, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		why, missing := f.Missing[harden.NeedRegistries]
		got := why.String()
		if !missing {
			got = ""
			for _, e := range f.Registries.Unverified {
				got += strings.TrimPrefix(e.Source, tt.told.String()+", as it runs") + e.Value
			}
		}
		if got != tt.want && (!missing || tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// containerd reads its files when it starts; what they say now may be in force for nobody.
func TestRegistriesOfAFileThatWasChangedSinceItWasRead(t *testing.T) {
	const main = "/etc/containerd/config.toml"
	for _, changed := range []bool{false, true} {
		n := hardentest.Fixture(t, "1.37")
		n.Write(main, "", 0o644)
		n.Modified = map[string]time.Time{main: time.Unix(100, 0)}
		live := &configured{told: harden.RuntimeFact{Name: harden.Containerd, Version: "v2.3.4"}, args: []string{"containerd"}, started: time.Unix(200, 0)}
		if changed {
			live.started = time.Unix(50, 0)
		}
		f, err := collect.FromNode(n, live, collect.Options{})
		if err != nil || f.Registries.Changed != changed {
			t.Errorf("%v: %+v, %v", changed, f.Registries, err)
		}
	}
}

func TestRuntimeThatIsNotAsked(t *testing.T) {
	for name, live := range map[string]collect.Live{"offline": nil, "it cannot be": &filtering{}, "it does not tell": &configured{err: errors.New("it does not tell")}} {
		f, err := collect.FromNode(hardentest.Fixture(t, "1.37"), live, collect.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, config := f.Missing[harden.NeedRuntimeConfig]
		_, registries := f.Missing[harden.NeedRegistries]
		if !config || !registries {
			t.Errorf("%s: %v", name, f.Missing)
		}
	}
}

func TestModulesOfTheKernel(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write("/sys/kernel/security/apparmor/profiles", "", 0o644)
	n.Write("/sys/module/apparmor/parameters/enabled", "Y\n", 0o644)
	n.Write("/usr/sbin/apparmor_parser", "", 0o644)
	n.Write("/sys/fs/selinux/enforce", "0", 0o644)
	f, err := collect.FromNode(n, &configured{}, collect.Options{})
	if err != nil || *f.Modules != (harden.ModulesFact{AppArmor: true, Parser: true}) {
		t.Errorf("%+v, %v", f.Modules, err)
	}
}
