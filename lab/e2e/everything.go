//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/lab"
)

var everythingScenarios = []scenario{{
	name:   "16-everything",
	proves: "all that a profile asks and all that has to be named, at once on a control plane and a worker: one restart each, workloads go on, logs and exec work on both, and every byte comes back",
	nodes:  []string{"cp1", "w1"},
	run:    everything,
}}

const (
	servingControl   = "kubelet-serving-certificate"
	kubeletCAControl = "apiserver-kubelet-certificate-authority"
	wholeProfile     = "cis-l2"
)

// resident is a pod that is bound to its node and asks a pod on the other one.
const resident = `
apiVersion: v1
kind: Pod
metadata: {name: on-NODE, namespace: everywhere, labels: {on: NODE}}
spec:
  nodeName: NODE
  tolerations: [{operator: Exists}]
  terminationGracePeriodSeconds: 1
  containers: [{name: it, image: IMAGE, imagePullPolicy: IfNotPresent, command: [/netcheck, serve, ":8080"]}]
`

// residents starts a pod on each node.
func (t *T) residents() {
	t.kubectl("create", "namespace", "everywhere")
	for _, n := range t.cluster.Nodes() {
		text := strings.NewReplacer("NODE", n.Name(), "IMAGE", lab.NetcheckImage).Replace(resident)
		_, err := t.node.RunInput(t.ctx, strings.NewReader(text), "kubectl", "apply", "-f", "-")
		t.need(err)
	}
	t.kubectl("wait", "-n", "everywhere", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
}

// containers are those of all pods but the control plane's, with how often each was started.
func (t *T) containers() map[string]string {
	var pods struct {
		Items []struct {
			Metadata struct{ Namespace, Name string }
			Spec     struct{ NodeName string }
			Status   struct {
				ContainerStatuses []struct {
					Name, ContainerID string
					RestartCount      int
				}
			}
		}
	}
	t.kubectlJSON(&pods, "get", "pods", "-A", "-l", "tier!=control-plane", "-o", "json")
	out := map[string]string{}
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			out[fmt.Sprintf("%s/%s on %s: %s", p.Metadata.Namespace, p.Metadata.Name, p.Spec.NodeName, c.Name)] = fmt.Sprintf("%s, restarted %d times", c.ContainerID, c.RestartCount)
		}
	}
	return out
}

// reachedEverywhere wants that logs and exec work on each node, and that a pod on it reaches the pods of the others, by the API server and
// the kubelet as anybody would.
func (t *T) reachedEverywhere(when string) {
	ips := map[string]string{}
	for _, n := range t.cluster.Nodes() {
		ips[n.Name()] = t.kubectl("get", "pod", "-n", "everywhere", "on-"+n.Name(), "-o", "jsonpath={.status.podIP}")
	}
	for _, n := range t.cluster.Nodes() {
		proxy := strings.TrimSpace(t.kubectl("get", "pods", "-n", "kube-system", "-l", "k8s-app=kube-proxy", "--field-selector", "spec.nodeName="+n.Name(), "-o", "name"))
		if logs := t.kubectl("logs", "-n", "kube-system", proxy, "--tail=2"); logs == "" {
			t.errorf("%s: no logs of %s on %s", when, proxy, n.Name())
		}
		is, err := t.node.Run(t.ctx, "kubectl", "exec", "-n", "kube-system", proxy, "--", "kube-proxy", "--version")
		if err != nil || strings.TrimSpace(string(is)) != "Kubernetes "+t.cluster.Version() {
			t.errorf("%s: exec in %s on %s gives %q, %v", when, proxy, n.Name(), is, err)
		}
		for other, ip := range ips {
			if _, err := t.node.Run(t.ctx, "kubectl", "exec", "-n", "everywhere", "on-"+n.Name(), "--", "/netcheck", "get", ip+":8080"); err != nil {
				t.errorf("%s: the pod on %s does not reach the one on %s: %v", when, n.Name(), other, err)
			}
		}
	}
}

