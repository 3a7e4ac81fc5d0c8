//go:build linux

package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// newTest is a scenario without a cluster.
func newTest(t *testing.T) *T {
	return &T{worker: &worker{runner: &runner{started: time.Now()}}, ctx: t.Context(), name: t.Name()}
}

func TestAWatcherThatDiedHasNotSeenThatNothingHappened(t *testing.T) {
	for _, row := range []struct {
		name, script string
		says         string // what the scenario fails with
		values       int
	}{
		{"it lives until it is told to stop", `echo '{}'; cat; echo '{}'`, "", 2},
		{"it ended before", `echo '{}'`, "ended before it was told to", 1},
		{"it was killed before", `echo '{}'; kill -9 $$`, "signal: killed", 1},
		{"it ends with an error", `cat; echo no such thing >&2; exit 1`, "no such thing", 0},
		{"its last value is torn", `cat; printf '{}{"URL":'`, "unexpected EOF", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newTest(t)
			b := s.background(exec.CommandContext(t.Context(), "sh", "-c", row.script))
			if strings.Contains(row.says, "before") || strings.Contains(row.says, "killed") {
				for len(b.told) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			values := 0
			b.stop(func(json.RawMessage) error { values++; return nil })
			failures := strings.Join(s.failures, "\n")
			if (failures == "") != (row.says == "") || !strings.Contains(failures, row.says) || values != row.values {
				t.Errorf("%d values, and the scenario fails with %q", values, failures)
			}
		})
	}
}

func TestRestartsAreNotCountedByOneWhoDidNotLook(t *testing.T) {
	const server = `{"Component":"kube-apiserver","PID":7,"Started":"9","Container":"c","Args":["kube-apiserver","--secure-port=6443"]}`
	for _, row := range []struct{ name, told, says string }{
		{"looked all along", server + `{"Looks":100,"Longest":30000000}`, ""},
		{"does not say so", server, "does not say that it has looked"},
		{"never looked", `{"Looks":0,"Longest":0}`, "does not say that it has looked"},
		{"was kept from it", server + `{"Looks":100,"Longest":16000000000}`, "not once for 16.0s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newTest(t)
			l := &lives{background: s.background(exec.CommandContext(t.Context(), "sh", "-c", `cat; echo "$1"`, "sh", row.told))}
			restarts := l.stop(isLive)
			failures := strings.Join(s.failures, "\n")
			if (failures == "") != (row.says == "") || !strings.Contains(failures, row.says) {
				t.Errorf("the scenario fails with %q", failures)
			}
			if want := strings.Count(row.told, apiServer+`"`); want > 0 && restarts[apiServer] != 1 {
				t.Errorf("restarts: %v", restarts)
			}
		})
	}
}

func TestEveryComponentIsCounted(t *testing.T) {
	s := newTest(t)
	s.only(map[string]int{apiServer: 1, kubelet: 1}, map[string]int{apiServer: 1, kubelet: 1}, "as wanted")
	if len(s.failures) > 0 {
		t.Errorf("as wanted: %q", s.failures)
	}
	s.only(map[string]int{apiServer: 1, controllerManager: anyTimes}, map[string]int{apiServer: 1, controllerManager: 3}, "some may")
	if len(s.failures) > 0 {
		t.Errorf("some may: %q", s.failures)
	}
	s.only(map[string]int{apiServer: 1}, map[string]int{apiServer: 1, etcd: 1, scheduler: 2}, "others too")
	if len(s.failures) != 2 {
		t.Errorf("others too: %q", s.failures)
	}
}

func TestALostLeaseExcusesOneRestartAfterALongOutage(t *testing.T) {
	want := map[string]int{apiServer: 1, controllerManager: 1}
	for _, row := range []struct {
		name     string
		restarts map[string]int
		outage   time.Duration
		failures int
	}{
		{"as wanted", map[string]int{apiServer: 1, controllerManager: 1}, 20 * time.Second, 0},
		{"both lost theirs", map[string]int{apiServer: 1, controllerManager: 2, scheduler: 1}, 20 * time.Second, 0},
		{"the API was hardly away", map[string]int{apiServer: 1, controllerManager: 2, scheduler: 1}, 7 * time.Second, 2},
		{"again and again", map[string]int{apiServer: 1, controllerManager: 1, scheduler: 2}, 20 * time.Second, 1},
		{"not at all", map[string]int{apiServer: 1}, 20 * time.Second, 1},
		{"etcd has none", map[string]int{apiServer: 1, controllerManager: 1, etcd: 1}, 20 * time.Second, 1},
	} {
		s := newTest(t)
		s.only(excused(want, row.restarts, row.outage), row.restarts, row.name)
		if len(s.failures) != row.failures {
			t.Errorf("%s: %q", row.name, s.failures)
		}
	}
}

func TestAPollerThatDidNotAskProvesNothing(t *testing.T) {
	begun := time.Now()
	every := func(from, to time.Duration, took time.Duration) (out []answer) {
		for at := from; at < to; at += max(pollEvery, took) {
			out = append(out, answer{At: begun.Add(at), Took: took})
		}
		return out
	}
	const minute = time.Minute
	for _, row := range []struct {
		name    string
		answers []answer
		says    string
	}{
		{"all along", every(200*time.Millisecond, minute, time.Millisecond), ""},
		{"all along, of one that does not answer in time", every(0, minute, pollTimeout), ""},
		{"never", nil, "nothing was asked"},
		{"at the beginning only", every(0, minute/2, time.Millisecond), "nothing was asked for 30.0s"},
		{"at the end only", every(minute/2, minute, time.Millisecond), "nothing was asked for 30.0s"},
		{"with a pause", append(every(0, minute/6, time.Millisecond), every(minute/2, minute, time.Millisecond)...), "nothing was asked for 20."},
		{"now and then", func() (out []answer) {
			for at := time.Duration(0); at < minute; at += 4 * time.Second {
				out = append(out, answer{At: begun.Add(at), Took: time.Millisecond})
			}
			return out
		}(), "only 15 requests"},
	} {
		err := covered(begun, begun.Add(minute), row.answers)
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("asked %s: %v", row.name, err)
		}
	}
}
