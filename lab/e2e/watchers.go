//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

// background is an agent that tells what it sees until it is stopped. That nothing happened is believed of one that lived until
// then, and looked all the time.
type background struct {
	t      *T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	begun  time.Time
	told   chan []byte // all of its output, once it has ended
}

func (t *T) background(cmd *exec.Cmd) *background {
	b := &background{t: t, cmd: cmd, begun: time.Now(), told: make(chan []byte, 1)}
	var err error
	b.stdin, err = cmd.StdinPipe()
	t.need(err)
	stdout, err := cmd.StdoutPipe()
	t.need(err)
	cmd.Stderr = &b.stderr
	t.need(cmd.Start())
	go func() {
		var all bytes.Buffer
		io.Copy(&all, bufio.NewReader(stdout))
		b.told <- all.Bytes()
	}()
	t.cleanup(func() { b.stdin.Close() })
	return b
}

// stop ends it and gives what it has told, value by value.
func (b *background) stop(each func(json.RawMessage) error) {
	var told []byte
	early := false
	select {
	case told = <-b.told:
		early = true
	default:
	}
	b.stdin.Close()
	if !early {
		select {
		case told = <-b.told:
		case <-time.After(20 * time.Second):
			b.t.fatalf("a background agent did not end: %s", b.cmd)
		}
	}
	if err := errors.Join(endedWell(early, b.cmd.Wait()), values(told, each)); err != nil {
		b.t.errorf("what was watched is not known: %s: %v: %s", b.cmd, err, strings.TrimSpace(b.stderr.String()))
	}
}

// endedWell wants that an agent has ended because it was told to, and without an error.
func endedWell(early bool, err error) error {
	if early {
		return fmt.Errorf("it ended before it was told to (%v)", err)
	}
	return err
}

// values goes through JSON values. One that is torn, as the last one of an agent that was killed, is an error.
func values(told []byte, each func(json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(told))
	for {
		var raw json.RawMessage
		switch err := d.Decode(&raw); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := each(raw); err != nil {
			return err
		}
	}
}

// blindFor is how long a watcher may be kept from looking by a busy machine. What comes and goes in less is missed.
const blindFor = 15 * time.Second

// watched is what a watcher of instances says last, of itself.
type watched struct {
	Looks   int
	Longest time.Duration // between one look and the next
}

func (w watched) check() error {
	switch {
	case w.Looks == 0:
		return errors.New("it does not say that it has looked")
	case w.Longest > blindFor:
		return fmt.Errorf("it looked %d times, and not once for %s", w.Looks, seconds(w.Longest))
	}
	return nil
}

// lives counts the instances of components while something happens.
type lives struct {
	background *background
	before     map[string]bool
}

// watchLives begins to count in the first node.
func (t *T) watchLives() *lives {
	l := &lives{before: map[string]bool{}}
	for _, i := range t.instances(t.node, components...) {
		l.before[i.id()] = true
		// What else is started in a container that runs is no new life of it: flags are checked there.
		if i.Container != "" {
			l.before[i.Container] = true
		}
	}
	cmd, err := t.node.Command(t.ctx, agentPath, append([]string{"agent", "watch"}, components...)...)
	t.need(err)
	l.background = t.background(cmd)
	return l
}

// stop gives how many new instances of each component there were: as many as restarts. A program that only says its version,
// and a canary, are told apart by what they were started as.
func (l *lives) stop(counts func(instance) bool) map[string]int {
	n := map[string]int{}
	var last watched
	l.background.stop(func(raw json.RawMessage) error {
		var seen struct {
			instance
			watched
		}
		if err := json.Unmarshal(raw, &seen); err != nil {
			return err
		}
		i := seen.instance
		switch {
		case i.Component == "":
			last = seen.watched
		case !l.before[i.id()] && !l.before[i.Container] && counts(i):
			n[i.Component]++
			l.background.t.detail("a new instance: %+v", i)
		}
		return nil
	})
	if err := last.check(); err != nil {
		l.background.t.errorf("restarts were not all seen: the watcher: %v", err)
	}
	return n
}

