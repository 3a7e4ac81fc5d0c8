package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const (
	kubeletUnit = `[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always

[Install]
WantedBy=multi-user.target
`
	kubeadmDropIn = `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# This is a file that "kubeadm init" and "kubeadm join" generate at runtime
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`
	kubeadmStart = "/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS"
	kubeconfigs  = "KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
	configArgs   = "KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
)

func TestUnitFiles(t *testing.T) {
	const lib, etc, run = "usr/lib/systemd/system/", "etc/systemd/system/", "run/systemd/system/"
	kubeadm := map[string]string{lib + "kubelet.service": kubeletUnit, lib + "kubelet.service.d/10-kubeadm.conf": kubeadmDropIn}
	packaged := UnitFiles{
		Fragment: "/" + lib + "kubelet.service", DropIns: []string{"/" + lib + "kubelet.service.d/10-kubeadm.conf"},
		ExecStart: []string{kubeadmStart}, Environment: []string{kubeconfigs, configArgs},
		EnvironmentFiles: []EnvironmentFile{{"/var/lib/kubelet/kubeadm-flags.env", true}, {"/etc/default/kubelet", true}},
	}
	for _, tt := range []struct {
		name  string
		files map[string]string // on top of the packages'
		links map[string]string
		want  func(u *UnitFiles)
	}{
		{"as packaged", nil, nil, func(*UnitFiles) {}},
		{"an own drop-in adds", map[string]string{etc + "kubelet.service.d/90-extra.conf": "[Service]\nEnvironmentFile=/etc/extra\n"}, nil, func(u *UnitFiles) {
			u.DropIns = append(u.DropIns, "/"+etc+"kubelet.service.d/90-extra.conf")
			u.EnvironmentFiles = append(u.EnvironmentFiles, EnvironmentFile{Path: "/etc/extra"})
		}},
		{"the same name in /etc replaces", map[string]string{etc + "kubelet.service.d/10-kubeadm.conf": "[Service]\nEnvironment=A=1 \"B=2 3\" 'C=\"'\n"}, nil, func(u *UnitFiles) {
			u.DropIns = []string{"/" + etc + "kubelet.service.d/10-kubeadm.conf"}
			u.ExecStart, u.Environment, u.EnvironmentFiles = []string{"/usr/bin/kubelet"}, []string{"A=1", "B=2 3", `C="`}, nil
		}},
		{"a masked drop-in is gone", nil, map[string]string{run + "kubelet.service.d/10-kubeadm.conf": "/dev/null"}, func(u *UnitFiles) {
			u.DropIns, u.ExecStart, u.Environment, u.EnvironmentFiles = nil, []string{"/usr/bin/kubelet"}, nil, nil
		}},
		{"the unit in /etc wins over /run over /usr", map[string]string{
			etc + "kubelet.service": "[Service]\nExecStart=/opt/kubelet\n", run + "kubelet.service": "[Service]\nExecStart=/run/kubelet\n",
		}, nil, func(u *UnitFiles) { u.Fragment = "/" + etc + "kubelet.service" }},
		{"a masked unit", nil, map[string]string{etc + "kubelet.service": "../../../dev/null"}, func(u *UnitFiles) {
			u.Fragment = "/" + etc + "kubelet.service"
		}},
		{"names decide the order, not directories", map[string]string{
			etc + "kubelet.service.d/05-first.conf":              "[Service]\nEnvironmentFile=/first\n",
			"usr/local/lib/systemd/system/service.d/20-all.conf": "[Service]\nEnvironmentFile=/all\n",
			run + "kubelet.service.d/notes.txt":                  "not a drop-in",
			run + "kubelet.service.d/.30-hidden.conf":            "[Service]\nExecStart=\n",
		}, nil, func(u *UnitFiles) {
			u.DropIns = []string{"/" + etc + "kubelet.service.d/05-first.conf", u.DropIns[0], "/usr/local/lib/systemd/system/service.d/20-all.conf"}
			u.EnvironmentFiles = []EnvironmentFile{{"/first", false}, u.EnvironmentFiles[0], u.EnvironmentFiles[1], {"/all", false}}
		}},
		{"emptied lists", map[string]string{etc + "kubelet.service.d/99-reset.conf": "[Service]\nEnvironment=\nEnvironmentFile=\nExecStart=\n[Unit]\nExecStart=/no\n"}, nil, func(u *UnitFiles) {
			u.DropIns = append(u.DropIns, "/"+etc+"kubelet.service.d/99-reset.conf")
			u.ExecStart, u.Environment, u.EnvironmentFiles = nil, nil, nil
		}},
		{"an alias brings the drop-ins of the real name", map[string]string{lib + "node-agent.service": "[Service]\nExecStart=/agent\n", etc + "node-agent.service.d/50.conf": "[Service]\nEnvironmentFile=/agent\n"},
			map[string]string{etc + "kubelet.service": "/" + lib + "node-agent.service"}, func(u *UnitFiles) {
				u.Fragment = "/" + etc + "kubelet.service"
				u.DropIns = append(u.DropIns, "/"+etc+"node-agent.service.d/50.conf")
				u.EnvironmentFiles = append(u.EnvironmentFiles, EnvironmentFile{Path: "/agent"})
			}},
		{"a drop-in that leads nowhere", nil, map[string]string{etc + "kubelet.service.d/99.conf": "/nowhere"}, func(*UnitFiles) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, dir := newRoot(t)
			for _, files := range []map[string]string{kubeadm, tt.files} {
				for file, text := range files {
					put(t, dir, file, text)
				}
			}
			for link, target := range tt.links {
				full := filepath.Join(dir, link)
				must(t, os.MkdirAll(filepath.Dir(full), 0o755))
				must(t, os.Symlink(target, full))
			}
			must(t, os.Symlink("usr/lib", filepath.Join(dir, "lib")))
			want := packaged
			want.DropIns = append([]string(nil), packaged.DropIns...)
			tt.want(&want)
			got, err := r.UnitFiles("kubelet.service")
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestUnitFilesOfNothing(t *testing.T) {
	r, _ := newRoot(t)
	if u, err := r.UnitFiles("kubelet.service"); err != nil || u.Fragment != "" || u.ExecStart != nil {
		t.Errorf("got %+v, %v", u, err)
	}
	for _, name := range []string{"", "kubelet", "../kubelet.service", "a/b.service"} {
		_, err := r.UnitFiles(name)
		wantUnsafe(t, err, "name of a service unit")
	}
	r2, dir := newRoot(t)
	must(t, os.MkdirAll(filepath.Join(dir, "etc/systemd/system/kubelet.service"), 0o755))
	if _, err := r2.UnitFiles("kubelet.service"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory for a unit: %v", err)
	}
}

func TestParseUnit(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []setting
	}{
		{"", nil},
		{"[Service]\r\nExecStart = /bin/a  b \r\n", []setting{{"Service", "ExecStart", "/bin/a  b"}}},
		{"[Service]\nExecStart=/bin/a \\\n# between\n  --b \\\n; more\n  --c\nX=1", []setting{{"Service", "ExecStart", "/bin/a    --b    --c"}, {"Service", "X", "1"}}},
		{"[Service]\nExecStart=/bin/a \\", []setting{{"Service", "ExecStart", "/bin/a"}}},
		{"A=1\n[S]\nno setting\n[T\nB=#not a comment\n", []setting{{"", "A", "1"}, {"S", "B", "#not a comment"}}},
		{"\ufeff[S]\nA==", []setting{{"S", "A", "="}}},
	} {
		if got := parseUnit(tt.text); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseUnit(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestDashPrefixes(t *testing.T) {
	if got := dashPrefixes("a-b-c.service"); !reflect.DeepEqual(got, []string{"a-b-", "a-"}) {
		t.Errorf("got %q", got)
	}
	if got := dashPrefixes("kubelet.service"); got != nil {
		t.Errorf("got %q", got)
	}
}

func FuzzUnitFile(f *testing.F) {
	f.Add(kubeletUnit)
	f.Add(kubeadmDropIn)
	f.Add("[Service]\nEnvironment='a \\\" b' \\\n#\n\"c\nEnvironmentFile=-")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range parseUnit(text) {
			if s.key != strings.TrimSpace(s.key) || s.value != strings.TrimSpace(s.value) || strings.ContainsAny(s.key+s.value, "\n") || strings.Contains(s.key, "=") {
				t.Errorf("setting %q out of %q", s, text)
			}
		}
		var u UnitFiles
		u.merge(text)
		if strings.Count(text, "EnvironmentFile") < len(u.EnvironmentFiles) || strings.Count(text, "ExecStart") < len(u.ExecStart) {
			t.Errorf("%+v is more than %q says", u, text)
		}
	})
}
