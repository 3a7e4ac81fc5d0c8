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

// nextMinor is what the cluster of 14-upgrade-minor is upgraded to: the lab's newest.
var nextMinor = lab.Versions()[0]

// setBack are the controls that a package of Kubernetes loses: it brings the kubelet's unit and drop-in, with their modes.
var setBack = []string{"files-kubelet-unit-modes"}

// nodeOnlySetting is that of nodeOnly.
const nodeOnlySetting = "configz protectKernelDefaults"

// upgradedToNextMinor upgrades twice: a node as kubeadm made it, and one that was hardened. Whatever a newer kubeadm or Kubernetes
// itself adds, changes and leaves out is what the first one got.
func upgradedToNextMinor(t *T) {
	t.step("not hardened, to compare with")
	pristine := t.settings()
	t.upgradeMinor()
	plain := t.upgradedNode()
	changes := diffMaps(pristine, plain.settings)
	t.figure("settings that the upgrade itself changes", "%d of %d", len(changes), len(pristine))
	t.detail("of itself the upgrade changes:\n%s", strings.Join(changes, "\n"))

	t.reset()
	pristine = t.settings()
	h := t.hardenAll()
	hardened := t.settings()
	asked := diffMaps(pristine, hardened)
	t.figure("settings that were hardened", "%d", len(asked))
	t.detail("hardened:\n%s", strings.Join(asked, "\n"))
	t.upgradeMinor()
	// What is for one node alone is as if it had not been hardened.
	delete(hardened, nodeOnlySetting)
	if was, ok := pristine[nodeOnlySetting]; ok {
		hardened[nodeOnlySetting] = was
	}
	if d := diffMaps(afterUpgrade(pristine, hardened, plain.settings), t.settings()); len(d) > 0 {
		t.errorf("after the upgrade: not as hardened, and else as the upgrade leaves a node:\n%s", strings.Join(d, "\n"))
	}
	t.stillPassing(h, slices.Concat(nodeOnly, setBack)...)
	why := "Kubernetes went from " + t.cluster.Version() + " to " + nextMinor + " since"
	if seen := t.must(0, "assess", "-o", "json"); !strings.Contains(seen.stdout, why) {
		t.errorf("assess does not say why something is lost: %q", why)
	}

	undone := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undone.took))
	t.healthy("after the undo")
	t.runs(nextMinor)
	plain.same(t, t.upgradedNode(), "after the undo")
	t.clean("at the end")
}

// settings are the arguments of all components and the kubelet's live configuration, each value by what is set.
func (t *T) settings() map[string]string {
	out := map[string]string{}
	for component, args := range t.picture(t.node).args {
		maps.Copy(out, flags(component, strings.Split(args, "\n")))
	}
	for field, value := range t.configz() {
		text, err := json.Marshal(value)
		t.need(err)
		out["configz "+field] = string(text)
	}
	return out
}

// flags are a component's arguments by their names. Of one that is given more than once all values count.
func flags(component string, args []string) map[string]string {
	out := map[string]string{}
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		key := component + " " + name
		if before, ok := out[key]; ok {
			value = before + "\n" + value
		}
		out[key] = value
	}
	return out
}

// afterUpgrade is what a hardened node must have after an upgrade: what hardening had changed as it was hardened, taken away where it
// was taken away, and all else as the same upgrade leaves a node that was never hardened.
func afterUpgrade(pristine, hardened, plain map[string]string) map[string]string {
	want := maps.Clone(plain)
	for key, value := range hardened {
		if was, ok := pristine[key]; !ok || was != value {
			want[key] = value
		}
	}
	for key := range pristine {
		if _, ok := hardened[key]; !ok {
			delete(want, key)
		}
	}
	return want
}

// upgradeMinor goes the way that Kubernetes documents for the first control-plane node: kubeadm, its upgrade, then the kubelet and
// kubectl while no workloads are there.
func (t *T) upgradeMinor() {
	packages, err := t.cluster.Bring(t.ctx, nextMinor)
	t.need(err)
	install := func(name string) { t.shell(`tar -C / -xf "$1/$2.tar"`, packages, name) }
	install("kubeadm")
	t.kubeadmUpgrade(nextMinor)
	t.healthy("after kubeadm upgrade")
	t.kubectl("drain", t.node.Name(), "--ignore-daemonsets", "--timeout=2m")
	install("kubelet")
	install("kubectl")
	t.shell("systemctl daemon-reload && systemctl restart kubelet")
	// The newer kubelet makes the containers of static pods anew, the API server's too.
	t.settled()
	t.within(time.Minute, "the node takes pods again", func() (bool, string) {
		out, err := t.node.Run(t.ctx, "kubectl", "uncordon", t.node.Name(), "--request-timeout=10s")
		return err == nil, fmt.Sprintf("%s %v", out, err)
	})
	t.healthy("after the upgrade")
	t.runs(nextMinor)
}

