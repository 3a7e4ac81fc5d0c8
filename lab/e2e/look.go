//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

// Components of a control plane, as their processes are named.
const (
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	etcd              = "etcd"
	kubelet           = "kubelet"
)

var components = []string{apiServer, controllerManager, scheduler, etcd, kubelet}

// watchedPaths are where the product changes a node, or could.
var watchedPaths = []string{"/etc/kubernetes", "/etc/sysctl.d", "/etc/default", "/etc/systemd/system", "/etc/cni", "/var/lib/kubelet/config.yaml",
	"/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/config.d", "/usr/lib/systemd/system/kubelet.service.d"}

// kernelSettings are those that the product sets, or a kubelet.
var kernelSettings = []string{"vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxkeys",
	"kernel.keys.root_maxbytes"}

// picture is a node as an undo must leave it.
type picture struct {
	files  map[string]string
	args   map[string]string
	kernel map[string]string
	// objects are the cluster's, where they are to be compared as well.
	objects map[string]string
}

// wholePicture is that of the first node with the cluster's objects.
func (t *T) wholePicture() picture {
	p := t.picture(t.node)
	p.objects = t.lasting()
	return p
}

func (t *T) picture(n *lab.Node) picture {
	p := picture{args: map[string]string{}, kernel: map[string]string{}}
	t.agent(n, &p.files, append([]string{"files"}, watchedPaths...)...)
	for _, i := range t.instances(n, components...) {
		if i.Container != "" || i.Component == kubelet {
			p.args[i.Component] = strings.Join(slices.Sorted(slices.Values(i.Args)), "\n")
		}
	}
	for line := range strings.Lines(t.shellIn(n, `exec sysctl -e "$@"`, kernelSettings...)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		p.kernel[key] = value
	}
	return p
}

// differences are what is not the same any more on the node.
func (p picture) differences(now picture) []string {
	return slices.Concat(p.fileDifferences(now), diffMaps(p.args, now.args), diffMaps(p.kernel, now.kernel))
}

func (p picture) fileDifferences(now picture) []string { return diffMaps(p.files, now.files) }

func diffMaps(before, after map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(before)) {
		if now, ok := after[k]; !ok {
			out = append(out, k+": it is gone")
		} else if now != before[k] {
			out = append(out, fmt.Sprintf("%s: it was %q and is %q", k, before[k], now))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[k]; !ok {
			out = append(out, fmt.Sprintf("%s: it is new: %q", k, after[k]))
		}
	}
	return out
}

// same fails the scenario unless the node is as in the picture: files, arguments, kernel settings; and the cluster, where it is in it.
func (t *T) same(before picture, when string) {
	if d := before.differences(t.picture(t.node)); len(d) > 0 {
		t.errorf("%s: not as before:\n%s", when, strings.Join(d, "\n"))
	}
	if before.objects != nil {
		t.sameObjects(before.objects, t.lasting, when)
	}
}

func (t *T) sameFiles(before picture, when string) {
	if d := before.fileDifferences(t.picture(t.node)); len(d) > 0 {
		t.errorf("%s: not as before:\n%s", when, strings.Join(d, "\n"))
	}
}

func (t *T) instances(n *lab.Node, names ...string) []instance {
	var out []instance
	t.agent(n, &out, append([]string{"instances"}, names...)...)
	return out
}

// instance is the only running one of a component.
func (t *T) instance(n *lab.Node, component string) instance {
	found := t.instances(n, component)
	if component != kubelet {
		found = slices.DeleteFunc(found, func(i instance) bool { return i.Container == "" })
	}
	if len(found) != 1 {
		t.fatalf("%d instances of %s run on %s: %v", len(found), component, n.Name(), found)
	}
	return found[0]
}

// lease is who leads.
type lease struct {
	Holder      string `json:"holderIdentity"`
	Transitions int    `json:"leaseTransitions"`
}

func (t *T) lease(name string) lease {
	var l struct{ Spec lease }
	t.kubectlJSON(&l, "get", "lease", "-n", "kube-system", name, "-o", "json")
	return l.Spec
}

