package patches

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const fuzzedContainer = "kube-scheduler"

// decodedContainer is a document that may be anything, and a container in it; nil where there is none.
func decodedContainer(doc []byte) (pod any, container map[string]any) {
	pod, ok := tryDecode(doc)
	if !ok {
		return nil, nil
	}
	top, _ := pod.(map[string]any)
	spec, _ := top["spec"].(map[string]any)
	for _, kind := range []string{"containers", "initContainers"} {
		list, _ := spec[kind].([]any)
		for _, item := range list {
			if c, _ := item.(map[string]any); c["name"] == fuzzedContainer {
				return pod, c
			}
		}
	}
	return pod, nil
}

// requireOnlyAdded verifies that every line outside the concerned ones is still there with the same bytes, in its order.
func requireOnlyAdded(t *testing.T, before, after []byte, concerned []lineRange) {
	t.Helper()
	rest := linesWithEndings(after)
	for n, line := range linesWithEndings(before) {
		if slices.ContainsFunc(concerned, func(r lineRange) bool { return r.first <= n+1 && n+1 <= r.last }) {
			continue
		}
		at := slices.Index(rest, line)
		if at < 0 {
			t.Errorf("line %d changed or is gone:\n%s\n---\n%s", n+1, before, after)
			return
		}
		rest = rest[at+1:]
	}
}

// containerNode is where the container stands in the document, and in which path.
func containerNode(doc []byte) (root *yaml.Node, at Path) {
	d, err := open(doc)
	if err != nil {
		return nil, nil
	}
	if at, err = d.containerPath(fuzzedContainer); err != nil {
		return nil, nil
	}
	return parsedRoot(doc), at
}

func FuzzAddMount(f *testing.F) {
	seedPods(f, func(pod string) {
		f.Add(pod, "/etc/kubernetes/policies", "/etc/kubernetes/policies", "DirectoryOrCreate", true)
		f.Add(pod, "/etc/kubernetes/scheduler.conf", "/etc/kubernetes/scheduler.conf", "FileOrCreate", false)
		f.Add(pod, "/", "/host", "", true)
	})
	head := "spec:\n  containers:\n  - name: kube-scheduler\n"
	for _, rest := range []string{
		"    volumeMounts: []\n  volumes: []\n",
		"    volumeMounts:\n    - {name: a, mountPath: /a}\n  volumes:\n  - {name: a, hostPath: {path: /a}}\n",
		"    volumeMounts:\n    - mountPath: /etc\n      name: etc\n      readOnly: true\n  volumes:\n  - name: etc\n    hostPath:\n      path: /etc\n",
		"    volumeMounts: # none\n  volumes: ~\n",
		"  volumes:\n  - name: etc-kubernetes-policies\n    emptyDir: {}\n",
	} {
		f.Add(head+rest, "/etc/kubernetes/policies", "/etc/kubernetes/policies", "Directory", true)
	}
	f.Fuzz(func(t *testing.T, text, host, at, kind string, readOnly bool) {
		m := Mount{HostPath: host, MountPath: at, ReadOnly: readOnly, Type: kind}
		if m.check() != nil || tooLong(text, host, at, kind) || strings.ContainsFunc(kind, func(r rune) bool { return !isVisible(r) }) {
			t.Skip()
		}
		pod := []byte(text)
		after, err := AddMount(pod, fuzzedContainer, m)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		again, err := AddMount(after, fuzzedContainer, m)
		if err != nil || !bytes.Equal(again, after) {
			t.Errorf("the same edit again: %v\n%s---\n%s", err, after, again)
		}
		if bytes.Equal(pod, after) {
			return
		}
		checkFuzzedMount(t, pod, after, m)
		root, path := containerNode(pod)
		if root == nil {
			t.Fatal("what was edited cannot be read")
		}
		var concerned []lineRange
		for _, list := range []Path{{"spec", "volumes"}, path.with("volumeMounts")} {
			concerned = append(concerned, voidLines(pod, after, root, list)...)
		}
		requireOnlyAdded(t, pod, after, concerned)
		checkComments(t, pod, after)
	})
}

// voidLines are the lines of a list that is there and was empty: its value is written anew.
func voidLines(before, after []byte, root *yaml.Node, at Path) []lineRange {
	if n := nodeAt(root, at); n == nil || !isVoid(n) {
		return nil
	}
	return fieldLines(before, after, at)
}

// checkFuzzedMount verifies that a mount of the path came, perhaps a volume for it, and nothing else.
func checkFuzzedMount(t *testing.T, before, after []byte, m Mount) {
	t.Helper()
	old, was := decodedContainer(before)
	new, is := decodedContainer(after)
	if was == nil {
		return
	}
	if is == nil {
		t.Fatalf("the result cannot be read:\n%s", after)
	}
	spec := func(pod any) map[string]any { return pod.(map[string]any)["spec"].(map[string]any) }
	mount, ok := oneMore(was, is, "volumeMounts")
	if !ok || mount == nil || mount["mountPath"] != m.MountPath || (mount["readOnly"] == true) != m.ReadOnly {
		t.Fatalf("the mount is %v:\n%s\n---\n%s", mount, before, after)
	}
	volumes, _ := spec(new)["volumes"].([]any)
	volumes = slices.Clone(volumes)
	volume, ok := oneMore(spec(old), spec(new), "volumes")
	kind, _ := lookIn(volume, "hostPath", "type").(string)
	if !ok || volume != nil && (volume["name"] != mount["name"] || kind != m.Type) {
		t.Errorf("the volume is %v:\n%s\n---\n%s", volume, before, after)
	}
	if !slices.ContainsFunc(volumes, func(v any) bool {
		v, _ = v.(map[string]any)
		return fmt.Sprint(lookIn(v, "name")) == fmt.Sprint(mount["name"]) && strings.TrimRight(fmt.Sprint(lookIn(v, "hostPath", "path")), "/") == strings.TrimRight(m.HostPath, "/")
	}) {
		t.Errorf("%v shows no volume of %s:\n%s", mount, m.HostPath, after)
	}
	if a, b := fmt.Sprintf("%#v", old), fmt.Sprintf("%#v", new); a != b {
		t.Errorf("more than mounts and volumes changed:\n%s\n%s", a, b)
	}
}