// anyTimes is wanted of a component that may have to restart, as one that loses its lease while the API is away for long.
const anyTimes = -1

// only fails the scenario unless each component has restarted as often as is wanted, and those that are not named never.
func (t *T) only(want, restarts map[string]int, when string) {
	for _, c := range components {
		if restarts[c] != want[c] && want[c] != anyTimes {
			t.errorf("%s: %s restarted %d times, wanted %d", when, c, restarts[c], want[c])
		}
	}
}

// asked are the arguments by which a component's program is kept from starting while it judges the others.
var asked = []string{"--version", "--goaway-chance=1", "--kubeconfig=/kubectl-harden/rehearsal", "--exit-on-lock-contention=true"}

// isLive: neither a program that is asked about its flags nor a canary, which has another port, nor a component's own helper.
func isLive(i instance) bool {
	if i.Component != kubelet && i.Container == "" || slices.ContainsFunc(i.Args, func(a string) bool { return slices.Contains(asked, a) }) {
		return false
	}
	return i.Component != apiServer || slices.Contains(i.Args, "--secure-port=6443")
}

// poller asks from beside the nodes, as another machine would, or from inside one.
type poller struct {
	background *background
	urls       []string
}

func (t *T) poller(urls ...string) *poller {
	self, err := os.Executable()
	t.need(err)
	return &poller{t.background(t.cluster.CommandOutside(t.ctx, self, append([]string{"agent", "poll"}, urls...)...)), urls}
}

// readyz is the API server's, by the node's address.
func readyz(n *lab.Node) string { return "https://" + n.Address() + ":6443/readyz" }

// each ends the poller and gives its answers, in their order, once they are known to cover all of the time.
func (p *poller) each(f func(answer)) {
	b := p.background
	ended := time.Now()
	byURL := map[string][]answer{}
	b.stop(func(raw json.RawMessage) error {
		var a answer
		if err := json.Unmarshal(raw, &a); err != nil {
			return err
		}
		byURL[a.URL] = append(byURL[a.URL], a)
		f(a)
		return nil
	})
	for _, url := range p.urls {
		if err := covered(b.begun, ended, byURL[url]); err != nil {
			b.t.errorf("%s was not asked all along: %v", url, err)
		}
	}
}

// covered wants that answers to requests that were made one after the other leave no long time out.
func covered(begun, ended time.Time, answers []answer) error {
	last, longest, waited := begun, time.Duration(0), time.Duration(0)
	for _, a := range answers {
		longest, waited, last = max(longest, a.At.Sub(last)), waited+a.Took, a.At.Add(a.Took)
	}
	longest = max(longest, ended.Sub(last))
	// On a busy machine it may come to a fraction of what it would ask.
	few := int((ended.Sub(begun) - waited) / pollEvery / 8)
	switch {
	case len(answers) == 0:
		return errors.New("nothing was asked")
	case longest > blindFor:
		return fmt.Errorf("nothing was asked for %s", seconds(longest))
	case len(answers) < few:
		return fmt.Errorf("only %d requests in %s, %s of them waiting", len(answers), seconds(ended.Sub(begun)), seconds(waited))
	}
	return nil
}

// polled is what a poller has seen of one address.
type polled struct {
	asked, failed int
	// outage is the longest time without an answer, from the end of the last good one to the end of the next.
	outage time.Duration
	codes  map[int]int
}

func (p *poller) stop() map[string]*polled {
	out := map[string]*polled{}
	for _, url := range p.urls {
		out[url] = &polled{codes: map[int]int{}}
	}
	last := map[string]time.Time{}
	p.each(func(a answer) {
		seen := out[a.URL]
		if seen.asked == 0 {
			last[a.URL] = a.At
		}
		seen.asked++
		if a.Err == "" {
			seen.codes[a.Status]++
		}
		if a.Err != "" || a.Status != 200 {
			seen.failed++
			return
		}
		end := a.At.Add(a.Took)
		if gap := end.Sub(last[a.URL]); seen.failed > 0 && gap > seen.outage {
			seen.outage = gap
		}
		last[a.URL] = end
	})
	return out
}
