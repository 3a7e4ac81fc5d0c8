//go:build linux

package main

import (
	"encoding/json"
	"strings"
	"time"
)

var memberScenarios = []scenario{{
	name:   "12-worker",
	proves: "on a worker node only what concerns it is offered, applied and undone",
	nodes:  []string{"cp1", "w1"},
	run:    onWorker,
}}

// assessment is what assess -o json says, as far as it is compared.
type assessment struct {
	Findings []struct{ Control, Area, Status string }
}

func onWorker(t *T) {
	w := t.cluster.Nodes()[1]
	before := t.picture(w)
	out := t.command(w, productPath, "assess", "-o", "json")
	if out.code != 0 {
		t.fatalf("assess on a worker: %s", out)
	}
	var seen assessment
	t.need(json.Unmarshal([]byte(out.stdout), &seen))
	failing := 0
	for _, f := range seen.Findings {
		switch {
		case f.Area == "apiserver" || f.Area == "audit":
			if f.Status != "notApplicable" {
				t.errorf("a worker has no API server, and %s is %s", f.Control, f.Status)
			}
		case f.Area == "kubelet" && f.Status == "fail":
			failing++
		}
	}
	if failing == 0 {
		t.errorf("nothing of the kubelet fails: %s", out)
	}

	start := time.Now()
	applied := t.command(w, productPath, "apply", "--all", "--yes", "--soak", "5s")
	if applied.code != 0 {
		t.fatalf("apply on a worker: %s", applied)
	}
	t.figure("apply", "%s", seconds(applied.took))
	for _, d := range before.fileDifferences(t.picture(w)) {
		if !strings.HasPrefix(d, "/var/lib/kubelet/") && !strings.HasPrefix(d, "/etc/sysctl.d") {
			t.errorf("not a worker's: %s", d)
		}
	}
	t.within(time.Minute, "the worker is Ready, by a new heartbeat", func() (bool, string) {
		ready, at := t.readyOf(w.Name())
		return ready && at.After(start), at.String()
	})
	undone := t.command(w, productPath, "rollback", "--yes")
	if undone.code != 0 {
		t.errorf("rollback on a worker: %s", undone)
	}
	t.figure("undo", "%s", seconds(undone.took))
	t.healthy("after the undo")
	if d := before.differences(t.picture(w)); len(d) > 0 {
		t.errorf("after the undo: not as before:\n%s", strings.Join(d, "\n"))
	}
	for _, l := range t.leftovers(w) {
		t.errorf("left behind: %s", l)
	}
}