// oneMore takes a list out of both, and gives the mapping that the second one has more; ok is false where they differ in more.
func oneMore(was, is map[string]any, list string) (more map[string]any, ok bool) {
	old, _ := was[list].([]any)
	new, _ := is[list].([]any)
	delete(was, list)
	delete(is, list)
	for i, item := range new {
		if i >= len(old) || fmt.Sprintf("%#v", item) != fmt.Sprintf("%#v", old[i]) {
			more, _ = item.(map[string]any)
			new = slices.Delete(slices.Clone(new), i, i+1)
			break
		}
	}
	return more, fmt.Sprintf("%#v", new) == fmt.Sprintf("%#v", old) || len(new)+len(old) == 0
}

func lookIn(value any, keys ...string) any {
	for _, key := range keys {
		m, _ := value.(map[string]any)
		value = m[key]
	}
	return value
}

func FuzzProbes(f *testing.F) {
	seedPods(f, func(pod string) { f.Add(pod, "192.0.2.11") })
	head := "spec:\n  containers:\n  - name: kube-scheduler\n"
	for _, rest := range []string{
		"    livenessProbe:\n      httpGet: {port: 1}\n",
		"    livenessProbe:\n      # why\n      httpGet:\n        path: /livez # how\n        # which\n        port: probe-port\n        scheme: HTTPS\n      periodSeconds: 10\n",
		"    livenessProbe:\n      httpGet:\n        httpHeaders:\n        - name: a\n          value: b\n        host: ::1\n        port: 1",
		"    startupProbe:\n      tcpSocket:\n        port: 1\n    readinessProbe:\n      exec:\n        command: [a]\n",
		"    livenessProbe:\n      httpGet:\n        port: 1\n      tcpSocket:\n        port: 1\n",
		"    livenessProbe:\n      httpGet:\n    readinessProbe: ~\n",
		"    livenessProbe: &p\n      httpGet:\n        port: 1\n    readinessProbe: *p\n",
	} {
		f.Add(head+rest, "::1")
	}
	f.Fuzz(func(t *testing.T, text, host string) {
		if tooLong(text, host) || host == "" || strings.ContainsFunc(host, func(r rune) bool { return !isVisible(r) }) {
			t.Skip()
		}
		pod := []byte(text)
		for _, edit := range []struct {
			name   string
			do     func([]byte) ([]byte, error)
			intent func(probe map[string]any)
			at     []Path
		}{
			{"tcp", func(doc []byte) ([]byte, error) { return SetProbeTCP(doc, fuzzedContainer) }, intendTCP, []Path{{"httpGet"}}},
			{"host", func(doc []byte) ([]byte, error) { return SetProbeHost(doc, fuzzedContainer, host) }, intendHost(host), []Path{{"httpGet", "host"}, {"tcpSocket", "host"}}},
		} {
			after, err := edit.do(pod)
			if err != nil {
				requireRefusal(t, err)
				continue
			}
			again, err := edit.do(after)
			if err != nil || !bytes.Equal(again, after) {
				t.Errorf("%s again: %v\n%s---\n%s", edit.name, err, after, again)
			}
			old, was := decodedContainer(pod)
			new, is := decodedContainer(after)
			if was == nil || bytes.Equal(pod, after) {
				continue
			}
			if is == nil {
				t.Fatalf("the result cannot be read:\n%s", after)
			}
			root, path := containerNode(pod)
			var concerned []lineRange
			for _, name := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
				if probe, ok := was[name].(map[string]any); ok {
					edit.intent(probe)
				}
				for _, at := range edit.at {
					if whole := append(path.with(name), at...); nodeAt(root, whole) != nil || voidOrFlow(root, whole[:len(whole)-1]) {
						concerned = append(concerned, fieldLines(pod, after, whole)...)
					}
				}
			}
			if a, b := fmt.Sprintf("%#v", old), fmt.Sprintf("%#v", new); a != b {
				t.Errorf("%s: more than the probes changed:\n%s\n%s", edit.name, a, b)
			}
			requireOnlyAdded(t, pod, after, concerned)
		}
	})
}

func voidOrFlow(root *yaml.Node, at Path) bool {
	n := nodeAt(root, at)
	return n != nil && (isVoid(n) || isFlow(n))
}

// intendTCP is what SetProbeTCP makes of a probe.
func intendTCP(probe map[string]any) {
	get, ok := probe["httpGet"].(map[string]any)
	if !ok {
		return
	}
	socket := map[string]any{}
	for _, key := range []string{"host", "port"} {
		if value, ok := get[key]; ok {
			socket[key] = value
		}
	}
	delete(probe, "httpGet")
	probe["tcpSocket"] = socket
}

// intendHost is what SetProbeHost makes of a probe.
func intendHost(host string) func(probe map[string]any) {
	return func(probe map[string]any) {
		for _, kind := range []string{"httpGet", "tcpSocket"} {
			if get, ok := probe[kind]; ok {
				how, _ := get.(map[string]any)
				if how == nil {
					how = map[string]any{}
					probe[kind] = how
				}
				how["host"] = host
			}
		}
	}
}
