//go:build linux

package main

import (
	"slices"
	"strings"
	"time"
)

var rehearsalScenarios = []scenario{{
	name:   "03-refused",
	proves: "what would fail is refused in rehearsal: exit code 8, the live server untouched, all API objects the same",
	run:    refused,
}}

// refusedControls would each take the API server away, or the kubelet's settings.
var refusedControls = []string{
	"harmful-unknown-flag", "harmful-empty-audit-policy", "harmful-missing-mount", "harmful-cipher-suites",
	"harmful-admission-plugin", "harmful-probes-refused", "harmful-kubelet-field", "harmful-kubelet-limits",
}

func refused(t *T) {
	t.kubectl("wait", "-n", "kube-system", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
	before, objects := t.picture(t.node), t.objects()
	server := t.instance(t.node, apiServer)
	m := t.measure()
	var longest time.Duration
	for _, c := range refusedControls {
		t.step("%s", c)
		out := t.command(t.node, harmfulPath, "apply", "--control", c, "--yes", "--soak", "0s")
		longest = max(longest, out.took)
		if out.code != 8 {
			t.errorf("%s: wanted exit code 8: %s", c, out)
		}
		now := t.instances(t.node, apiServer)
		if !slices.ContainsFunc(now, func(i instance) bool { return i.Container == server.Container }) {
			t.errorf("%s: the live API server was restarted", c)
			t.healthy(c)
			server = t.instance(t.node, apiServer)
		}
		t.sameFiles(before, c)
		t.clean(c)
	}
	t.figure("to refuse", "at most %s", seconds(longest))
	seen := m.poll.stop()[readyz(t.node)]
	t.figure("failed requests", "%d of %d", seen.failed, seen.asked)
	t.figure("restarts", "%s", counted(m.lives.stop(isLive)))
	if d := diffMaps(objects, t.objects()); len(d) > 0 {
		t.errorf("API objects are not the same:\n%s", strings.Join(d, "\n"))
	}
}
