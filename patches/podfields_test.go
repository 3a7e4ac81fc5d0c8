package patches

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func object(t testing.TB, value any, keys ...any) any {
	t.Helper()
	for _, key := range keys {
		switch key := key.(type) {
		case int:
			value = value.([]any)[key]
		case string:
			value = value.(map[string]any)[key]
		}
	}
	return value
}

func TestAddMount(t *testing.T) {
	eachPod(t, func(t *testing.T, pod []byte, container string) {
		for _, m := range []Mount{
			{HostPath: "/var/log/kubernetes/audit", MountPath: "/var/log/kubernetes/audit", Type: "DirectoryOrCreate", Name: "audit-log"},
			{HostPath: "/etc/kubernetes/policies", MountPath: "/policies", Type: "Directory", ReadOnly: true},
		} {
			after, err := AddMount(pod, container, m)
			if err != nil {
				t.Fatal(err)
			}
			before, now := decoded(t, pod), decoded(t, after)
			newVolumes := added(object(t, before, "spec", "volumes"), object(t, now, "spec", "volumes"))
			newMounts := added(object(t, before, "spec", "containers", 0, "volumeMounts"), object(t, now, "spec", "containers", 0, "volumeMounts"))
			if len(newVolumes) != 1 || len(newMounts) != 1 {
				t.Fatalf("added volumes %v, mounts %v", newVolumes, newMounts)
			}
			name := newVolumes[0].(map[string]any)["name"]
			wantVolume := map[string]any{"name": name, "hostPath": map[string]any{"path": m.HostPath, "type": m.Type}}
			wantMount := map[string]any{"name": name, "mountPath": m.MountPath}
			if m.ReadOnly {
				wantMount["readOnly"] = true
			}
			if !reflect.DeepEqual(newVolumes[0], wantVolume) || !reflect.DeepEqual(newMounts[0], wantMount) {
				t.Errorf("added volume %v, mount %v", newVolumes[0], newMounts[0])
			}
			for _, line := range changedLines(pod, after) {
				if line[0] != '+' {
					t.Errorf("a line went: %q", line)
				}
			}
			again, err := AddMount(after, container, m)
			if err != nil || !bytes.Equal(again, after) {
				t.Errorf("the same edit again: %v", err)
			}
		}
	})
}

// added are the items of the second list that the first does not have.
func added(before, after any) []any {
	return slices.DeleteFunc(slices.Clone(after.([]any)), func(item any) bool {
		return slices.ContainsFunc(before.([]any), func(old any) bool { return reflect.DeepEqual(old, item) })
	})
}