// toBeNamed are the controls that a profile leaves out because their remedies can cut off workloads, or because a person must decide. The
// rules of traffic are not among them: nothing here enforces any.
func (t *T) toBeNamed() (names []string) {
	for _, s := range t.leftOutBy(wholeProfile) {
		t.detail("left out by the profile: %+v", s)
		asked := strings.Contains(s.Reason, "cut off workloads") || strings.Contains(s.Reason, "a person must decide")
		own := s.Control == servingControl || s.Control == kubeletCAControl // these come by themselves
		if s.Way == "control" && asked && !own && !strings.HasPrefix(s.Control, "networkpolicy-") {
			names = append(names, s.Control)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// applyWhole applies what the profile takes and what is named, each taken on the operator's word where something of it is not known.
func applyWhole(names []string) []string {
	all := strings.Join(names, ",")
	return []string{"apply", "--profile", wholeProfile, "--control", all, "--accept", all, "--yes", "--soak", "5s"}
}

func everything(t *T) {
	cp, w := t.cluster.Nodes()[0], t.cluster.Nodes()[1]
	t.residents()
	t.reachedEverywhere("before")
	cpBefore, wBefore, objects, were := t.picture(cp), t.picture(w), t.lasting(), t.verdicts()

	t.step("each kubelet gets a certificate of the cluster's")
	t.shellIn(w, `umask 077; printf %s "$1" >/root/kubeconfig`, t.shell("cat /etc/kubernetes/admin.conf"))
	serving := []string{"apply", "--control", servingControl, "--accept", servingControl, "--yes", "--soak", "2s"}
	if out := t.command(w, productPath, append(serving, "--kubeconfig", "/root/kubeconfig")...); out.code != 0 {
		t.fatalf("on the worker: %s", out)
	}
	t.must(0, serving...)
	t.healthy("with the certificates")

	t.step("everything at once")
	lives := t.containers()
	names := append(t.toBeNamed(), kubeletCAControl)
	t.figure("named", "%d controls", len(names))
	m := t.measure()
	applied := t.must(0, applyWhole(names)...)
	t.figure("apply", "%s", seconds(applied.took))
	m.report("", map[string]int{apiServer: 1, controllerManager: 1, scheduler: 1, kubelet: 1})
	onWorker := t.command(w, productPath, "apply", "--all", "--yes", "--soak", "5s")
	if onWorker.code != 0 {
		t.fatalf("on the worker: %s", onWorker)
	}
	t.healthy("with everything")
	t.reachedEverywhere("with everything")
	if d := diffMaps(lives, t.containers()); len(d) > 0 {
		t.errorf("with everything: workloads did not go on:\n%s", strings.Join(d, "\n"))
	}
	better := 0
	for c, is := range t.verdicts() {
		switch {
		case were[c] != "fail" && is == "fail":
			t.errorf("%s was %s, and fails with everything", c, were[c])
		case were[c] == "fail" && is == "pass":
			better++
		}
	}
	t.figure("controls that pass by it", "%d", better)
	for _, c := range names {
		if is := t.verdicts()[c]; is != "pass" {
			t.errorf("%s was applied by name, and is %s", c, is)
		}
	}

	t.step("everything back")
	for range 2 {
		if out := t.command(w, productPath, "rollback", "--yes", "--kubeconfig", "/root/kubeconfig"); out.code != 0 {
			t.errorf("on the worker: %s", out)
		}
		t.must(0, "rollback", "--yes")
	}
	t.shellIn(w, "rm /root/kubeconfig")
	t.healthy("after the undo")
	t.reachedEverywhere("after the undo")
	if d := diffMaps(lives, t.containers()); len(d) > 0 {
		t.errorf("after the undo: workloads did not go on:\n%s", strings.Join(d, "\n"))
	}
	for n, before := range map[*lab.Node]picture{cp: cpBefore, w: wBefore} {
		if d := before.differences(t.picture(n)); len(d) > 0 {
			t.errorf("%s after the undo: not as before:\n%s", n.Name(), strings.Join(d, "\n"))
		}
		for _, l := range t.leftovers(n) {
			t.errorf("%s: left behind: %s", n.Name(), l)
		}
	}
	t.sameObjects(objects, t.lasting, "after the undo")
	if d := diffMaps(were, t.verdicts()); len(d) > 0 {
		t.errorf("verdicts are other ones than before:\n%s", strings.Join(d, "\n"))
	}
}
