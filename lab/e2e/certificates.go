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
}}

const (
	expiryControl     = "certificates-expiry"
	etcdExpiryControl = "certificates-etcd-expiry"
	bothExpiries      = expiryControl + "," + etcdExpiryControl
)

// tenDays is a configuration by which kubeadm makes certificates that end soon.
const tenDays = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: %s
certificateValidityPeriod: 240h0m0s
`

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

func renewed(t *T) {
	address := t.node.Address()
	serving := map[string]string{
		address + ":6443": "/etc/kubernetes/pki/apiserver.crt", "127.0.0.1:2379": "/etc/kubernetes/pki/etcd/server.crt", address + ":2380": "/etc/kubernetes/pki/etcd/peer.crt",
	}
	served := func(when string, want map[string]string) {
		got := map[string]shown{}
		t.agent(t.node, &got, append([]string{"served"}, slices.Sorted(maps.Keys(serving))...)...)
		for a, file := range serving {
			t.step("%s: %s shows %s until %s", when, a, got[a].Serial, got[a].NotAfter.Format(time.DateOnly))
			if got[a].Serial != want[file] {
				t.errorf("%s: %s shows the certificate %s, wanted %s", when, a, got[a].Serial, want[file])
			}
		}
	}
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
	t.shell(`printf "$1" "$2" >/root/short.yaml; kubeadm certs renew all --config /root/short.yaml; cp /etc/kubernetes/admin.conf /root/old-admin.conf
for c in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  mv /etc/kubernetes/manifests/$c.yaml /root/$c.yaml
done
while pidof etcd kube-apiserver kube-controller-manager kube-scheduler; do sleep 0.2; done
for c in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  mv /root/$c.yaml /etc/kubernetes/manifests/$c.yaml
done`, tenDays, t.cluster.Version())
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
	served("before", old)
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
	served("after", planned)
	verdicts("after", "pass")
	for _, path := range []string{"/etc/kubernetes/pki/apiserver.key", "/etc/kubernetes/controller-manager.conf"} {
		if mode := t.shell("stat -c '%a %u:%g' " + path); mode != "600 0:0\n" {
			t.errorf("%s: %s", path, mode)
		}
	}
	t.kubectl("logs", "-n", "kube-system", "etcd-"+t.node.Name(), "--tail=1")
	t.kubectl("get", "nodes")
	t.step("what was copied from admin.conf before still works")
	t.kubectl("--kubeconfig", "/root/old-admin.conf", "get", "nodes")
	if again := t.must(0, "plan", "--control", bothExpiries, "--set", expiryControl+".within=400", "--set", etcdExpiryControl+".within=400"); !strings.Contains(again.stdout, "nothing to do") {
		t.errorf("a second plan is not empty: %s", again)
	}

	undone := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undone.took))
	t.healthy("after the undo")
	t.same(before, "after the undo")
	served("after the undo", old)
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

// verdicts are the statuses of all controls, by id.
func (t *T) verdicts() map[string]string {
	var a struct {
		Findings []struct{ Control, Status string }
	}
	t.need(json.Unmarshal([]byte(t.must(0, "assess", "-o", "json").stdout), &a))
	out := map[string]string{}
	for _, f := range a.Findings {
		out[f.Control] = f.Status
	}
	return out
}
