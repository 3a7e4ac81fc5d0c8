//go:build linux

package main

import (
	"fmt"
	"strings"
)

var profileScenarios = []scenario{{
	name:   "02-profiles",
	proves: "the controller manager and the scheduler serve no profiles, asked of themselves before, after and when all is undone",
	run:    profiles,
}}

// adminGet asks a component of the node for a path as the administrator.
const adminGet = `
user() { sed -n "s/^ *client-$1-data: //p" /etc/kubernetes/admin.conf | base64 -d; }
user certificate >/root/admin.crt; user key >/root/admin.key
curl -sk -o /dev/null -w '%{http_code}' --cert /root/admin.crt --key /root/admin.key https://127.0.0.1:$1$2
rm /root/admin.crt /root/admin.key`

func profiles(t *T) {
	before := t.picture(t.node)
	asked := func(when, want string) {
		for _, port := range []string{"10257", "10259"} {
			if got := t.shell(adminGet, port, "/debug/pprof/"); got != want {
				t.errorf("%s: port %s answers %s, wanted %s", when, port, got, want)
			}
		}
	}
	asked("before", "200")
	lives := t.watchLives()
	out := t.must(0, "apply", "--control", "controllermanager-profiling,scheduler-profiling", "--yes", "--soak", "2s")
	t.only(map[string]int{controllerManager: 1, scheduler: 1}, lives.stop(isLive), "apply")
	for _, c := range []string{"controllermanager", "scheduler"} {
		if said := fmt.Sprintf("proven for %s-profiling", c); !strings.Contains(strings.Join(strings.Fields(out.stdout+out.stderr), " "), said) {
			t.errorf("it does not say %q: %s", said, out)
		}
	}
	t.figure("apply", "%s", seconds(out.took))
	asked("after", "404")
	t.must(0, "rollback", "--yes")
	t.healthy("after the undo")
	asked("after the undo", "200")
	t.same(before, "after the undo")
	t.clean("after the undo")
}