func TestMountRules(t *testing.T) {
	const head = "spec:\n  containers:\n  - name: c\n    volumeMounts:\n"
	const mounts = head + "    - name: pki\n      mountPath: /etc/pki\n      readOnly: true\n" +
		"    - name: logs\n      mountPath: /var/log\n      subPath: k8s\n" +
		"    - name: tmp\n      mountPath: /var/log/tmp\n" +
		"    - name: file\n      mountPath: /etc/one.conf\n"
	const pod = mounts + "  volumes:\n" +
		"  - name: pki\n    hostPath: {path: /etc/pki}\n  - name: logs\n    hostPath:\n      path: /data/\n" +
		"  - name: tmp\n    emptyDir: {}\n  - name: file\n    hostPath:\n      path: /etc/one.conf\n      type: File\n"
	const end = "    hostPath:\n      path: "
	for _, row := range []struct {
		name    string
		mount   Mount
		mounted string // added behind the mounts
		volume  string // added behind the volumes
		refused string
	}{
		{name: "covered, read-only is enough", mount: Mount{HostPath: "/etc/pki/a", MountPath: "/etc/pki/a", ReadOnly: true}},
		{name: "covered by a sub path", mount: Mount{HostPath: "/data/k8s/audit", MountPath: "/var/log/audit"}},
		{name: "writable serves a reader", mount: Mount{HostPath: "/data/k8s", MountPath: "/var/log", ReadOnly: true}},
		{name: "the very file", mount: Mount{HostPath: "/etc/one.conf", MountPath: "/etc/one.conf"}},
		{name: "read-only parent, writable need", mount: Mount{Name: "w", HostPath: "/etc/pki/a", MountPath: "/etc/pki/a"},
			mounted: "    - name: w\n      mountPath: /etc/pki/a\n", volume: "  - name: w\n" + end + "/etc/pki/a\n"},
		{name: "read-only itself, writable need", mount: Mount{HostPath: "/etc/pki", MountPath: "/etc/pki"}, refused: "mounted read-only"},
		{name: "another path of the host", mount: Mount{HostPath: "/srv", MountPath: "/var/log"}, refused: "something else (volume logs) is mounted at /var/log"},
		{name: "a volume in between", mount: Mount{Name: "x", HostPath: "/data/k8s/tmp/x", MountPath: "/var/log/tmp/x"},
			mounted: "    - name: x\n      mountPath: /var/log/tmp/x\n", volume: "  - name: x\n" + end + "/data/k8s/tmp/x\n"},
		{name: "below a file", mount: Mount{HostPath: "/etc/one.conf/a", MountPath: "/etc/one.conf/a"}, refused: "is a file"},
		{name: "a volume is used again", mount: Mount{HostPath: "/data", MountPath: "/all"}, mounted: "    - name: logs\n      mountPath: /all\n"},
		{name: "a name that is taken", mount: Mount{Name: "tmp", HostPath: "/srv", MountPath: "/srv"},
			mounted: "    - name: tmp-2\n      mountPath: /srv\n", volume: "  - name: tmp-2\n" + end + "/srv\n"},
		{name: "a name from the path", mount: Mount{HostPath: "/Var/lib_x", MountPath: "/srv"},
			mounted: "    - name: var-lib-x\n      mountPath: /srv\n", volume: "  - name: var-lib-x\n" + end + "/Var/lib_x\n"},
		{name: "a similar path", mount: Mount{Name: "o", HostPath: "/etc/pki2", MountPath: "/etc/pki2", ReadOnly: true},
			mounted: "    - name: o\n      mountPath: /etc/pki2\n      readOnly: true\n", volume: "  - name: o\n" + end + "/etc/pki2\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			after, err := AddMount([]byte(pod), "c", row.mount)
			if row.refused != "" {
				var r *Refusal
				if !errors.As(err, &r) || !strings.Contains(r.Found, row.refused) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(pod, mounts, mounts+row.mounted, 1) + row.volume
			if string(after) != want {
				t.Errorf("got\n%s\nwant\n%s", after, want)
			}
		})
	}
	for _, m := range []Mount{{HostPath: "a", MountPath: "/a"}, {HostPath: "/a/../b", MountPath: "/a"}, {HostPath: "/a", MountPath: "/a\n"}} {
		if _, err := AddMount([]byte(pod), "c", m); err == nil {
			t.Errorf("%v is taken", m)
		}
	}
	bare := "spec:\n  containers:\n  - name: c\n    image: i\n"
	after, err := AddMount([]byte(bare), "c", Mount{Name: "v", HostPath: "/a", MountPath: "/b"})
	if want := bare + "    volumeMounts:\n    - mountPath: /b\n      name: v\n  volumes:\n  - hostPath:\n      path: /a\n    name: v\n"; err != nil || string(after) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, after, want)
	}
}

func TestAnnotations(t *testing.T) {
	const key = "kubectl-harden.io/restarted-at"
	eachPod(t, func(t *testing.T, pod []byte, _ string) {
		after, err := SetAnnotation(pod, key, "true")
		if err != nil {
			t.Fatal(err)
		}
		checkLines(t, pod, after, key, "+  annotations:", "+    annotations:")
		annotations := object(t, decoded(t, after), "metadata", "annotations").(map[string]any)
		if annotations[key] != "true" {
			t.Errorf("the annotation is %#v", annotations[key])
		}
	})
}

