//go:build linux

package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

var certificateScenarios = []scenario{{
	name:   "10-certificates",
	proves: "kubeadm renews what ends soon: exactly what was planned is served, one restart each, and every byte comes back",
	run:    renewed,
}, {
	name:   "10-certificates-three",
	proves: "of three control planes one after the other gets new certificates, etcd's too: a quorum answers all the time, and every byte comes back",
	nodes:  []string{"cp1", "cp2", "cp3"},
	long:   "its three control planes take 5 minutes to be made, and each etcd restarts twice",
	run:    renewedInTurn,
}, endedScenario}

var endedScenario = scenario{
	name:   "10-certificates-ended",
	proves: "every certificate of kubeadm's has ended and nothing answers: etcd's are renewed first, then the others, and the cluster is well again",
	run:    renewedTooLate,
}

const (
	expiryControl     = "certificates-expiry"
	etcdExpiryControl = "certificates-etcd-expiry"
	bothExpiries      = expiryControl + "," + etcdExpiryControl
)

// validFor is a configuration by which kubeadm makes certificates that end soon.
const validFor = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: %s
certificateValidityPeriod: %s
`

// goodFor renews all of kubeadm's certificates, and has everything start with them.
func (t *T) goodFor(validity string) {
	t.shell(`printf "$1" "$2" "$3" >/root/short.yaml; kubeadm certs renew all --config /root/short.yaml; cp /etc/kubernetes/admin.conf /srv/old-admin.conf
