package files_test

import (
	"maps"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/files"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestAreaIsWellFormed(t *testing.T) { hardentest.CheckArea(t, files.Area()) }

// node is a fixture with the unit files that kubeadm's packages install.
type node struct{ *hardentest.Node }

func (n node) Unit(string) (collect.Unit, error) {
	u := collect.Unit{
		ExecStart:   "/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS",
		Environment: []string{"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml", "KUBELET_KUBECONFIG_ARGS=--kubeconfig=/etc/kubernetes/kubelet.conf"},
		EnvFiles:    []string{"-/var/lib/kubelet/kubeadm-flags.env", "-/etc/default/kubelet"},
		Files:       []string{unitFile, dropIn, "/usr/lib/systemd/system/service.d/10-timeout-abort.conf"},
	}
	return u, nil
}

const (
	unitFile = "/usr/lib/systemd/system/kubelet.service"
	dropIn   = "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"
	manifest = "/etc/kubernetes/manifests/kube-scheduler.yaml"
	cni      = "/etc/cni/net.d/10-bridge.conflist"
	caKey    = "/etc/kubernetes/pki/ca.key"
	etcdKey  = "/etc/kubernetes/pki/etcd/server.key"
	etcdDir  = "/var/lib/etcd"
	admin    = "/etc/kubernetes/admin.conf"
)

// installed is a node as packages, kubeadm and a network plugin leave it.
func installed(t *testing.T, minor string) node {
	t.Helper()
	n := hardentest.Fixture(t, minor)
	for _, dir := range []string{"/usr/lib/systemd/system", "/usr/lib/systemd/system/kubelet.service.d", "/etc/cni/net.d", "/var/log", "/var/log/kubernetes", "/root", "/home", "/home/bob"} {
		n.Files[dir] = harden.State{Exists: true, Dir: true, Mode: 0o755}
	}
	n.Write(unitFile, "[Service]\n", 0o644)
	n.Write(dropIn, "[Service]\n", 0o644)
	n.Write(cni, "{}\n", 0o644)
	n.Write(caKey, "key", 0o600)
	n.Write(etcdKey, "key", 0o600)
	n.Write("/etc/passwd", "root:x:0:0::/root:/bin/sh\netcd:x:107:107::/nonexistent:/usr/sbin/nologin\nbob:x:1000:1000::/srv/people/bob:/bin/sh\n", 0o644)
	n.Write("/etc/group", "root:x:0:\netcd:x:107:\nbob:x:1000:\n", 0o644)
	return node{n}
}

func (n node) facts(t *testing.T) *harden.Facts {
	t.Helper()
	f, err := collect.FromNode(n, nil, collect.Options{Root: "/", Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func finding(t *testing.T, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, []harden.Area{files.Area()}) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("no control %s", id)
	return harden.Finding{}
}

// What kubeadm, its packages and network plugins leave behind fails in two places only.
func TestNodesAsInstalled(t *testing.T) {
	want := map[string]harden.Status{
		"files-cni-modes": harden.StatusFail, "files-kubelet-unit-modes": harden.StatusFail,
		"files-proxy-kubeconfig-modes": harden.StatusNotApplicable, "files-proxy-kubeconfig-owners": harden.StatusNotApplicable,
		"files-server-configuration-modes": harden.StatusNotApplicable, "files-server-configuration-owners": harden.StatusNotApplicable,
		"files-audit-log": harden.StatusNotApplicable, "files-super-admin": harden.StatusManual,
	}
	for _, minor := range hardentest.Minors {
		for _, got := range harden.Assess(installed(t, minor).facts(t), []harden.Area{files.Area()}) {
			expected := harden.StatusPass
			if s, ok := want[got.Control]; ok {
				expected = s
			}
			if got.Status != expected {
				t.Errorf("%s %s: %s (%s), want %s", minor, got.Control, got.Status, got.Message, expected)
			}
			if got.Status != harden.StatusNotApplicable && len(got.Evidence) == 0 {
				t.Errorf("%s %s: no evidence", minor, got.Control)
			}
		}
	}
}

type edit func(t *testing.T, n node)

func mode(p string, mode uint32) edit {
	return func(t *testing.T, n node) {
		s, ok := n.Files[p]
		if !ok {
			t.Fatalf("there is no %s", p)
		}
		s.Mode = mode
		n.Files[p] = s
	}
}

func owned(p string, uid, gid int) edit {
	return func(t *testing.T, n node) {
		s, ok := n.Files[p]
		if !ok {
			t.Fatalf("there is no %s", p)
		}
		s.UID, s.GID = uid, gid
		n.Files[p] = s
	}
}

func file(p, data string, mode uint32) edit {
	return func(_ *testing.T, n node) { n.Write(p, data, mode) }
}

// copyOf puts a copy of a kubeconfig somewhere.
func copyOf(from, to string, mode uint32) edit {
	return func(_ *testing.T, n node) {
		n.Files[to[:strings.LastIndex(to, "/")]] = harden.State{Exists: true, Dir: true, Mode: 0o700}
		n.Write(to, string(n.Files[from].Data), mode)
	}
}

func edits(list ...edit) edit {
	return func(t *testing.T, n node) {
		for _, e := range list {
			e(t, n)
		}
	}
}

func gone(p string) edit { return func(_ *testing.T, n node) { delete(n.Files, p) } }

func link(p, to string) edit {
	return func(_ *testing.T, n node) { n.Links[p] = to }
}

func apiserver(e hardentest.Edit) edit {
	return func(t *testing.T, n node) {
		s := n.Files[hardentest.ManifestPath]
		s.Data = []byte(e(t, string(s.Data)))
		n.Files[hardentest.ManifestPath] = s
	}
}

// auditing is an API server that writes an audit log.
func auditing(dir string) edit {
	return edits(
		apiserver(hardentest.Flag("audit-log-path", dir+"/audit.log")), apiserver(hardentest.Mount(dir, "Directory")),
		func(_ *testing.T, n node) { n.Files[dir] = harden.State{Exists: true, Dir: true, Mode: 0o755} },
		file(dir+"/audit.log", "{}\n", 0o600),
	)
}

func TestVerdicts(t *testing.T) {
	const audit, bob = "/var/log/kubernetes/audit", "/srv/people/bob/.kube/config"
	tests := []struct {
		name, control string
		edit          edit
		want          harden.Status
		message       string
		remedied      bool // the default remedy makes it pass, and its undo brings everything back
	}{
		{"a manifest for all to read", "files-manifests-modes", mode(manifest, 0o644), harden.StatusFail, "mode 0644 of " + manifest, true},
		{"stricter than needed", "files-manifests-modes", mode(manifest, 0o400), harden.StatusPass, "", false},
		{"setuid is no right of anybody's", "files-manifests-modes", mode(manifest, 0o4600), harden.StatusFail, "4600", true},
		{"a manifests directory that others write to", "files-manifests-modes", mode("/etc/kubernetes/manifests", 0o777), harden.StatusFail, "/etc/kubernetes/manifests", true},
		{"another manifest counts too", "files-manifests-modes", file("/etc/kubernetes/manifests/registry.yaml", "kind: Pod\nmetadata: {name: registry}\nspec: {containers: [{name: registry}]}\n", 0o666), harden.StatusFail, "registry.yaml", true},
		{"a dot-file does not", "files-manifests-modes", file("/etc/kubernetes/manifests/.swp", "kind: Pod\n", 0o666), harden.StatusPass, "", false},
		{"a manifest of somebody else's", "files-manifests-owners", owned(manifest, 1000, 1000), harden.StatusFail, manifest, true},
		{"its group alone", "files-manifests-owners", owned(manifest, 0, 1000), harden.StatusFail, manifest, true},
		{"kubelet's static pods elsewhere", "files-manifests-modes", edits(
			func(t *testing.T, n node) {
				n.Edit(t, "/var/lib/kubelet/config.yaml", "staticPodPath: /etc/kubernetes/manifests", "staticPodPath: /etc/pods")
			},
			func(_ *testing.T, n node) { n.Files["/etc/pods"] = harden.State{Exists: true, Dir: true, Mode: 0o700} },
			file("/etc/pods/kube-apiserver.yaml", "kind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\nspec: {containers: [{name: kube-apiserver}]}\n", 0o640),
		), harden.StatusFail, "/etc/pods/kube-apiserver.yaml", true},

		{"network plugin's file for root", "files-cni-modes", mode(cni, 0o600), harden.StatusPass, "", false},
		{"network plugin's file as installed", "files-cni-modes", edits(), harden.StatusFail, cni, true},
		{"network plugin's link within its directory", "files-cni-modes", edits(file("/etc/cni/net.d/real", "{}", 0o644), mode(cni, 0o600), link("/etc/cni/net.d/link.conf", "/etc/cni/net.d/real")), harden.StatusFail, "link.conf", true},
		{"network plugin's link out of it", "files-cni-modes", edits(mode(cni, 0o600), file("/opt/cni.conf", "{}", 0o644), link("/etc/cni/net.d/link.conf", "/opt/cni.conf")), harden.StatusFail, "link.conf", false},
		{"network plugin's link to nowhere", "files-cni-modes", edits(mode(cni, 0o600), link("/etc/cni/net.d/link.conf", "")), harden.StatusPass, "", false},
		{"no network plugin", "files-cni-owners", gone(cni), harden.StatusNotApplicable, "", false},
		{"network plugin's file of somebody else's", "files-cni-owners", owned(cni, 1000, 1000), harden.StatusFail, cni, true},

		{"etcd's data for all to enter", "files-etcd-data-modes", mode(etcdDir, 0o755), harden.StatusFail, "0755", true},
		{"etcd's data of a user etcd", "files-etcd-data-owners", owned(etcdDir, 107, 107), harden.StatusPass, "", false},
		{"etcd's data of another user", "files-etcd-data-owners", owned(etcdDir, 1000, 1000), harden.StatusFail, etcdDir, true},
		{"no etcd here", "files-etcd-data-modes", gone("/etc/kubernetes/manifests/etcd.yaml"), harden.StatusNotApplicable, "", false},

		{"admin.conf for a group", "files-admin-conf-modes", mode(admin, 0o640), harden.StatusFail, "0640", true},
		{"admin.conf of a user", "files-admin-conf-owners", owned(admin, 1000, 1000), harden.StatusFail, admin, true},
		{"super-admin.conf for all", "files-admin-conf-modes", mode("/etc/kubernetes/super-admin.conf", 0o644), harden.StatusFail, "super-admin.conf", true},
		{"scheduler.conf for all", "files-kubeconfigs-modes", mode("/etc/kubernetes/scheduler.conf", 0o644), harden.StatusFail, "scheduler.conf", true},
		{"scheduler.conf of a user", "files-kubeconfigs-owners", owned("/etc/kubernetes/scheduler.conf", 1, 0), harden.StatusFail, "scheduler.conf", true},
		{"controller-manager.conf for a group", "files-kubeconfigs-modes", mode("/etc/kubernetes/controller-manager.conf", 0o660), harden.StatusFail, "controller-manager.conf", true},

		{"a certificate that others write to", "files-pki-modes", mode("/etc/kubernetes/pki/ca.crt", 0o666), harden.StatusFail, "ca.crt", true},
		{"certificates for root alone", "files-pki-modes", mode("/etc/kubernetes/pki/ca.crt", 0o600), harden.StatusPass, "", false},
		{"a pki folder that others write to", "files-pki-modes", mode("/etc/kubernetes/pki/etcd", 0o775), harden.StatusFail, "/etc/kubernetes/pki/etcd", true},
		{"a certificate of a user", "files-pki-owners", owned("/etc/kubernetes/pki/etcd/ca.crt", 107, 107), harden.StatusFail, "etcd/ca.crt", true},
		{"a key for a group", "files-pki-keys-modes", mode(etcdKey, 0o640), harden.StatusFail, etcdKey, true},
		{"a key of a user", "files-pki-keys-owners", owned(caKey, 1000, 1000), harden.StatusFail, caKey, true},

		{"the unit as installed", "files-kubelet-unit-modes", edits(), harden.StatusFail, unitFile, true},
		{"the unit for root", "files-kubelet-unit-modes", edits(mode(unitFile, 0o600), mode(dropIn, 0o600)), harden.StatusPass, "", false},
		{"an environment file that others write to", "files-kubelet-unit-modes", edits(mode(unitFile, 0o600), mode(dropIn, 0o600), mode("/var/lib/kubelet/kubeadm-flags.env", 0o666)), harden.StatusFail, "kubeadm-flags.env", true},
		{"a drop-in of a user", "files-kubelet-unit-owners", owned(dropIn, 1000, 1000), harden.StatusFail, dropIn, true},
		{"kube-proxy as a service", "files-proxy-kubeconfig-modes", file("/etc/kubernetes/kube-proxy.conf", "kind: Config\n", 0o644), harden.StatusFail, "kube-proxy.conf", true},
		{"kube-proxy's file of a user", "files-proxy-kubeconfig-owners", edits(file("/etc/kubernetes/proxy.conf", "kind: Config\n", 0o600), owned("/etc/kubernetes/proxy.conf", 1, 1)), harden.StatusFail, "proxy.conf", true},
		{"kubelet.conf for all", "files-kubelet-conf-modes", mode("/etc/kubernetes/kubelet.conf", 0o644), harden.StatusFail, "kubelet.conf", true},
		{"kubelet's key for all", "files-kubelet-conf-modes", edits(
			func(_ *testing.T, n node) {
				n.Files["/var/lib/kubelet/pki"] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			},
			file("/var/lib/kubelet/pki/kubelet-client-2026.pem", "key", 0o644), link("/var/lib/kubelet/pki/kubelet-client-current.pem", "/var/lib/kubelet/pki/kubelet-client-2026.pem"),
		), harden.StatusFail, "kubelet-client-", true},
		{"kubelet.conf of a user", "files-kubelet-conf-owners", owned("/etc/kubernetes/kubelet.conf", 1000, 1000), harden.StatusFail, "kubelet.conf", true},
		{"the client CA that others write to", "files-client-ca-modes", mode("/etc/kubernetes/pki/ca.crt", 0o664), harden.StatusFail, "ca.crt", true},
		{"the client CA of a user", "files-client-ca-owners", owned("/etc/kubernetes/pki/ca.crt", 1000, 0), harden.StatusFail, "ca.crt", true},

		{"an encryption key for all", "files-server-configuration-modes", edits(
			apiserver(hardentest.Flag("encryption-provider-config", "/etc/kubernetes/enc.yaml")), apiserver(hardentest.Mount("/etc/kubernetes/enc.yaml", "File")), file("/etc/kubernetes/enc.yaml", "secret", 0o644),
		), harden.StatusFail, "enc.yaml", true},
		{"an audit policy of a user", "files-server-configuration-owners", edits(
			apiserver(hardentest.Flag("audit-policy-file", "/etc/kubernetes/audit.yaml")), apiserver(hardentest.Mount("/etc/kubernetes/audit.yaml", "File")),
			file("/etc/kubernetes/audit.yaml", "rules: []", 0o600), owned("/etc/kubernetes/audit.yaml", 1000, 1000),
		), harden.StatusFail, "audit.yaml", true},
		{"a file that no mount covers", "files-server-configuration-modes", edits(apiserver(hardentest.Flag("audit-policy-file", "/srv/audit.yaml")), file("/srv/audit.yaml", "rules: []", 0o644)), harden.StatusNotApplicable, "", false},

		{"an audit log for root", "files-audit-log", auditing(audit), harden.StatusPass, "", false},
		{"an audit log for all", "files-audit-log", edits(auditing(audit), mode(audit+"/audit.log", 0o644)), harden.StatusFail, "audit.log", true},
		{"an audit log for all where nobody comes", "files-audit-log", edits(auditing(audit), mode(audit+"/audit.log", 0o644), mode(audit, 0o700)), harden.StatusPass, "", false},
		{"an audit log of somebody else's", "files-audit-log", edits(auditing(audit), owned(audit+"/audit.log", 1000, 0)), harden.StatusManual, "audit.log", false},
		{"an audit log for all among others", "files-audit-log", edits(auditing("/var/log"), mode("/var/log/audit.log", 0o644)), harden.StatusFail, "audit.log", false},

		{"no super-admin.conf", "files-super-admin", gone("/etc/kubernetes/super-admin.conf"), harden.StatusPass, "", false},
		{"an admin.conf from before 1.29", "files-super-admin", edits(copyOf("/etc/kubernetes/super-admin.conf", admin, 0o600), gone("/etc/kubernetes/super-admin.conf")), harden.StatusManual, "admin.conf", false},
		{"a copy in root's home", "files-admin-credentials", copyOf(admin, "/root/.kube/config", 0o600), harden.StatusManual, "kubeadm kubeconfig user", false},
		{"a copy in a user's home for all", "files-admin-credentials", copyOf(admin, bob, 0o644), harden.StatusFail, bob, false},
		{"a copy that lies in root's home itself", "files-admin-credentials", copyOf(admin, "/root/admin.conf", 0o600), harden.StatusManual, "1 found", false},
		{"a copy that lies in a user's home itself, for all", "files-admin-credentials", copyOf(admin, "/home/bob/admin.conf", 0o644), harden.StatusFail, "/home/bob/admin.conf", false},
		{"a copy under another name", "files-admin-credentials", copyOf(admin, "/srv/people/bob/prod-kubeconfig.old", 0o600), harden.StatusManual, "1 found", false},
		{"a manifest in a home", "files-admin-credentials", file("/root/pod.yaml", "kind: Pod\n", 0o644), harden.StatusPass, "", false},
		{"a copy without a bound", "files-admin-credentials", copyOf("/etc/kubernetes/super-admin.conf", "/home/bob/.kube/prod", 0o600), harden.StatusFail, "system:masters", false},
		{"a copy beside the original", "files-admin-credentials", copyOf(admin, "/etc/kubernetes/admin.conf.bak", 0o600), harden.StatusManual, "1 found", false},
		{"a node's own credentials are no administrator's", "files-admin-credentials", copyOf("/etc/kubernetes/kubelet.conf", "/root/.kube/config", 0o600), harden.StatusPass, "", false},
		{"something that is no kubeconfig", "files-admin-credentials", edits(copyOf(admin, "/root/.kube/config", 0o600), file("/root/.kube/config", "hello", 0o644)), harden.StatusPass, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.control+" "+tt.name, func(t *testing.T) {
			n := installed(t, "1.37")
			tt.edit(t, n)
			got := finding(t, n.facts(t), tt.control)
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.message) {
				t.Fatalf("%s: %s\n%v", got.Status, got.Message, got.Evidence)
			}
			if tt.remedied {
				remedied(t, n, tt.control)
			}
		})
	}
}

// remedied applies the control's remedy, wants it to pass, and undoes it.
func remedied(t *testing.T, n node, control string) {
	t.Helper()
	before := maps.Clone(n.Files)
	p, err := planOf(n, t, control)
	if err != nil || p.Empty() {
		t.Fatalf("nothing is planned: %v %v", err, p.Skipped)
	}
	if len(p.Stages[0].Effects) > 0 {
		t.Errorf("something restarts: %v", p.Stages[0].Effects)
	}
	n.Apply(p)
	if got := finding(t, n.facts(t), control); got.Status != harden.StatusPass {
		t.Errorf("after the remedy: %s: %s", got.Status, got.Message)
	}
	for path, s := range n.Files {
		if b := before[path]; string(b.Data) != string(s.Data) || s.Mode&^b.Mode != 0 {
			t.Errorf("%s: its content changed, or mode %o became %o", path, b.Mode, s.Mode)
		}
	}
	back, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx", Plan: p}, Facts: n.facts(t), Read: exactly(n)})
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(back)
	if !maps.EqualFunc(n.Files, before, harden.State.Equal) {
		t.Error("after the undo something is not as before")
	}
}

// planOf is the node's plan of a control's default remedy.
func planOf(n node, t *testing.T, control string) (harden.Plan, error) {
	t.Helper()
	plans, err := harden.Build(harden.BuildInput{
		Facts: n.facts(t), Areas: []harden.Area{files.Area()}, Choices: []harden.Choice{{Control: control, Named: true}}, Read: exactly(n),
	})
	return plans.Node, err
}

// exactly reads what is to be written: it follows no link.
func exactly(n node) func(string) (harden.State, error) {
	return func(p string) (harden.State, error) { return n.Files[p], nil }
}

// A control plane that runs as other users needs what looks too much.
func TestRootlessControlPlanesAreLeftAlone(t *testing.T) {
	n := installed(t, "1.37")
	apiserver(hardentest.Replace("  securityContext:\n", "  securityContext:\n    runAsUser: 2001\n"))(t, n)
	mode(caKey, 0o640)(t, n)
	owned(etcdKey, 2002, 2002)(t, n)
	for _, control := range []string{"files-pki-keys-modes", "files-pki-keys-owners"} {
		got := finding(t, n.facts(t), control)
		if got.Status != harden.StatusManual || !strings.Contains(got.Message.String(), "kube-apiserver does not run as root") {
			t.Errorf("%s: %s: %s", control, got.Status, got.Message)
		}
		p, err := planOf(n, t, control)
		if err != nil || !p.Empty() || len(p.Skipped) != 1 {
			t.Errorf("%s: planned: %v %v", control, err, p.Skipped)
		}
	}
}

// What a link leads to elsewhere is said, with the command, and not touched.
func TestNothingIsChangedThroughLinks(t *testing.T) {
	n := installed(t, "1.37")
	file("/opt/cni.conf", "{}", 0o644)(t, n)
	link("/etc/cni/net.d/link.conf", "/opt/cni.conf")(t, n)
	p, err := planOf(n, t, "files-cni-modes")
	if err != nil || len(p.Steps()) != 1 || p.Steps()[0].Path != cni {
		t.Errorf("planned %v, %v", p.Steps(), err)
	}
	mode(cni, 0o600)(t, n)
	p, err = planOf(n, t, "files-cni-modes")
	if err != nil || !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), "chmod 0600 /opt/cni.conf") {
		t.Errorf("planned %v, %v", p.Skipped, err)
	}
}

