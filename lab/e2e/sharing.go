//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

var sharingScenarios = []scenario{{
	name:   "08-encryption-three",
	proves: "three control planes share a key: none writes with it before all can read it, the last one writes everything anew; and all the way back",
	nodes:  []string{"cp1", "cp2", "cp3"},
	long:   "its three control planes take 5 minutes to be made, and their API servers restart a dozen times",
	run:    sharedKeys,
}}

const (
	incomingFile  = "/etc/kubernetes/enc/incoming.yaml"
	sharedSecrets = 100
)

// on has what follows happen on another node.
func (t *T) on(n *lab.Node) {
	t.node = n
	t.step("on %s", n.Name())
}

// copyKey brings a node's key file to where another one takes it over.
func (t *T) copyKey(from, to *lab.Node) {
	file := t.shellIn(from, "cat "+keyFile)
	t.shellIn(to, `install -d -m 700 /etc/kubernetes/enc; umask 077; printf %s "$1" >`+incomingFile, file)
}

// readEverywhere asks each API server at its own address for all of the shop's Secrets.
func (t *T) readEverywhere(nodes []*lab.Node, values, when string) {
	for _, n := range nodes {
		out := t.command(nodes[0], "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "--server", "https://"+n.Address()+":6443",
			"get", "secrets", "-n", "shop", "-o", `jsonpath={range .items[*]}{.metadata.name}={.data.k}{"\n"}{end}`)
		if out.code != 0 || out.stdout != values {
			t.errorf("%s: %s does not read what was there before: %s", when, n.Name(), out)
		}
	}
}

// writtenBy has a node's own API server make a Secret, and gives how it begins in etcd.
func (t *T) writtenBy(n *lab.Node, name string) string {
	t.shellIn(n, `kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://$1:6443 create secret generic -n made $2 --from-literal=k=v >/dev/null`, n.Address(), name)
	var found map[string]string
	t.agent(n, &found, "stored", "secrets")
	return found["made/"+name]
}

func (t *T) begins(nodes []*lab.Node, run string, want ...string) {
	for i, n := range nodes {
		if got := t.writtenBy(n, fmt.Sprintf("%s-%d", run, i)); got != want[i] {
			t.errorf("%s: %s writes %q, and %q was wanted", run, n.Name(), got, want[i])
		}
	}
}

