package host

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A watched unit is killed, not asked, where it is silent: a stopped process hears nothing else.
func TestTransientWithAWatchdog(t *testing.T) {
	u := Transient{
		Name: "x.service", About: "x", Argv: []string{"/bin/x", "$HOME"}, Watchdog: 10 * time.Second, StopTimeout: time.Second,
		After: []string{"/bin/sh", "-c", `kill -CONT "$1"`, "sh", "7"},
	}
	got := map[string]string{}
	for _, p := range u.properties() {
		got[p.Name] = fmt.Sprintf("%q", p.Value.Value())
	}
	for name, want := range map[string]string{
		"Type": `"notify"`, "ExecStopPost": "/bin/sh",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s is %q", name, got[name])
		}
	}
	if after := got["ExecStopPost"]; !strings.Contains(after, "/bin/sh") || !strings.Contains(after, `$$1`) || strings.Contains(got["ExecStart"], `"$HOME"`) {
		t.Errorf("ExecStopPost is %q, ExecStart %q", after, got["ExecStart"])
	}
	options := u.options()
	for _, want := range []string{
		"--service-type=notify", "--property=WatchdogSec=10000ms", "--property=WatchdogSignal=SIGKILL",
		`--property=ExecStopPost=/bin/sh -c "kill -CONT \"$$1\"" sh 7`,
	} {
		if !slices.Contains(options, want) {
			t.Errorf("%q is not among %q", want, options)
		}
	}
	plain := Transient{Name: "x.service", Argv: []string{"/bin/x"}}
	for _, p := range plain.properties() {
		if strings.HasPrefix(p.Name, "Watchdog") || p.Name == "ExecStopPost" {
			t.Errorf("a plain one has %s", p.Name)
		}
	}
}