func (t *T) kubectl(args ...string) string {
	out, err := t.node.Run(t.ctx, "kubectl", append(args, "--request-timeout=20s")...)
	if err != nil {
		t.fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func (t *T) kubectlJSON(v any, args ...string) {
	if err := json.Unmarshal([]byte(t.kubectl(args...)), v); err != nil {
		t.fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
}

// object is an API object without what servers write into it all the time.
func (t *T) objects() map[string]string {
	kinds := strings.Fields(t.kubectl("api-resources", "--verbs=list", "-o", "name"))
	kinds = slices.DeleteFunc(kinds, func(k string) bool {
		return strings.HasPrefix(k, "events") || strings.HasPrefix(k, "componentstatuses")
	})
	var list struct{ Items []map[string]any }
	t.kubectlJSON(&list, "get", strings.Join(kinds, ","), "-A", "-o", "json")
	out := map[string]string{}
	for _, o := range list.Items {
		meta, _ := o["metadata"].(map[string]any)
		name := fmt.Sprintf("%v %v/%v", o["kind"], meta["namespace"], meta["name"])
		delete(o, "status")
		delete(meta, "managedFields")
		delete(meta, "resourceVersion")
		if o["kind"] == "Lease" {
			delete(o, "spec")
		}
		text, err := json.Marshal(o)
		t.need(err)
		out[name] = string(text)
	}
	return out
}

// restless are kinds of objects whose contents, or themselves, come and go with processes and addresses.
var restless = map[string]func(name string) bool{
	"Endpoints":                 func(string) bool { return true },
	"EndpointSlice":             func(string) bool { return true },
	"CertificateSigningRequest": func(string) bool { return true },
	// Made by kubeadm init, and removed when it has run out.
	"Secret":    func(name string) bool { return strings.HasPrefix(name, "kube-system/bootstrap-token-") },
	"ConfigMap": func(name string) bool { return name == "kube-public/cluster-info" },
}

// enforcer is the lab's own, which scenarios take away and start again.
const enforcer = "lab-netpolicy"

// lasting are the objects that a restart and a boot leave as they are: kubeadm's ConfigMaps, NetworkPolicies, and all others. Of pods
// and leases only the names count: the kubelet makes static pods anew, and an API server its own lease.
func (t *T) lasting() map[string]string { return lasting(t.objects()) }

func lasting(objects map[string]string) map[string]string {
	out := map[string]string{}
	for key, text := range objects {
		kind, name, _ := strings.Cut(key, " ")
		if passing := restless[kind]; passing != nil && passing(name) || strings.Contains(name, "/"+enforcer) {
			continue
		}
		if kind == "Pod" || kind == "Lease" {
			text = "one of that name"
		}
		out[key] = text
	}
	return out
}

// sameObjects waits until the API has the same objects as before: the kubelet removes the mirror of a pod that is gone, and makes one
// that is missing, with its next round, which comes within a minute and a half.
func (t *T) sameObjects(before map[string]string, now func() map[string]string, when string) {
	t.within(2*time.Minute, when+": the same API objects as before", func() (bool, string) {
		d := diffMaps(before, now())
		return len(d) == 0, strings.Join(d, "\n")
	})
}

// allowedManifests are what may lie in the static pod directory.
var allowedManifests = []string{".kubelet-keep", "etcd.yaml", "kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml"}

// leftovers are traces of the product in a node that should have none but its transactions.
func (t *T) leftovers(n *lab.Node) []string {
	var out []string
	for _, f := range strings.Fields(t.shellIn(n, "ls -A /etc/kubernetes/manifests")) {
		if !slices.Contains(allowedManifests, f) {
			out = append(out, "in the manifests directory: "+f)
		}
	}
	for what, script := range map[string]string{
		"table":            `nft list tables | grep -i harden || true`,
		"unit":             `systemctl list-units --all --plain --no-legend '*harden*' '*harmful*' | { grep -v ' ` + stateDir + `$' || true; }; find /etc/systemd/system /run/systemd/transient /run/systemd/system -iname '*harden*' -o -iname '*harmful*' 2>/dev/null || true`,
		"in /run":          `find /run -maxdepth 1 -name '*harden*'`,
		"link":             `ip -o link | grep -i harden || true`,
		"namespace":        `ip netns list | grep -i harden || true`,
		"temporary file":   `find /etc /var /usr/local /run -xdev -name '.kubectl-harden*' 2>/dev/null || true`,
		"process":          `for e in /proc/[0-9]*/exe; do p=$(readlink $e || true); case "$p" in *kubectl-harden*|*harmful*) echo "$e $p";; esac; done`,
		"held lock":        `[ ! -e ` + stateDir + `/lock ] || flock -n ` + stateDir + `/lock true || echo held`,
		"canary container": `ctr -n k8s.io containers ls | grep -i canary || true`,
	} {
		for line := range strings.Lines(t.shellIn(n, script)) {
			out = append(out, what+": "+strings.TrimSpace(line))
		}
	}
	for _, i := range t.instances(n, apiServer) {
		if i.Container != "" && !isLive(i) {
			out = append(out, fmt.Sprintf("another API server: %v", i.Args))
		}
	}
	// By which runs on several control planes wait for each other.
	lease, err := t.node.Run(t.ctx, "kubectl", "get", "lease", "-n", "kube-system", "kubectl-harden", "--ignore-not-found", "-o", "yaml", "--request-timeout=10s")
	if err != nil {
		out = append(out, fmt.Sprintf("whether there is a lease is not known: %v", err))
	} else if len(lease) > 0 {
		out = append(out, "lease: "+string(lease))
	}
	return out
}

// clean fails the scenario where something of the product is left in the first node. A command that was followed may have its
// end told before its own process has ended, and its unit.
func (t *T) clean(when string) {
	var left []string
	for range 50 {
		if left = t.leftovers(t.node); len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, l := range left {
		t.errorf("%s: left behind: %s", when, l)
	}
}

// healthy waits until the whole cluster is.
func (t *T) healthy(when string) time.Duration {
	start := time.Now()
	if err := t.cluster.WaitReady(t.ctx); err != nil {
		t.fatalf("%s: the cluster is not healthy: %v", when, err)
	}
	return time.Since(start)
}
