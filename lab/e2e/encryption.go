//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

var encryptionScenarios = []scenario{{
	name:   "08-encryption",
	proves: "Secrets encrypted in etcd, killed in the middle and finished, the key changed, and all undone: each Secret readable all along",
	long:   "it takes 7 minutes: the API server restarts a dozen times",
	run:    encryptionWay,
}}

const (
	encryptionControl = "apiserver-encryption-at-rest"
	keyFile           = "/etc/kubernetes/enc/enc.yaml"
	manySecrets       = 300
)

// beginnings asks etcd itself, from within the node, how the value of each Secret begins.
func beginnings() (map[string]string, error) {
	const pki = "/etc/kubernetes/pki/"
	ca, err := os.ReadFile(pki + "etcd/ca.crt")
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(pki+"apiserver-etcd-client.crt", pki+"apiserver-etcd-client.key")
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}}
	ask, err := json.Marshal(map[string]any{"key": []byte("/registry/secrets/"), "range_end": []byte("/registry/secrets0")})
	if err != nil {
		return nil, err
	}
	answer, err := client.Post("https://127.0.0.1:2379/v3/kv/range", "application/json", bytes.NewReader(ask))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var found struct {
		KVs []struct{ Key, Value []byte } `json:"kvs"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, kv := range found.KVs {
		begins := "plain"
		if bytes.HasPrefix(kv.Value, []byte("k8s:enc:")) {
			begins = strings.Join(strings.SplitN(string(kv.Value), ":", 6)[:5], ":")
		}
		out[strings.TrimPrefix(string(kv.Key), "/registry/secrets/")] = begins
	}
	return out, nil
}

// stored counts Secrets by how they begin.
func (t *T) stored() map[string]int {
	var found map[string]string
	t.agent(t.node, &found, "stored", "secrets")
	out := map[string]int{}
	for _, begins := range found {
		out[begins]++
	}
	return out
}

// allStored wants every Secret to begin so, and so many of them at least.
func (t *T) allStored(begins string, fewest int, when string) {
	got := t.stored()
	t.step("%s: %v", when, got)
	if len(got) != 1 || got[begins] < fewest {
		t.errorf("%s: wanted every Secret to begin with %s, and they begin with %v", when, begins, got)
	}
}

// secretsRead are all of the shop's Secrets with what they hold.
func (t *T) secretsRead() string {
	return t.kubectl("get", "secrets", "-n", "shop", "-o", `jsonpath={range .items[*]}{.metadata.name}={.data.k}{"\n"}{end}`)
}

// readAllAlong reads one Secret until it is told to stop; an API server that restarts is no wrong answer.
const readAllAlong = `
rm -f /tmp/stop /tmp/read; touch /tmp/read
(while [ ! -e /tmp/stop ]; do
  kubectl get secret -n shop s7 -o 'jsonpath={.data.k}' --request-timeout=3s >/tmp/one 2>&1 </dev/null || :
  head -c 300 /tmp/one | tr '\n' ' ' >>/tmp/read; echo >>/tmp/read; sleep 0.3
done) >/dev/null 2>&1 &
`

// run applies a remedy of the control, with what is accepted.
func (t *T) encrypt(code int, more ...string) said {
	t.step("apply %s", strings.Join(more, " "))
	return t.must(code, append([]string{"apply", "--control", encryptionControl, "--yes", "--soak", "2s"}, more...)...)
}

// killedWhen kills the product as soon as the newest journal has some words.
func (t *T) killedWhen(words string, args ...string) {
	t.step("%s, killed at %q", strings.Join(args, " "), words)
	t.shell(`words=$1; shift
before=$(ls `+stateDir+`/transactions | tail -1)
"$@" >/tmp/killed 2>&1 </dev/null & 
for i in $(seq 3000); do
  now=$(ls `+stateDir+`/transactions | tail -1)
  if [ "$now" != "$before" ] && grep -q "$words" `+stateDir+`/transactions/$now/journal.jsonl; then
    kill -9 $(pidof kubectl-harden); exit 0
  fi
  sleep 0.05
done
cat /tmp/killed; exit 1`, append([]string{words, productPath}, args...)...)
	if out := t.harden("status"); out.code != 5 {
		t.errorf("status after the kill: %s", out)
	}
}

func encryptionWay(t *T) {
	t.kubectl("create", "namespace", "shop")
	t.shell(fmt.Sprintf(`for i in $(seq %d); do printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: s%%d, namespace: shop}\nimmutable: %%s\nstringData: {k: value-%%d}\n' $i $([ $((i %% 10)) = 0 ] && echo true || echo false) $i; done | kubectl create -f - >/dev/null`, manySecrets))
	before, values := t.picture(t.node), t.secretsRead()
	t.allStored("plain", manySecrets, "before")
	t.shell(readAllAlong)

	t.must(8, "apply", "--control", encryptionControl, "--yes")
	start := time.Now()
	out := t.encrypt(10, "--accept", apiServer)
	t.figure("first run", "%s", seconds(time.Since(start)))
	if !strings.Contains(out.stderr, "copy "+keyFile) {
		t.errorf("the operator is not told to copy the key: %s", out)
	}
	t.allStored("plain", manySecrets, "after the first run")
	if kept := t.kubectl("get", "configmap", "-n", "kube-system", "kubeadm-config", "-o", "yaml"); !strings.Contains(kept, keyFile) {
		t.errorf("kubeadm-config does not keep the flag")
	}
	if modes := t.shell("stat -c '%a %u:%g %n' /etc/kubernetes/enc " + keyFile); modes != "700 0:0 /etc/kubernetes/enc\n600 0:0 "+keyFile+"\n" {
		t.errorf("modes: %s", modes)
	}
	sum := strings.Fields(t.shell("sha256sum " + keyFile))[0]
	key := strings.TrimSpace(t.shell("sed -n 's/.*secret: //p' " + keyFile))
	if out = t.encrypt(8, "--accept", apiServer); !strings.Contains(out.stdout+out.stderr, sum) {
		t.errorf("without word that the key is stored: %s", out)
	}
	accepted := apiServer + "," + encryptionControl
	if out = t.must(0, "plan", "--control", encryptionControl, "--accept", accepted, "-o", "json"); strings.Contains(out.stdout+out.stderr, key) {
		t.errorf("the plan shows the key")
	}

	t.killedWhen("are written anew", "apply", "--control", encryptionControl, "--accept", accepted, "--yes", "--soak", "2s")
	half := t.stored()
	t.figure("stored when it was killed", "%v", half)
	if len(half) != 2 || t.secretsRead() != values {
		t.errorf("killed in the middle: %v, or what is read is not the same", half)
	}
	start = time.Now()
	t.must(0, "recover", "--finish")
	t.figure("recover --finish", "%s", seconds(time.Since(start)))
	t.allStored("k8s:enc:secretbox:v1:key1", manySecrets, "finished")
	snapshot := strings.TrimSpace(t.shell("stat -c '%a %s' " + stateDir + "/transactions/*/etcd-snapshot.db"))
	t.figure("etcd's snapshot", "%s", snapshot)
	if !strings.HasPrefix(snapshot, "600 ") || t.secretsRead() != values {
		t.errorf("the snapshot is %q, or what is read is not the same", snapshot)
	}

	for i, run := range []struct {
		code int
		want string
	}{{10, "k8s:enc:secretbox:v1:key1"}, {10, "k8s:enc:secretbox:v1:key2"}, {0, "k8s:enc:secretbox:v1:key2"}} {
		t.encrypt(run.code, "--remedy", encryptionControl+"=rotate-key", "--accept", accepted)
		t.allStored(run.want, manySecrets, fmt.Sprintf("run %d of the rotation", i+1))
	}
	if leaks := t.shell("grep -rlF \"$1\" /var/log /tmp/killed /run/kubectl-harden 2>/dev/null || :; journalctl --no-pager 2>/dev/null | grep -cF \"$1\" || :", key); strings.TrimSpace(leaks) != "0" {
		t.errorf("the key is in a log: %s", leaks)
	}

	t.step("what an older run has made is needed")
	first := strings.Fields(t.shell("ls " + stateDir + "/transactions"))[0]
	if out = t.harden("rollback", first, "--yes"); out.code == 0 {
		t.errorf("the first run was undone below the others: %s", out)
	}
	if out := t.command(t.node, "sh", stateDir+"/transactions/"+first+"/restore.sh"); out.code == 0 || !strings.Contains(out.stderr, "KEYS=unneeded") {
		t.errorf("restore.sh of the first run: %s", out)
	}
	for i := range 3 {
		t.step("rollback %d", i+1)
		t.must(0, "rollback", "--yes")
	}
	t.allStored("k8s:enc:secretbox:v1:key1", manySecrets, "the rotation undone")
	t.killedWhen("are written anew", "rollback", "--yes")
	t.must(0, "recover")
	t.allStored("k8s:enc:secretbox:v1:key1", manySecrets, "killed while it was decrypted, and back")
	t.step("rollback 4: decrypt")
	start = time.Now()
	t.must(0, "rollback", "--yes")
	t.figure("to decrypt", "%s", seconds(time.Since(start)))
	t.allStored("plain", manySecrets, "decrypted")
	t.step("rollback 5")
	t.must(0, "rollback", "--yes")
	t.allStored("plain", manySecrets, "at the end")
	t.healthy("at the end")
	t.within(time.Minute, "as before", func() (bool, string) {
		d := before.differences(t.picture(t.node))
		return len(d) == 0, strings.Join(d, "\n")
	})
	if t.secretsRead() != values {
		t.errorf("what is read is not the same in the end")
	}
	t.wasRead("dmFsdWUtNw==")
}

// wasRead wants every answer to have been the value, or that nobody answered.
func (t *T) wasRead(value string) {
	if t.shell("find /tmp/read -newermt '15 seconds ago'") == "" {
		t.errorf("the one that read all along has ended before")
	}
	t.shell("touch /tmp/stop; sleep 1")
	seen := map[string]int{}
	for line := range strings.Lines(t.shell("cat /tmp/read")) {
		switch line = strings.TrimSpace(line); {
		case line == value:
			seen["read"]++
		case line == "":
		case strings.Contains(line, "transform") || strings.Contains(line, "no matching") || strings.Contains(line, "NotFound") || strings.Contains(line, "InternalError"):
			seen["WRONG"]++
			t.errorf("while it was changed a Secret was answered with %s", line)
		default:
			seen["no API"]++
			t.detail("no API: %s", line)
		}
	}
	t.figure("one Secret, read all along", "%d times, %d times without an API server", seen["read"], seen["no API"])
	if seen["read"] < 50 {
		t.errorf("it was hardly read: %v", slices.Sorted(maps.Keys(seen)))
	}
}
