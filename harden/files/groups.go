package files

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	private uint32 = 0o600 // for root alone
	public  uint32 = 0o644 // for all to read
	folder  uint32 = 0o755 // for all to enter
	closed  uint32 = 0o700 // a directory for its owner alone
)

const (
	kubernetesDir = "/etc/kubernetes"
	cniDir        = "/etc/cni/net.d"
	kubeletPKI    = "/var/lib/kubelet/pki"
	etcdDir       = "/var/lib/etcd"
)

// groups in the order of the benchmark.
var groups = []group{
	{
		id: "files-manifests", what: "static pod manifests", severity: harden.High,
		why: harden.Msg("The kubelet runs whatever pod lies in the manifests directory, as root if it says so, and asks no admission plugin. " +
			"Who may write there owns the node, and who may read learns which flags and files protect the control plane."),
		modes:  harden.Refs{CIS: []string{"1.1.1", "1.1.3", "1.1.5", "1.1.7"}, STIG: []string{"V-242408", "V-242458"}, Docs: []string{docsKubeadm}},
		owners: harden.Refs{CIS: []string{"1.1.2", "1.1.4", "1.1.6", "1.1.8"}, STIG: []string{"V-242405", "V-242444"}, Docs: []string{docsKubeadm}},
		find: func(f *harden.Facts) []member {
			dir := staticPodDir(f)
			out := all(f, private, inDir(f, dir, func(name string) bool { return !strings.HasPrefix(name, ".") })...)
			if len(out) == 0 {
				return nil
			}
			for i := range out {
				out[i].stray = strayAt(f, out[i].seen.Path)
			}
			return append(out, at(f, dir, folder)...)
		},
		none:   harden.Msg("this node has no static pod manifests"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("Agents that read the manifests without being root: \"permission denied\".")},
	},
	{
		id: "files-cni", what: "network plugin's configuration", severity: harden.Medium,
		why: harden.Msg("The container runtime runs the programs that these files name, as root, for every pod. " +
			"Some of them hold credentials of the network plugin for the API."),
		modes:  harden.Refs{CIS: []string{"1.1.9"}},
		owners: harden.Refs{CIS: []string{"1.1.10"}},
		find: func(f *harden.Facts) []member {
			return all(f, private, inDir(f, cniDir, anyName)...)
		},
		none:    harden.Msg("there is no network plugin configuration in %s", cniDir),
		risk:    harden.RiskNode,
		breaks:  []harden.Message{harden.Msg("Diagnostic tools that read the configuration without being root. The runtime and the plugins run as root.")},
		setBack: harden.Msg("The network plugin's own pod writes the files anew when it starts or is upgraded, often with mode 0644"),
	},
	{
		id: "files-etcd-data", what: "directory that etcd keeps its data in", severity: harden.Critical,
		why: harden.Msg("Everything that the cluster knows, Secrets included, lies in this directory, and nothing but file modes protects it there. " +
			"The benchmark wants it to belong to a user etcd; kubeadm runs etcd as root, so that root is its rightful owner here."),
		modes:  harden.Refs{CIS: []string{"1.1.11"}, STIG: []string{"V-242459"}},
		owners: harden.Refs{CIS: []string{"1.1.12"}, STIG: []string{"V-242445"}},
		find:   func(f *harden.Facts) []member { return all(f, closed, etcdDirs(f)...) },
		unread: etcdDirUnknown,
		none:   harden.Msg("this node keeps no etcd data"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("Backup jobs that copy the directory without being root. Snapshots over etcd's own port are not concerned.")},
		owner:  etcdOwner,
	},
	{
		id: "files-admin-conf", what: "administrator's kubeconfigs", severity: harden.Critical,
		why: harden.Msg("The file admin.conf lets its reader do everything in the cluster, and super-admin.conf in spite of every RBAC rule. " +
			"A certificate that leaked cannot be taken back before it expires."),
		modes:  harden.Refs{CIS: []string{"1.1.13"}, STIG: []string{"V-242460"}, Docs: []string{docsPKI}},
		owners: harden.Refs{CIS: []string{"1.1.14"}, STIG: []string{"V-242446"}, Docs: []string{docsPKI}},
		find: func(f *harden.Facts) []member {
			return all(f, private, kubernetesDir+"/admin.conf", kubernetesDir+"/super-admin.conf")
		},
		none: harden.Msg("no kubeconfig of an administrator lies in %s", kubernetesDir),
		risk: harden.RiskWorkloads,
		breaks: []harden.Message{
			harden.Msg("Operators and scripts that use the file through a group or as another user: kubectl says \"permission denied\". Give them credentials of their own: kubeadm kubeconfig user."),
		},
	},
	{
		id: "files-kubeconfigs", what: "kubeconfigs of the controller manager and the scheduler", severity: harden.High,
		why: harden.Msg("With the controller manager's credentials one can make tokens of any service account, and with the scheduler's place any pod. " +
			"Only these two components, which run as root, need the files."),
		modes:  harden.Refs{CIS: []string{"1.1.15", "1.1.17"}, Docs: []string{docsPKI}},
		owners: harden.Refs{CIS: []string{"1.1.16", "1.1.18"}, STIG: []string{"V-242446"}, Docs: []string{docsPKI}},
		find: func(f *harden.Facts) []member {
			paths := []string{kubernetesDir + "/scheduler.conf", kubernetesDir + "/controller-manager.conf"}
			for _, id := range []harden.ComponentID{harden.Scheduler, harden.ControllerManager} {
				paths = append(paths, hostFiles(f, id, "kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")...)
			}
			return all(f, private, paths...)
		},
		none:   harden.Msg("this node runs neither controller manager nor scheduler"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("Tools that borrow these credentials without being root.")},
	},
	{
		id: "files-pki", what: "certificates and the folders that hold them", severity: harden.High,
		why: harden.Msg("Certificates are public; what counts is that nobody can replace them, or put one of their own beside them. " +
			"Directories keep their right to be entered: a mode of 0600 for the whole tree, as some guides have it, stops the control plane."),
		modes:  harden.Refs{CIS: []string{"1.1.20"}, STIG: []string{"V-242466"}, Seed: []string{seedTLS}, Docs: []string{docsPKI}},
		owners: harden.Refs{CIS: []string{"1.1.19"}, STIG: []string{"V-242451"}, Seed: []string{seedTLS}, Docs: []string{docsPKI}},
		find: func(f *harden.Facts) []member {
			var out []member
			keys := pkiKeys(f)
			for _, dir := range pkiDirs(f) {
				open := slices.DeleteFunc(inDir(f, dir, ext(".crt", ".pub", ".pem")), func(p string) bool { return slices.Contains(keys, p) })
				out = append(out, all(f, public, open...)...)
				out = append(out, at(f, dir, folder)...)
			}
			return out
		},
		none:   harden.Msg("this node keeps no certificates of a control plane"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("Nothing that only reads. Tools that write certificates there without being root, such as an unprivileged renewal job.")},
	},
	{
		id: "files-pki-keys", what: "private keys of the control plane", severity: harden.Critical,
		why: harden.Msg("With ca.key anybody can issue a certificate for any user, and with sa.key a token for any service account. " +
			"Neither can be taken back without a new CA or a new key for the whole cluster."),
		modes:  harden.Refs{CIS: []string{"1.1.21"}, STIG: []string{"V-242467"}, Seed: []string{seedTLS}, Docs: []string{docsPKI}},
		owners: harden.Refs{CIS: []string{"1.1.19"}, STIG: []string{"V-242451"}, Seed: []string{seedTLS}, Docs: []string{docsPKI}},
		find:   func(f *harden.Facts) []member { return named(f, all(f, private, pkiKeys(f)...)) },
		none:   harden.Msg("this node keeps no private keys of a control plane"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("Agents that check or use the keys without being root, such as an exporter of etcd's metrics, " +
			"or another server that shares a key that a flag names.")},
	},
	{
		id: "files-kubelet-unit", what: "kubelet's unit and the files that it reads its flags from", severity: harden.Medium,
		why: harden.Msg("Flags in the unit, its drop-ins or its environment files win over the kubelet's configuration: one line there opens port 10250 to everyone. " +
			"The kubelet runs as root, so that who may write these files is root."),
		modes:  harden.Refs{CIS: []string{"4.1.1"}, STIG: []string{"V-242407", "V-242455"}, Docs: []string{docsKubelet}},
		owners: harden.Refs{CIS: []string{"4.1.2"}, STIG: []string{"V-242406", "V-242454"}, Docs: []string{docsKubelet}},
		find: func(f *harden.Facts) []member {
			if f.Kubelet == nil {
				return nil
			}
			var units, env []string
			for _, p := range f.Kubelet.UnitFiles {
				if strings.Contains(p, "kubelet.service") {
					units = append(units, p)
				}
			}
			if len(units) == 0 {
				return nil
			}
			for _, e := range f.Kubelet.EnvFiles {
				env = append(env, e.File.Path)
			}
			return append(all(f, private, units...), all(f, public, env...)...)
		},
		none:    harden.Msg("the kubelet has no unit file below this root"),
		risk:    harden.RiskNode,
		breaks:  []harden.Message{harden.Msg("\"systemctl cat kubelet\" for users other than root. systemd itself reads the files as root.")},
		setBack: harden.Msg("An upgrade of the kubelet's package sets the mode of its unit and drop-in back to 0644"),
	},
	{
		id: "files-proxy-kubeconfig", what: "kubeconfig of kube-proxy", severity: harden.Medium,
		why: harden.Msg("With the credentials of kube-proxy one can read every Service and endpoint of the cluster. " +
			"On kubeadm's nodes they are a ConfigMap and a token; a file exists only where kube-proxy runs as a service of its own."),
		modes:  harden.Refs{CIS: []string{"4.1.3"}, STIG: []string{"V-242447"}},
		owners: harden.Refs{CIS: []string{"4.1.4"}, STIG: []string{"V-242448"}},
		find: func(f *harden.Facts) []member {
			return all(f, private, kubernetesDir+"/proxy.conf", kubernetesDir+"/kube-proxy.conf")
		},
		none:   harden.Msg("kube-proxy has no kubeconfig file on this node: kubeadm keeps it in a ConfigMap"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("A kube-proxy that does not run as root: it stops with \"permission denied\" at its next start.")},
	},
	{
		id: "files-kubelet-conf", what: "kubelet's credentials", severity: harden.High,
		why: harden.Msg("Who holds the kubelet's key is this node to the API: the holder can read the Secrets of every pod that runs here, and report what it likes. " +
			"Both kubeadm and the kubelet write the files for root alone."),
		modes:  harden.Refs{CIS: []string{"4.1.5"}, STIG: []string{"V-242452"}, Docs: []string{docsKubelet}},
		owners: harden.Refs{CIS: []string{"4.1.6"}, STIG: []string{"V-242453"}, Docs: []string{docsKubelet}},
		find: func(f *harden.Facts) []member {
			paths := []string{kubernetesDir + "/kubelet.conf", kubernetesDir + "/bootstrap-kubelet.conf"}
			if f.Kubelet != nil {
				// On OpenShift the file of this name is the kubelet's configuration.
				paths = slices.DeleteFunc(paths, func(p string) bool { return p == f.Kubelet.Flag("config").Last() })
				key, _ := f.Kubelet.Field("tlsPrivateKeyFile").Value.(string)
				paths = append(paths, f.Kubelet.Flag("kubeconfig").Last(), key)
			}
			return all(f, private, append(paths, inDir(f, kubeletPKI, ext(".pem", ".key"))...)...)
		},
		none:   harden.Msg("the kubelet has no credentials on this node"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("Agents that talk to the API with the kubelet's credentials and do not run as root.")},
	},
	{
		id: "files-client-ca", what: "CA that the kubelet checks its clients with", severity: harden.High,
		why: harden.Msg("Who can replace this file decides whose certificates the kubelet takes for the API server's, and so who runs commands in the node's containers. " +
			"The certificate itself is public."),
		modes:  harden.Refs{CIS: []string{"4.1.7"}, STIG: []string{"V-242449"}, Docs: []string{docsPKI}},
		owners: harden.Refs{CIS: []string{"4.1.8"}, STIG: []string{"V-242450"}, Docs: []string{docsPKI}},
		find: func(f *harden.Facts) []member {
			if f.Kubelet == nil {
				return nil
			}
			p, _ := f.Kubelet.Field("authentication.x509.clientCAFile").Value.(string)
			return all(f, public, p)
		},
		none:   harden.Msg("the kubelet's CA file was not found on this node"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("Nothing that only reads.")},
	},
	{
		id: "files-server-configuration", what: "files that configure the API server and the scheduler", severity: harden.High,
		why: harden.Msg("These files decide who is let in, what is recorded and how Secrets are encrypted; the encryption configuration holds the key itself, " +
			"and kubeconfigs that they name for webhooks hold credentials. Only the API server and the scheduler, which run as root, read them."),
		modes:  harden.Refs{NSA: []string{nsaAuth}, Docs: []string{docsKubeadm}},
		owners: harden.Refs{NSA: []string{nsaAuth}, Docs: []string{docsKubeadm}},
		find: func(f *harden.Facts) []member {
			paths := hostFiles(f, harden.APIServer, harden.ServerConfigurationFlags...)
			for _, n := range f.NamedFiles {
				if n.Kind != harden.NamedKey {
					paths = append(paths, n.Path)
				}
			}
			return named(f, all(f, private, append(paths, hostFiles(f, harden.Scheduler, "config")...)...))
		},
		none:   harden.Msg("no flag names such a file"),
		risk:   harden.RiskNode,
		breaks: []harden.Message{harden.Msg("Configuration management that compares the files without being root.")},
	},
}