func sharedKeys(t *T) {
	const (
		plain = "plain"
		key1  = "k8s:enc:secretbox:v1:key1"
		key2  = "k8s:enc:secretbox:v1:key2"
	)
	nodes := t.cluster.Nodes()
	cp1, cp2, cp3 := nodes[0], nodes[1], nodes[2]
	t.kubectl("create", "namespace", "shop")
	t.kubectl("create", "namespace", "made")
	t.shell(fmt.Sprintf(`for i in $(seq %d); do printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: s%%d, namespace: shop}\nstringData: {k: value-%%d}\n' $i $i; done | kubectl create -f - >/dev/null`, sharedSecrets))
	values := t.secretsRead()
	before := make([]picture, len(nodes))
	for i, n := range nodes {
		before[i] = t.picture(n)
	}
	objects := t.lasting()
	t.shell(readAllAlong)
	accepted := apiServer + "," + encryptionControl

	t.on(cp1)
	out := t.encrypt(10, "--accept", apiServer)
	if !strings.Contains(out.stdout+out.stderr, incomingFile) {
		t.errorf("what the other control planes need is not said: %s", out)
	}
	t.expect("to write with a key that others have not", t.harden("apply", "--control", encryptionControl, "--accept", accepted, "--yes"), 8, "cp2, cp3 have not read the key yet")
	t.begins(nodes, "first", plain, plain, plain)

	t.on(cp2)
	t.expect("without a copy of the key", t.harden("apply", "--control", encryptionControl, "--accept", accepted, "--yes"), 8, incomingFile)
	t.copyKey(cp1, cp2)
	t.shell("sed -i 's/secretbox:/aescbc:/' " + incomingFile)
	t.expect("another file", t.harden("apply", "--control", encryptionControl, "--accept", accepted, "--yes"), 8, "is not what another control plane has read")
	t.copyKey(cp1, cp2)
	t.shell("chmod 644 " + incomingFile)
	t.expect("a file that all can read", t.harden("apply", "--control", encryptionControl, "--accept", accepted, "--yes"), 8, "chmod 600")
	t.shell("chmod 600 " + incomingFile)
	t.encrypt(10, "--accept", apiServer)
	t.expect("before all have read it", t.harden("apply", "--control", encryptionControl, "--accept", accepted, "--yes"), 8)
	t.on(cp3)
	t.copyKey(cp2, cp3)
	t.within(2*time.Minute, "the API knows that the others run with the key", func() (bool, string) {
		ready := t.kubectl("get", "pods", "-n", "kube-system", "-l", "component=kube-apiserver", "-o",
			`jsonpath={range .items[*]}{.spec.containers[0].command}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
		n := 0
		for line := range strings.Lines(ready) {
			if strings.Contains(line, keyFile) && strings.HasSuffix(strings.TrimSpace(line), "True") {
				n++
			}
		}
		return n == 2, ready
	})
	t.encrypt(10, "--accept", apiServer)
	for _, n := range nodes {
		if left := t.shellIn(n, "ls /etc/kubernetes/enc; stat -c %a "+keyFile); left != "enc.yaml\n600\n" {
			t.errorf("%s: %s", n.Name(), left)
		}
	}
	if kept := t.kubectl("get", "configmap", "-n", "kube-system", "kubeadm-config", "-o", "yaml"); !strings.Contains(kept, keyFile) {
		t.errorf("kubeadm-config does not keep the flag")
	}
	t.begins(nodes, "read", plain, plain, plain)

	t.on(cp1)
	t.encrypt(10, "--accept", accepted)
	t.begins(nodes, "one", key1, plain, plain)
	t.readEverywhere(nodes, values, "one writes with the key")
	t.on(cp2)
	t.encrypt(10, "--accept", accepted)
	t.begins(nodes, "two", key1, key1, plain)
	t.on(cp3)
	t.killedWhen("are written anew", "apply", "--control", encryptionControl, "--accept", accepted, "--yes", "--soak", "2s")
	t.must(0, "recover")
	t.begins(nodes, "undone", key1, key1, plain)
	t.readEverywhere(nodes, values, "undone while two others write with the key")
	t.encrypt(0, "--accept", accepted)
	t.begins(nodes, "three", key1, key1, key1)
	t.allStored(key1, sharedSecrets, "the last one has written everything anew")
	t.readEverywhere(nodes, values, "encrypted")

	t.step("another key")
	rotate := []string{"--remedy", encryptionControl + "=rotate-key", "--accept", accepted}
	t.on(cp2)
	t.encrypt(10, rotate...)
	for _, n := range []*lab.Node{cp1, cp3} {
		t.on(n)
		t.expect("without the new key", t.harden(append([]string{"apply", "--control", encryptionControl, "--yes"}, rotate...)...), 8, incomingFile)
		t.copyKey(cp2, n)
		t.encrypt(10, rotate...)
	}
	for i, n := range nodes {
		t.on(n)
		t.encrypt(10, rotate...)
		t.begins(nodes[i:i+1], "rotated-"+n.Name(), key2)
	}
	t.allStored(key2, sharedSecrets, "the key is another one")
	t.readEverywhere(nodes, values, "with another key")
	for _, n := range nodes {
		t.on(n)
		t.encrypt(0, rotate...)
	}
	t.begins(nodes, "dropped", key2, key2, key2)
	t.readEverywhere(nodes, values, "without the old key")

	t.step("back")
	script := stateDir + "/transactions/" + strings.Fields(t.shell("ls " + stateDir + "/transactions"))[0] + "/restore.sh"
	if out := t.command(t.node, "sh", script); out.code == 0 || !strings.Contains(out.stderr, "KEYS=unneeded") {
		t.errorf("restore.sh takes away a key that others write with: %s", out)
	}
	for round := range 5 {
		for i := len(nodes) - 1; i >= 0; i-- {
			t.on(nodes[i])
			t.must(0, "rollback", "--yes")
		}
		t.readEverywhere(nodes, values, fmt.Sprintf("round %d back", round+1))
		switch round {
		case 1:
			t.allStored(key1, sharedSecrets, "rotated back")
		case 3:
			t.allStored(plain, sharedSecrets, "decrypted")
		}
	}
	t.on(cp1)
	t.begins(nodes, "end", plain, plain, plain)
	t.healthy("at the end")
	for i, n := range nodes {
		t.shellIn(n, "if [ -e "+incomingFile+" ]; then rm "+incomingFile+"; rmdir /etc/kubernetes/enc; fi") // the operator's copy
		if d := before[i].differences(t.picture(n)); len(d) > 0 {
			t.errorf("%s is not as before:\n%s", n.Name(), strings.Join(d, "\n"))
		}
		for _, l := range t.leftovers(n) {
			t.errorf("%s: left behind: %s", n.Name(), l)
		}
	}
	t.kubectl("delete", "namespace", "made")
	t.sameObjects(objects, t.lasting, "at the end")
	t.wasRead("dmFsdWUtNw==")
}