for c in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  mv /etc/kubernetes/manifests/$c.yaml /root/$c.yaml
done
while pidof etcd kube-apiserver kube-controller-manager kube-scheduler; do sleep 0.2; done
for c in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  mv /root/$c.yaml /etc/kubernetes/manifests/$c.yaml
done`, validFor, t.cluster.Version(), validity)
}

// renewedTooLate lets all certificates end.
func renewedTooLate(t *T) {
	t.goodFor("3m0s")
	t.shell("rm /srv/old-admin.conf")
	ends := time.Now().Add(3 * time.Minute)
	t.healthy("with certificates that end in three minutes")
	t.within(5*time.Minute, "nobody is answered any more", func() (bool, string) {
		out := t.command(t.node, "kubectl", "get", "--raw", "/readyz", "--request-timeout=5s")
		return time.Now().After(ends) && out.code != 0, out.String()
	})
	var seen struct {
		Findings []struct{ Control, Status, Message string }
	}
	t.need(json.Unmarshal([]byte(t.must(0, "assess", "-o", "json").stdout), &seen))
	for _, f := range seen.Findings {
		if slices.Contains([]string{expiryControl, etcdExpiryControl}, f.Control) {
			t.step("%s: %s: %s", f.Control, f.Status, f.Message)
			if f.Status != "fail" {
				t.errorf("%s: %s: %s", f.Control, f.Status, f.Message)
			}
		}
	}
	applied := t.must(0, "apply", "--control", bothExpiries, "--yes", "--soak", "5s")
	t.figure("apply", "%s", seconds(applied.took))
	t.healthy("after the renewal")
	t.kubectl("get", "nodes")
	now := t.verdicts()
	for _, c := range []string{expiryControl, etcdExpiryControl, "certificates-in-use"} {
		if now[c] != "pass" {
			t.errorf("%s: %s", c, now[c])
		}
	}
	out := t.harden("rollback", "--yes")
	t.step("an undo: exit code %d", out.code)
	if out.code == 0 {
		t.errorf("certificates that have ended were brought back: %s", out)
	}
	t.healthy("after an undo that was refused")
	t.clean("at the end")
}

// shown is the certificate that a server shows.
type shown struct {
	Serial   string
	NotAfter time.Time
}

// showCertificates asks servers for theirs, by address.
func showCertificates(addresses []string) (map[string]shown, error) {
	out := map[string]shown{}
	for _, a := range addresses {
		var s shown
		conn, err := tls.Dial("tcp", a, &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(c tls.ConnectionState) error {
			s = shown{fmt.Sprintf("%x", c.PeerCertificates[0].SerialNumber), c.PeerCertificates[0].NotAfter}
			return nil
		}})
		if err == nil {
			_ = conn.Close()
		} else if s.Serial == "" {
			return nil, err
		}
		out[a] = s
	}
	return out, nil
}

// plannedSerials are the serials before and after, by path, as plan -o json says them.
func (t *T) plannedSerials(text string) (before, after map[string]string) {
	var p struct {
		Plans []struct {
			Stages []struct {
				Steps []struct {
					Path         string `json:"path"`
					Certificates *struct{ Before, After struct{ Serial string } }
				}
			}
		}
	}
	t.need(json.Unmarshal([]byte(text), &p))
	before, after = map[string]string{}, map[string]string{}
	for _, plan := range p.Plans {
		for _, st := range plan.Stages {
			for _, s := range st.Steps {
				if s.Certificates != nil {
					before[s.Path], after[s.Path] = s.Certificates.Before.Serial, s.Certificates.After.Serial
				}
			}
		}
	}
	return before, after
}

// served wants the node's servers to show the certificates of these serials, by path.
func (t *T) served(when string, want map[string]string) {
	address := t.node.Address()
	serving := map[string]string{
		address + ":6443": "/etc/kubernetes/pki/apiserver.crt", "127.0.0.1:2379": "/etc/kubernetes/pki/etcd/server.crt", address + ":2380": "/etc/kubernetes/pki/etcd/peer.crt",
	}
	got := map[string]shown{}
	t.agent(t.node, &got, append([]string{"served"}, slices.Sorted(maps.Keys(serving))...)...)
	for a, file := range serving {
		t.step("%s: %s shows %s until %s", when, a, got[a].Serial, got[a].NotAfter.Format(time.DateOnly))
		if got[a].Serial != want[file] {
			t.errorf("%s: %s shows the certificate %s, wanted %s", when, a, got[a].Serial, want[file])
		}
	}
}

// renewedInTurn renews everything on one control plane after the other, and goes back.
func renewedInTurn(t *T) {
	nodes := t.cluster.Nodes()
	for _, n := range nodes {
		t.on(n)
		t.goodFor("240h0m0s")
		t.healthy("with certificates that end soon on " + n.Name())
	}
	before, old := make([]picture, len(nodes)), make([]map[string]string, len(nodes))
	poll := t.poller(readyz(nodes[0]), readyz(nodes[1]), readyz(nodes[2]))
	for i, n := range nodes {
		t.on(n)
		before[i] = t.picture(n)
		plan := t.must(0, "plan", "--control", bothExpiries, "--out", "/root/plan.json", "-o", "json")
		var planned map[string]string
		if old[i], planned = t.plannedSerials(plan.stdout); len(planned) != 11 {
			t.errorf("%s: %d certificates are planned: %v", n.Name(), len(planned), planned)
		}
		t.served("before, on "+n.Name(), old[i])
		applied := t.must(0, "apply", "/root/plan.json", "--yes", "--soak", "5s")
		t.figure("apply on "+n.Name(), "%s", seconds(applied.took))
		t.served("after, on "+n.Name(), planned)
		t.shell("rm /root/plan.json")
		t.healthy("after apply on " + n.Name())
	}
	for i, n := range slices.Backward(nodes) {
		t.on(n)
		undone := t.must(0, "rollback", "--yes")
		t.figure("undo on "+n.Name(), "%s", seconds(undone.took))
		t.served("after the undo, on "+n.Name(), old[i])
	}
	poll.together(t, nodes)
	t.healthy("at the end")
	for i, n := range nodes {
		if d := before[i].differences(t.picture(n)); len(d) > 0 {
			t.errorf("%s is not as before:\n%s", n.Name(), strings.Join(d, "\n"))
		}
		for _, l := range t.leftovers(n) {
			t.errorf("%s: left behind: %s", n.Name(), l)
		}
	}
}

func renewed(t *T) {
	verdicts := func(when, want string) {
		var a struct {
			Findings []struct{ Control, Status, Message string }
		}
		t.need(json.Unmarshal([]byte(t.must(0, "assess", "-o", "json").stdout), &a))
		for _, f := range a.Findings {
			if strings.HasPrefix(f.Control, "certificates-") {
				t.detail("%s: %s: %s: %s", when, f.Control, f.Status, f.Message)
			}
			if slices.Contains([]string{expiryControl, etcdExpiryControl}, f.Control) && f.Status != want {
				t.errorf("%s: %s: %s: %s", when, f.Control, f.Status, f.Message)
			}
			if slices.Contains([]string{"certificates-in-use", "certificates-keys-match"}, f.Control) && want == "pass" && f.Status != "pass" {
				t.errorf("%s: %s: %s: %s", when, f.Control, f.Status, f.Message)
			}
		}
	}

	t.step("certificates that end in ten days")
	t.goodFor("240h0m0s")
	t.healthy("with certificates that end soon")
	verdicts("before", "fail")
	before := t.picture(t.node)

	plan := t.must(0, "plan", "--control", bothExpiries, "--out", "/root/plan.json", "-o", "json")
	t.figure("plan", "%s", seconds(plan.took))
	t.same(before, "after the plan")
	t.clean("after the plan")
	old, planned := t.plannedSerials(plan.stdout)
	t.step("%d certificates are renewed", len(planned))
	if len(planned) != 11 {
		t.errorf("%d certificates are planned: %v", len(planned), planned)
	}
	t.served("before", old)
	if mode := t.shell(`stat -c %a /root/plan.json`); mode != "600\n" {
		t.errorf("the plan's mode is %s", mode)
	}
	diff := t.must(0, "plan", "--control", bothExpiries)
	for _, secret := range []string{"PRIVATE KEY", "client-key-data"} {
		if strings.Contains(plan.stdout+diff.stdout, secret) {
			t.errorf("the plan shows a %s", secret)
		}
	}

	m := t.measure()
	applied := t.must(0, "apply", "/root/plan.json", "--yes", "--soak", "5s")
	t.figure("apply", "%s", seconds(applied.took))
	// The others may lose their leases while etcd restarts.
	m.report("", map[string]int{apiServer: 1, etcd: 1, controllerManager: anyTimes, scheduler: anyTimes})
	t.healthy("after apply")
	t.served("after", planned)
	verdicts("after", "pass")
	for _, path := range []string{"/etc/kubernetes/pki/apiserver.key", "/etc/kubernetes/controller-manager.conf"} {
		if mode := t.shell("stat -c '%a %u:%g' " + path); mode != "600 0:0\n" {
			t.errorf("%s: %s", path, mode)
		}
	}
	t.kubectl("logs", "-n", "kube-system", "etcd-"+t.node.Name(), "--tail=1")
	t.kubectl("get", "nodes")
	t.step("what was copied from admin.conf before still works")
	t.kubectl("--kubeconfig", "/srv/old-admin.conf", "get", "nodes")
	if again := t.must(0, "plan", "--control", bothExpiries, "--set", expiryControl+".within=400", "--set", etcdExpiryControl+".within=400"); !strings.Contains(again.stdout, "nothing to do") {
		t.errorf("a second plan is not empty: %s", again)
	}

	undone := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undone.took))
	t.healthy("after the undo")
	t.same(before, "after the undo")
	t.served("after the undo", old)
	t.clean("after the undo")
	t.renewedByHand()
}

// renewedByHand renews as people do, and lets the product restart what still has the certificates from before.
func (t *T) renewedByHand() {
	const control = "certificates-in-use"
	verdict := func(want string) {
		if got := t.verdicts()[control]; got != want {
			t.errorf("%s is %q, wanted %q", control, got, want)
		}
	}
	t.step("renewed by hand, and nothing restarted")
	t.shell("kubeadm certs renew controller-manager.conf; kubeadm certs renew scheduler.conf")
	verdict("fail")
	before := t.picture(t.node)
	m := t.measure()
	t.must(0, "apply", "--control", control, "--yes", "--soak", "5s")
	m.report("by hand: ", map[string]int{controllerManager: 1, scheduler: 1})
	t.healthy("after the restart")
	verdict("pass")
	t.must(0, "rollback", "--yes")
	t.healthy("after the undo of the restart")
	t.same(before, "after the undo of the restart")
	verdict("pass")
}