// hostFiles are the host's files that flags of a component name, in force and in the manifest.
func hostFiles(f *harden.Facts, id harden.ComponentID, flags ...string) []string {
	c := f.Component(id)
	if c == nil {
		return nil
	}
	var out []string
	for _, name := range flags {
		for _, flag := range []harden.FlagFact{c.Flag(name), c.FileFlag(name)} {
			if host, ok := c.HostPath(flag.Last()); ok && flag.Set && !slices.Contains(out, host) {
				out = append(out, host)
			}
		}
	}
	return out
}

func staticPodDir(f *harden.Facts) string {
	if f.Kubelet != nil && f.Kubelet.StaticPodPath != "" {
		return f.Kubelet.StaticPodPath
	}
	return harden.StaticPodDir
}

func etcdDirs(f *harden.Facts) []string {
	if why, _ := etcdDirUnknown(f); !why.IsZero() || f.Component(harden.Etcd) == nil {
		return nil
	}
	var dirs []string
	if f.Component(harden.Etcd).EtcdConfigFile() == "" {
		dirs = hostFiles(f, harden.Etcd, "data-dir", "wal-dir")
	}
	for _, name := range []string{"data-dir", "wal-dir"} {
		if p := f.EtcdPath(name); p != "" && !slices.Contains(dirs, p) {
			dirs = append(dirs, p)
		}
	}
	if len(dirs) == 0 {
		return []string{etcdDir}
	}
	return dirs
}

// etcdDirUnknown: without a value etcd takes a directory in the one that it was started in, which nothing here shows.
func etcdDirUnknown(f *harden.Facts) (harden.Message, harden.Evidence) {
	if f.Component(harden.Etcd) == nil {
		return harden.Message{}, harden.Evidence{}
	}
	s := f.EtcdSetting("data-dir")
	if s.Unknown.IsZero() && !s.Set {
		return harden.Msg("data-dir of etcd is not set: where its data lies is not known; give it a directory of its own"), s.Seen
	}
	return s.Unknown, s.Seen
}

// etcdOwner is the user that etcd runs as. One that is called etcd owns its data rightly too: the benchmark asks for it.
func etcdOwner(f *harden.Facts) owner {
	return owner{name: "root:root", also: func(s harden.StatFact) bool { return s.Owner == "etcd:etcd" }}
}
