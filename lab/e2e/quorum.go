//go:build linux

package main

import (
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

var quorumScenarios = []scenario{{
	name:   "11-etcd",
	proves: "of three members of etcd one restarts while the others answer, but for the election of a leader; with two left etcd is not touched",
	nodes:  []string{"cp1", "cp2", "cp3"},
	long:   "its three control planes take 5 minutes to be made, and etcd restarts twice",
	run:    etcdQuorum,
}}

// election is for how long etcd may have no leader after the one that restarts was it: an election begins after a second without one,
// or two, and the first may have no winner.
const election = 4 * time.Second

const etcdControl = "etcd-cipher-suites"

// askEtcd asks the node's own member as the API server does.
const askEtcd = `curl -sS --fail --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/apiserver-etcd-client.crt --key /etc/kubernetes/pki/apiserver-etcd-client.key \
  -d "$2" "https://127.0.0.1:2379$1"`

func etcdQuorum(t *T) {
	nodes := t.cluster.Nodes()
	cp3 := nodes[2]
	before, were := t.picture(t.node), t.etcdInstances(nodes)
	change := []string{"apply", "--control", etcdControl, "--yes", "--soak", "2s", "--confirm-within", "2m"}
	poll := t.poller(readyz(nodes[1]), readyz(nodes[2]))
	applied := t.must(9, append(change, "--accept", etcdControl)...)
	t.figure("apply", "%s", seconds(applied.took))
	t.must(0, "confirm", t.newest())
	t.healthy("after apply")
	if now := t.picture(t.node).args[etcd]; !strings.Contains(now, "--cipher-suites=") {
		t.errorf("etcd runs with %s", now)
	}
	undone := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undone.took))
	t.healthy("after the undo")
	t.same(before, "after the undo")
	t.clean("after the undo")
	for url, seen := range poll.stop() {
		t.figure("failed at "+url, "%d of %d", seen.failed, seen.asked)
		if seen.outage > election {
			t.errorf("%s failed %d times while another member restarted: %v", url, seen.failed, seen.outage)
		}
	}
	for n, i := range t.etcdInstances(nodes) {
		if kept := i == were[n]; kept == (n == t.node.Name()) {
			t.errorf("etcd of %s was %s, and is %s", n, were[n], i)
		}
	}

	t.step("once more, and a member is taken away for good")
	t.must(9, append(change, "--accept", etcdControl)...)
	t.must(0, "confirm", t.newest())
	t.healthy("after the second apply")
	t.shellIn(cp3, `cd /etc/kubernetes/manifests; mkdir /root/away; mv *.yaml /root/away; while pidof etcd kube-apiserver; do sleep 0.2; done`)
	t.kubectl("delete", "node", cp3.Name())
	list := t.shell(askEtcd, "/v3/cluster/member/list", "{}")
	t.shell(`id=$(printf %s "$1" | tr '{' '\n' | sed -n 's/.*"ID":"\([0-9]*\)","name":"cp3".*/\1/p'); `+strings.NewReplacer("$1", "/v3/cluster/member/remove", `"$2"`, `"{\"ID\":\"$id\"}"`).Replace(askEtcd), list)
	t.within(2*time.Minute, "etcd has two members", func() (bool, string) {
		out := t.shell(askEtcd, "/v3/cluster/member/list", "{}")
		return strings.Count(out, `"name":"cp`) == 2, out
	})
	t.within(time.Minute, "the API is well", func() (bool, string) {
		out := t.command(t.node, "kubectl", "get", "--raw", "/readyz", "--request-timeout=5s")
		return out.code == 0, out.String()
	})
	now, two := t.picture(t.node), t.etcdInstances(nodes[:2])
	t.expect("an undo with two members", t.harden("rollback", "--yes"), 8, "--accept etcd")
	t.same(now, "the refused undo")
	for n, i := range t.etcdInstances(nodes[:2]) {
		if i != two[n] {
			t.errorf("etcd of %s was %s, and is %s", n, two[n], i)
		}
	}
	undone = t.must(0, "rollback", "--accept", etcd, "--yes")
	t.figure("undo with two members, accepted", "%s", seconds(undone.took))
	t.within(time.Minute, "the API is well after the accepted undo", func() (bool, string) {
		out := t.command(t.node, "kubectl", "get", "--raw", "/readyz", "--request-timeout=5s")
		return out.code == 0, out.String()
	})
	if now := t.picture(t.node).args[etcd]; strings.Contains(now, "--cipher-suites=") {
		t.errorf("after the accepted undo etcd runs with %s", now)
	}
	if now := t.etcdInstances(nodes[:2]); now[nodes[1].Name()] != two[nodes[1].Name()] || now[t.node.Name()] == two[t.node.Name()] {
		t.errorf("the accepted undo left %v of %v", now, two)
	}
	now = t.picture(t.node)
	t.expect("a change with two members", t.harden(append(change, "--accept", etcdControl)...), 8, "no quorum without this one")
	t.same(now, "refused with two members")
}

// etcdInstances are the lives of etcd by node.
func (t *T) etcdInstances(nodes []*lab.Node) map[string]string {
	out := map[string]string{}
	for _, n := range nodes {
		lives := slices.DeleteFunc(t.instances(n, etcd), func(i instance) bool { return i.Container == "" })
		if len(lives) != 1 {
			t.fatalf("%s has %d etcd: %v", n.Name(), len(lives), lives)
		}
		out[n.Name()] = lives[0].id()
	}
	return out
}
