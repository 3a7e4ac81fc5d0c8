//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
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

// picture is a node as an undo must leave it.
type picture struct {
	files map[string]string
	args  map[string]string
}

func (t *T) picture(n *lab.Node) picture {
	p := picture{args: map[string]string{}}
	t.agent(n, &p.files, append([]string{"files"}, watchedPaths...)...)
	for _, i := range t.instances(n, components...) {
		if i.Container != "" || i.Component == kubelet {
			p.args[i.Component] = strings.Join(slices.Sorted(slices.Values(i.Args)), "\n")
		}
	}
	return p
}

// differences are what is not the same any more.
func (p picture) differences(now picture) []string {
	return append(p.fileDifferences(now), diffMaps(p.args, now.args)...)
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

// same fails the scenario unless the node is as in the picture, files and arguments.
func (t *T) same(before picture, when string) {
	if d := before.differences(t.picture(t.node)); len(d) > 0 {
		t.errorf("%s: not as before:\n%s", when, strings.Join(d, "\n"))
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

// background is an agent that tells what it sees until it is stopped.
type background struct {
	t     *T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan []byte
}

func (t *T) background(cmd *exec.Cmd) *background {
	b := &background{t: t, cmd: cmd, lines: make(chan []byte, 1)}
	var err error
	b.stdin, err = cmd.StdinPipe()
	t.need(err)
	stdout, err := cmd.StdoutPipe()
	t.need(err)
	t.need(cmd.Start())
	go func() {
		var all bytes.Buffer
		io.Copy(&all, bufio.NewReader(stdout))
		b.lines <- all.Bytes()
	}()
	t.cleanup(func() { b.stdin.Close() })
	return b
}

// stop ends it and gives what it has told.
func (b *background) stop(each func(json.RawMessage) error) {
	b.stdin.Close()
	select {
	case told := <-b.lines:
		b.cmd.Wait()
		d := json.NewDecoder(bytes.NewReader(told))
		for {
			var raw json.RawMessage
			if d.Decode(&raw) != nil {
				return // its last line may be torn, where the node was killed
			}
			b.t.need(each(raw))
		}
	case <-time.After(20 * time.Second):
		b.t.fatalf("a background agent did not end: %s", b.cmd)
	}
}

// lives counts the instances of components while something happens.
type lives struct {
	background *background
	before     map[string]bool
}

// watchLives begins to count in the first node.
func (t *T) watchLives() *lives {
	l := &lives{before: map[string]bool{}}
	for _, i := range t.instances(t.node, components...) {
		l.before[i.id()] = true
		// What else is started in a container that runs is no new life of it: flags are checked there.
		if i.Container != "" {
			l.before[i.Container] = true
		}
	}
	cmd, err := t.node.Command(t.ctx, agentPath, append([]string{"agent", "watch"}, components...)...)
	t.need(err)
	l.background = t.background(cmd)
	return l
}

// stop gives how many new instances of each component there were: as many as restarts. A program that only says its version,
// and a canary, are told apart by what they were started as.
func (l *lives) stop(counts func(instance) bool) map[string]int {
	n := map[string]int{}
	l.background.stop(func(raw json.RawMessage) error {
		var i instance
		if err := json.Unmarshal(raw, &i); err != nil {
			return err
		}
		if !l.before[i.id()] && !l.before[i.Container] && counts(i) {
			n[i.Component]++
			l.background.t.detail("a new instance: %+v", i)
		}
		return nil
	})
	return n
}

// asked are the arguments by which a component's program is kept from starting while it judges the others.
var asked = []string{"--version", "--goaway-chance=1", "--kubeconfig=/kubectl-harden/rehearsal", "--exit-on-lock-contention=true"}

// isLive: neither a program that is asked about its flags nor a canary, which has another port, nor a component's own helper.
func isLive(i instance) bool {
	if i.Component != kubelet && i.Container == "" || slices.ContainsFunc(i.Args, func(a string) bool { return slices.Contains(asked, a) }) {
		return false
	}
	return i.Component != apiServer || slices.Contains(i.Args, "--secure-port=6443")
}

// polled is what a poller has seen of one address.
type polled struct {
	asked, failed int
	// outage is the longest time without an answer, from the end of the last good one to the end of the next.
	outage time.Duration
	codes  map[int]int
}

// poller asks from beside the nodes, as another machine would.
type poller struct {
	background *background
}

func (t *T) poller(urls ...string) *poller {
	self, err := os.Executable()
	t.need(err)
	return &poller{t.background(t.cluster.CommandOutside(t.ctx, self, append([]string{"agent", "poll"}, urls...)...))}
}

// readyz is the API server's, by the node's address.
func readyz(n *lab.Node) string { return "https://" + n.Address() + ":6443/readyz" }

func (p *poller) stop() map[string]*polled {
	out := map[string]*polled{}
	last := map[string]time.Time{}
	p.background.stop(func(raw json.RawMessage) error {
		var a answer
		if err := json.Unmarshal(raw, &a); err != nil {
			return err
		}
		if out[a.URL] == nil {
			out[a.URL] = &polled{codes: map[int]int{}}
			last[a.URL] = a.At
		}
		seen := out[a.URL]
		seen.asked++
		if a.Err == "" {
			seen.codes[a.Status]++
		}
		if a.Err != "" || a.Status != 200 {
			seen.failed++
			return nil
		}
		end := a.At.Add(a.Took)
		if gap := end.Sub(last[a.URL]); seen.failed > 0 && gap > seen.outage {
			seen.outage = gap
		}
		last[a.URL] = end
		return nil
	})
	return out
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
		"unit":             `systemctl list-units --all --plain --no-legend '*harden*' '*harmful*'; ls /etc/systemd/system /run/systemd/transient /run/systemd/system 2>/dev/null | grep -i -e harden -e harmful || true`,
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