func TestSetProbeHost(t *testing.T) {
	eachPod(t, func(t *testing.T, pod []byte, container string) {
		after, err := SetProbeHost(pod, container, "203.0.113.9")
		if err != nil {
			t.Fatal(err)
		}
		was := object(t, decoded(t, pod), "spec", "containers", 0).(map[string]any)
		is := object(t, decoded(t, after), "spec", "containers", 0).(map[string]any)
		asked := 0
		for _, name := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
			before, _ := was[name].(map[string]any)
			if before == nil {
				continue
			}
			asked++
			before["httpGet"].(map[string]any)["host"] = "203.0.113.9"
			if !reflect.DeepEqual(is[name], before) {
				t.Errorf("%s: %v", name, is[name])
			}
		}
		if asked == 0 {
			t.Error("the pod has no probes to look at")
		}
		again, err := SetProbeHost(after, container, "203.0.113.9")
		if err != nil || !bytes.Equal(again, after) {
			t.Errorf("the same edit again: %v", err)
		}
	})
	const pod = "spec:\n  containers:\n  - name: c\n    livenessProbe:\n      tcpSocket:\n        port: 1\n    startupProbe:\n      exec:\n        command: [x]\n"
	after, err := SetProbeHost([]byte(pod), "c", "::1")
	if want := strings.Replace(pod, "        port: 1\n", "        host: ::1\n        port: 1\n", 1); err != nil || string(after) != want {
		t.Errorf("%v\n%s", err, after)
	}
	if _, err := SetProbeHost([]byte(pod), "other", "::1"); err == nil {
		t.Error("a container that is not there")
	}
}

func TestSetProbeTCP(t *testing.T) {
	eachPod(t, func(t *testing.T, pod []byte, container string) {
		after, err := SetProbeTCP(pod, container)
		if err != nil {
			t.Fatal(err)
		}
		want := object(t, decoded(t, pod), "spec", "containers", 0).(map[string]any)
		for _, name := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
			probe, found := want[name].(map[string]any)
			if !found {
				continue
			}
			socket := maps.Clone(probe["httpGet"].(map[string]any))
			delete(socket, "path")
			delete(socket, "scheme")
			delete(probe, "httpGet")
			probe["tcpSocket"] = socket
		}
		if got := object(t, decoded(t, after), "spec", "containers", 0); !reflect.DeepEqual(got, any(want)) {
			t.Errorf("got\n%v\nwant\n%v", got, want)
		}
		checkLines(t, pod, after, "httpGet:", "tcpSocket:", "path: /", "scheme: HTTP")
		again, err := SetProbeTCP(after, container)
		if err != nil || !bytes.Equal(again, after) {
			t.Errorf("the same edit again: %v", err)
		}
	})
}

func TestProbeTCPOfOthers(t *testing.T) {
	pod := string(podOf("    livenessProbe:", "      exec:", "        command: [x]", "    readinessProbe:", "      # why", "      httpGet: # http",
		"        httpHeaders:", "        - name: a", "          value: b", "        # the port", "        port: 1 # one", "        path: /x", "      periodSeconds: 1"))
	after, err := SetProbeTCP([]byte(pod), "c")
	want := string(podOf("    livenessProbe:", "      exec:", "        command: [x]", "    readinessProbe:", "      # why", "      tcpSocket: # http",
		"        # the port", "        port: 1 # one", "      periodSeconds: 1"))
	if err != nil || string(after) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, after, want)
	}
	for found, pod := range map[string][]byte{
		"flow style":                     podOf("    livenessProbe:", "      httpGet: {port: 1}"),
		"has no port":                    podOf("    livenessProbe:", "      httpGet:", "        path: /"),
		"has both httpGet and tcpSocket": podOf("    livenessProbe:", "      httpGet:", "        port: 1", "      tcpSocket:", "        port: 1"),
		"there is no container named c":  []byte("spec: {}\n"),
	} {
		_, err := SetProbeTCP(pod, "c")
		var r *Refusal
		if !errors.As(err, &r) || !strings.Contains(r.Found, found) {
			t.Errorf("want %q, got %v", found, err)
		}
	}
}