// TestAStrayManifestIsNotKeptInOrder: it is to be moved away, as another control says. What else is loose is restricted.
func TestAStrayManifestIsNotKeptInOrder(t *testing.T) {
	const dir = "/etc/kubernetes/manifests/"
	scheduler := string(installed(t, "1.37").Files[manifest].Data)
	for _, row := range []struct{ file, text, why string }{
		{dir + "zz-scheduler.yaml", scheduler, "it defines kube-scheduler, as " + manifest + " does"},
		{dir + "kube-scheduler.yaml.bak", scheduler, "it is named like a copy put aside"},
		{dir + "notes.txt", "kind: Pod\n", "it defines no pod"},
	} {
		n := installed(t, "1.37")
		file(row.file, row.text, 0o644)(t, n)
		owned(row.file, 1000, 1000)(t, n)
		for _, control := range []string{"files-manifests-modes", "files-manifests-owners"} {
			if got := finding(t, n.facts(t), control); got.Status != harden.StatusFail {
				t.Errorf("%s: %s: %s: %s", row.file, control, got.Status, got.Message)
			}
			p, err := planOf(n, t, control)
			if err != nil || !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), row.file+": "+row.why) {
				t.Errorf("%s: %s: left out %v, %v", row.file, control, p.Skipped, err)
			}
		}
		mode(dir+"etcd.yaml", 0o644)(t, n)
		if p, err := planOf(n, t, "files-manifests-modes"); err != nil || len(p.Steps()) != 1 || p.Steps()[0].Path != dir+"etcd.yaml" {
			t.Errorf("%s: the others: %v, %v", row.file, p.Steps(), err)
		}
	}
}

// What --all takes can hurt this node only.
func TestRisks(t *testing.T) {
	risky := map[string]bool{"files-admin-conf-modes": true, "files-admin-conf-owners": true, "files-audit-log": true, "files-admin-credentials": true, "files-stray-manifests": true}
	for _, c := range files.Area().Controls {
		for _, r := range c.Remedies {
			if (r.Risk != harden.RiskNode) != risky[c.ID] {
				t.Errorf("%s: risk %s", c.ID, r.Risk)
			}
		}
	}
}
