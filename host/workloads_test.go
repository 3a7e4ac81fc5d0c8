package host

import "testing"

func TestConfinementIsReadOffTheRuntimesWords(t *testing.T) {
	const spaces = `"namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/7/ns/ipc"},{"type":"network","path":"/proc/7/ns/net"},{"type":"mount"}]`
	for name, tt := range map[string]struct {
		info string
		want Workload
	}{
		"containerd, confined": {`{"pid":7,"config":{"linux":{"security_context":{"privileged":false}}},"runtimeSpec":{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"},` + spaces + `}}}`,
			Workload{Seccomp: true}},
		"containerd, privileged": {`{"config":{"linux":{"security_context":{"privileged":true}}},"runtimeSpec":{"linux":{` + spaces + `}}}`, Workload{Privileged: true}},
		"CRI-O, privileged":      {`{"privileged":true,"runtimeSpec":{"linux":{` + spaces + `}}}`, Workload{Privileged: true}},
		"the node's namespaces":  {`{"runtimeSpec":{"linux":{"seccomp":{},"namespaces":[{"type":"mount"}]}}}`, Workload{Seccomp: true, HostPID: true, HostIPC: true, HostNetwork: true}},
		"no words":               {``, Workload{Unread: true}},
		"other words":            {`{"pid":7}`, Workload{Unread: true}},
		"no words of this kind":  {`[1]`, Workload{Unread: true}},
	} {
		if got := confinement(tt.info); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
