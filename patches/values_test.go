package patches

import (
	"strings"
	"testing"
)

const podBefore = `apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-apiserver
    - --allow-privileged=true
    - --secure-port=6443
    name: kube-apiserver
    volumeMounts:
    - mountPath: /etc/ssl
      name: ssl
  volumes:
  - hostPath:
      path: /etc/ssl
    name: ssl
`

const podHardened = `apiVersion: v1
kind: Pod
spec:
  containers:
  - command:
    - kube-apiserver
    - --allow-privileged=true
    - --audit-log-path=/var/log/audit.log
    - --profiling=false
    - --secure-port=6443
    name: kube-apiserver
    volumeMounts:
    - mountPath: /etc/ssl
      name: ssl
    - mountPath: /var/log
      name: audit
  volumes:
  - hostPath:
      path: /etc/ssl
    name: ssl
  - hostPath:
      path: /var/log
    name: audit
`

// podRendered is podHardened as another program writes it, with a flag and a volume of somebody else's.
const podRendered = `apiVersion: v1
kind: Pod
spec:
  volumes:
  - name: audit
    hostPath: {path: /var/log}
  - name: ssl
    hostPath:
      path: /etc/ssl
  - name: theirs
    hostPath:
      path: /srv
  containers:
  - name: kube-apiserver
    command:
    - kube-apiserver
    args:
    - --secure-port=6443
    - --allow-privileged=true
    - --v=4
    # why profiling is off
    - --profiling=false
    - --audit-log-path=/var/log/audit.log
    volumeMounts:
    - name: audit
      mountPath: /var/log
    - name: ssl
      mountPath: /etc/ssl
`

func TestMergeValues(t *testing.T) {
	list := func(items string) string { return "extraArgs:\n" + items }
	for _, c := range []struct {
		name, base, ours, theirs, want string
		conflicts                      string
	}{
		{name: "flags and mounts that stand elsewhere", base: podHardened, ours: podBefore, theirs: podRendered,
			want: strings.NewReplacer("  - name: audit\n    hostPath: {path: /var/log}\n", "", "    - --profiling=false\n", "",
				"    - --audit-log-path=/var/log/audit.log\n", "", "    - name: audit\n      mountPath: /var/log\n", "").Replace(podRendered)},
		{name: "made already", base: podHardened, ours: podBefore, theirs: podBefore, want: podBefore},
		{name: "a flag that has another value", base: podHardened, ours: podBefore,
			theirs:    strings.Replace(podRendered, "--profiling=false", "--profiling=true", 1),
			conflicts: "spec.containers[kube-apiserver] --profiling"},
		{name: "a flag comes back", base: podBefore, ours: podHardened, theirs: podBefore,
			want: podHardened},
		{name: "a value", base: "a: 1\nb: 2\n", ours: "a: 1\nb: 3\n", theirs: "b: 2 # two\nc: 1\na: 1\n", want: "b: 3 # two\nc: 1\na: 1\n"},
		{name: "a value that theirs changed", base: "b: 2\n", ours: "b: 3\n", theirs: "b: 4\n", want: "b: 4\n", conflicts: "b"},
		{name: "a list to which theirs added goes but for that",
			base: "k: 1\n" + list("- name: x\n  value: \"1\"\n- name: y\n  value: \"2\"\n"), ours: "k: 1\n",
			theirs: list("- name: z\n  value: \"3\"\n- name: y\n  value: \"2\"\n- name: x\n  value: \"1\"\n") + "k: 1\n", want: list("- name: z\n  value: \"3\"\n") + "k: 1\n"},
		{name: "a list that goes whole", base: "a: 1\n" + list("- name: x\n  value: \"1\"\n"), ours: "a: 1\n",
			theirs: list("- value: \"1\"\n  name: x\n") + "a: 1\n", want: "a: 1\n"},
		{name: "a list that both make", base: "a: 1\n", ours: "a: 1\n" + list("- name: x\n  value: \"1\"\n"),
			theirs: list("- name: z\n  value: \"3\"\n") + "a: 1\n", want: list("- name: z\n  value: \"3\"\n- name: x\n  value: \"1\"\n") + "a: 1\n"},
		{name: "a list of plain values is one value", base: "s: [A, B]\n", ours: "k: 1\n", theirs: "s:\n- A\n- B\n- C\n", conflicts: "s", want: "k: 1\ns:\n- A\n- B\n- C\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			merged, conflicts, err := MergeValues([]byte(c.base), []byte(c.ours), []byte(c.theirs))
			if err != nil {
				t.Fatal(err)
			}
			var places []string
			for _, c := range conflicts {
				places = append(places, c.Place)
			}
			if got := strings.Join(places, " "); got != c.conflicts {
				t.Errorf("conflicts: %q, want %q", got, c.conflicts)
			}
			if c.want != "" && string(merged) != c.want {
				t.Errorf("got\n%s\nwant\n%s", merged, c.want)
			}
		})
	}
}

func TestMergeValuesRefuses(t *testing.T) {
	for _, c := range []struct{ name, base, ours, theirs, want string }{
		{"no mapping", "- a\n", "- b\n", "- c\n", "no mapping"},
		{"garbage", "a: 1\n", "a: 2\n", "a: [", "not valid YAML"},
		{"two documents", "a: 1\n", "a: 2\n", "a: 1\n---\na: 1\n", "second YAML document"},
		{"a container that comes back whole", "spec:\n  containers: []\n", "spec:\n  containers:\n  - name: a\n    command: [a, --b=c]\n", "spec:\n  containers: []\n", "not what it was"},
	} {
		_, conflicts, err := MergeValues([]byte(c.base), []byte(c.ours), []byte(c.theirs))
		if err == nil && len(conflicts) == 0 || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", c.name, conflicts, err)
		}
	}
}