// settled waits until no component has begun anew for a quarter of a minute.
func (t *T) settled() {
	last, since := "", time.Now()
	t.within(3*time.Minute, "components that do not begin anew", func() (bool, string) {
		var running []string
		for _, i := range t.instances(t.node, components...) {
			running = append(running, i.id())
		}
		slices.Sort(running)
		if now := strings.Join(running, ", "); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 15*time.Second, last
	})
}

// runs fails the scenario unless the kubelet is of a version, the API server says it of itself, and all images that kubeadm names for
// it are in use in kube-system, and no others.
func (t *T) runs(version string) {
	var server struct{ GitVersion string }
	t.kubectlJSON(&server, "get", "--raw=/version")
	kubelet := t.kubectl("get", "node", t.node.Name(), "-o", "jsonpath={.status.nodeInfo.kubeletVersion}")
	if server.GitVersion != version || kubelet != version {
		t.errorf("the API server is %s and the kubelet %s, wanted %s", server.GitVersion, kubelet, version)
	}
	want := strings.Fields(t.shell(`kubeadm config images list --kubernetes-version "$1"`, version))
	want = slices.DeleteFunc(want, func(image string) bool { return strings.Contains(image, "/pause:") })
	slices.Sort(want)
	t.within(2*time.Minute, "the images of "+version+" run", func() (bool, string) {
		var pods struct {
			Items []struct {
				// Not the status: there a runtime may name any of the tags that an image has.
				Spec   struct{ Containers []struct{ Image string } }
				Status struct {
					Phase             string
					ContainerStatuses []struct {
						Name  string
						Ready bool
					}
				}
			}
		}
		t.kubectlJSON(&pods, "get", "pods", "-n", "kube-system", "-o", "json")
		var ready []string
		for _, p := range pods.Items {
			if p.Status.Phase == "Succeeded" {
				continue // kubeadm's trial whether pods run
			}
			for _, c := range p.Status.ContainerStatuses {
				if !c.Ready {
					return false, c.Name + " is not ready"
				}
			}
			for _, c := range p.Spec.Containers {
				ready = append(ready, c.Image)
			}
		}
		slices.Sort(ready)
		ready = slices.Compact(ready)
		return slices.Equal(ready, want), strings.Join(ready, " ")
	})
}

// upgradedNode is a node of the newer version as it is compared with another one.
type upgradedNode struct {
	settings, verdicts, files, objects map[string]string
}

func (t *T) upgradedNode() upgradedNode {
	u := upgradedNode{settings: t.settings(), verdicts: t.verdicts(), files: t.picture(t.node).files, objects: map[string]string{}}
	// An upgrade renews certificates and keeps backups by their time: these differ each time.
	maps.DeleteFunc(u.files, func(path, _ string) bool {
		return strings.HasPrefix(path, "/etc/kubernetes/tmp/") || strings.HasPrefix(path, "/etc/kubernetes/pki/") ||
			strings.HasPrefix(path, "/etc/kubernetes/") && strings.HasSuffix(path, ".conf")
	})
	for _, name := range []string{"kubeadm-config", "kubelet-config"} {
		u.objects[name] = t.kubectl("get", "configmap", "-n", "kube-system", name, "-o", "jsonpath={.data}")
	}
	return u
}

// same fails the scenario unless the other node has come to the same.
func (u upgradedNode) same(t *T, other upgradedNode, when string) {
	for what, d := range map[string][]string{
		"settings":             diffMaps(u.settings, other.settings),
		"verdicts":             diffMaps(u.verdicts, other.verdicts),
		"files":                diffMaps(u.files, other.files),
		"kubeadm's ConfigMaps": diffMaps(u.objects, other.objects),
	} {
		if len(d) > 0 {
			t.errorf("%s: other %s than on a node that was upgraded and never hardened:\n%s", when, what, strings.Join(d, "\n"))
		}
	}
}
