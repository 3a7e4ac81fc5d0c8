//go:build linux

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

// scenario is one promise and the way to see it kept.
type scenario struct {
	name, proves string
	// nodes of the cluster that it wants; nil: one control-plane node.
	nodes []string
	// kubernetes is the version that its cluster is started with; empty: the one that was asked for.
	kubernetes string
	// alone: it measures, and nothing else is done meanwhile.
	alone bool
	// long says why it is left out where neither -full nor -run asks for it.
	long string
	run  func(*T)
}

// limit is how long a scenario may take. Those of the usual set take minutes.
func (s scenario) limit() time.Duration {
	if s.long != "" {
		return 4 * time.Hour
	}
	return 12 * time.Minute
}

// scenarios are all, by their numbers.
func scenarios() []scenario {
	return slices.Concat(walkScenarios, restartScenarios, profileScenarios, recommendedScenarios, handoverScenarios, rehearsalScenarios, failureScenarios, switchScenarios, encryptionScenarios, sharingScenarios, certificateScenarios, upgradeScenarios, killScenarios, editScenarios, memberScenarios, elsewhereScenarios, mixedScenarios, terminalScenarios, badInputScenarios, firewallScenarios, everythingScenarios, scannerScenarios, stateFolderScenarios, quorumScenarios)
}

// verdict is what became of a scenario.
type verdict string

const (
	passed      verdict = "pass"
	passedAgain verdict = "pass (2nd try)"
	failed      verdict = "FAIL"
	// notRun: no cluster was to be had for it.
	notRun verdict = "NOT RUN"
	// leftOut is nobody's failure: it was not asked for.
	leftOut verdict = "left out"
	// notBegun had no time left.
	notBegun verdict = "NOT BEGUN"
)

// result is a line of the table.
type result struct {
	scenario scenario
	verdict  verdict
	took     time.Duration
	figures  []figure
	why      []string
	logs     string
}

// runner goes through scenarios.
type runner struct {
	options
	started  time.Time
	products products
	had      atomic.Bool // a cluster, by any worker
	mu       sync.Mutex  // of what is printed
}

// worker has one cluster at a time for its scenarios.
type worker struct {
	*runner
	name     string
	cluster  *lab.Cluster
	nodes    []string
	pristine bool // nothing was done in the cluster since it started
}

func (r *runner) run(ctx context.Context, chosen []scenario) int {
	r.say("seed %d: the same choices again with -seed %d", r.seed, r.seed)
	ctx, stop := r.deadline(ctx)
	defer stop()
	buildErr := r.build(ctx)
	results := make([]result, 0, len(chosen))
	var alone, together []scenario
	for _, s := range chosen {
		switch {
		case r.leavesOut(s):
			results = append(results, result{scenario: s, verdict: leftOut, why: []string{s.long + ": -full, or -run " + s.name}})
		case s.alone:
			alone = append(alone, s)
		default:
			together = append(together, s)
		}
	}
	var mu sync.Mutex
	work := func(w *worker, queue <-chan scenario) {
		for s := range queue {
			res, over := r.untried(ctx, s, buildErr)
			if !over {
				res = w.tried(ctx, s)
			}
			mu.Lock()
			results = append(results, res)
			mu.Unlock()
		}
	}
	workers := make([]*worker, max(1, r.parallel))
	for i := range workers {
		workers[i] = &worker{runner: r, name: r.name}
		if i > 0 {
			workers[i].name = fmt.Sprint(r.name, i+1)
		}
	}
	// What is measured is measured with nothing beside it.
	work(workers[0], queue(alone))
	// Those of one kind of cluster one after the other: starting another one takes longer than resetting.
	slices.SortStableFunc(together, func(a, b scenario) int {
		return cmp.Or(cmp.Compare(len(a.nodes), len(b.nodes)), cmp.Compare(a.kubernetes, b.kubernetes))
	})
	rest := queue(together)
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() { work(w, rest) })
	}
	wg.Wait()
	for _, w := range workers {
		if r.keep {
			break
		}
		if err := w.down(); err != nil {
			r.say("taking the cluster down: %v", err)
			results = append(results, result{scenario: scenario{name: "nothing is left of the cluster"}, verdict: failed, why: []string{err.Error()}})
		}
	}
	slices.SortStableFunc(results, func(a, b result) int { return strings.Compare(a.scenario.name, b.scenario.name) })
	results = settled(results, r.had.Load())
	printTable(os.Stdout, results, time.Since(r.started))
	code := exitCode(results)
	if r.summary != "" {
		if err := os.WriteFile(r.summary, []byte(summed(results)), 0o644); err != nil {
			r.say("writing what it came to: %v", err)
			code = max(code, 1)
		}
	}
	return code
}

// settled are the results once it is known whether a cluster could be had at all: where one was, another that was not is no
// shortcoming of the machine.
func settled(results []result, had bool) []result {
	for i := range results {
		if had && results[i].verdict == notRun {
			results[i].verdict = failed
		}
	}
	return results
}

// exitNotRun says that nothing failed, and that nothing could be run: no cluster was to be had on this machine.
const exitNotRun = 3

// exitCode is 0 only where something has passed, and nothing has not but what was not begun or not asked for.
func exitCode(results []result) int {
	has := func(vs ...verdict) bool {
		return slices.ContainsFunc(results, func(r result) bool { return slices.Contains(vs, r.verdict) })
	}
	switch {
	case has(failed):
		return 1
	case has(passed, passedAgain) && !has(notRun):
		return 0
	case has(notRun) && !has(passed, passedAgain):
		return exitNotRun
	}
	return 1
}

// untried is the result of a scenario that cannot be tried any more, if so. That the product cannot be built, or that the time was
// over, is a failure.
func (r *runner) untried(ctx context.Context, s scenario, buildErr error) (result, bool) {
	switch {
	case buildErr != nil:
		return result{scenario: s, verdict: failed, why: []string{buildErr.Error()}}, true
	case ctx.Err() != nil:
		return result{scenario: s, verdict: failed, why: []string{context.Cause(ctx).Error()}}, true
	case r.beginWithin != 0 && time.Since(r.started) > r.beginWithin:
		return result{scenario: s, verdict: notBegun, why: []string{fmt.Sprintf("more than %s had gone by, builds included", r.beginWithin)}}, true
	}
	return result{}, false
}

// leavesOut is true of a long scenario that nobody has asked for.
func (r *runner) leavesOut(s scenario) bool { return s.long != "" && !r.full && r.only.String() == "" }

func queue(scenarios []scenario) <-chan scenario {
	q := make(chan scenario, len(scenarios))
	for _, s := range scenarios {
		q <- s
	}
	close(q)
	return q
}

// deadline is that of the whole run, where it has one.
func (r *runner) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.within == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, r.within, fmt.Errorf("the time for all scenarios was over after %s", r.within))
}

// tried runs a scenario, and once more where it failed and that was asked for. Why the first try failed is told either way.
func (w *worker) tried(ctx context.Context, s scenario) result {
	first := w.one(ctx, s, s.name)
	if first.verdict == passed || !w.retry || ctx.Err() != nil {
		return first
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < first.took {
		first.why = append(first.why, "no time was left for another try")
		return first
	}
	w.say("%s: another try", s.name)
	again := w.one(ctx, s, s.name+"-2nd-try")
	return first.after(again)
}

// after is the first try's result with another's after it. What has failed once stays so unless the other try has passed.
func (first result) after(again result) result {
	for i, why := range first.why {
		first.why[i] = "1st try: " + why
	}
	for _, why := range again.why {
		first.why = append(first.why, "2nd try: "+why)
	}
	switch {
	case again.verdict == passed:
		again.verdict, again.logs = passedAgain, first.logs
	case first.verdict == failed:
		again.verdict, again.logs = failed, cmp.Or(again.logs, first.logs)
	}
	again.why = first.why
	return again
}

// one runs a scenario on a pristine cluster of its kind. Its logs are kept by a name.
func (w *worker) one(ctx context.Context, s scenario, logs string) result {
	w.say("%s: %s", s.name, s.proves)
	start := time.Now()
	if err := w.ready(ctx, s); err != nil {
		res := result{scenario: s, verdict: withoutCluster(ctx, err), took: time.Since(start), why: []string{err.Error()}}
		w.say("%s: %s: %v", s.name, res.verdict, err)
		return res
	}
	w.pristine = false
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit(), fmt.Errorf("it was not over after %s", s.limit()))
	defer cancel()
	start = time.Now()
	t := &T{worker: w, ctx: ctx, name: s.name, logsName: logs, started: start, node: w.cluster.Nodes()[0]}
	res := result{scenario: s, verdict: passed}
	t.do(func(t *T) {
		// Before what it defers is done: that takes away what may explain a failure.
		defer func() {
			if len(t.failures) > 0 {
				res.logs = t.keepLogs()
			}
		}()
		s.run(t)
	})
	res.took, res.figures, res.why = time.Since(start), t.figures, t.failures
	if len(t.failures) > 0 {
		res.verdict = failed
		if ctx.Err() != nil {
			// What else is said to have failed may be no more than that.
			res.why = append([]string{context.Cause(ctx).Error()}, res.why...)
		}
	}
	w.say("%s: %s in %s", s.name, res.verdict, seconds(res.took))
	return res
}

// noCluster is an error that kept a cluster from starting, before anything of the product was in it.
type noCluster struct{ error }

// withoutCluster is the verdict on a scenario whose cluster was not to be had. That the time was over is no excuse.
func withoutCluster(ctx context.Context, err error) verdict {
	var none noCluster
	if ctx.Err() == nil && errors.As(err, &none) {
		return notRun
	}
	return failed
}

// ready makes the cluster one of the scenario's kind, as new, with the product on each node.
func (w *worker) ready(ctx context.Context, s scenario) error {
	nodes := s.nodes
	if len(nodes) == 0 {
		nodes = []string{"cp1"}
	}
	version := cmp.Or(s.kubernetes, w.kubernetes, lab.Versions()[0])
	if w.cluster == nil {
		w.adopt(version, nodes)
	}
	switch {
	case w.cluster == nil || !isVersion(w.cluster.Version(), version) || !slices.Equal(nodes, w.nodes):
		if err := w.down(); err != nil {
			return err
		}
		c, err := lab.Start(ctx, w.config(version, nodes))
		if err != nil {
			return noCluster{err}
		}
		w.cluster, w.nodes = c, nodes
		w.had.Store(true)
	case !w.pristine:
		if err := w.cluster.Reset(ctx); err != nil {
			// What half a reset has left is of no use.
			w.cluster = nil
			return err
		}
	}
	w.pristine = true
	return w.installProducts(ctx)
}

func (w *worker) installProducts(ctx context.Context) error {
	for _, n := range w.cluster.Nodes() {
		if err := w.products.install(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// reset makes the cluster as new in the middle of a scenario.
func (t *T) reset() {
	t.step("the cluster as new")
	t.need(t.cluster.Reset(t.ctx))
	t.need(t.installProducts(t.ctx))
}

// adopt takes over a cluster that an earlier run has kept, if it is the one that is wanted.
func (w *worker) adopt(version string, nodes []string) {
	c, err := lab.Open(w.config("", nil))
	if err != nil || !isVersion(c.Version(), version) {
		return
	}
	var have []string
	for _, n := range c.Nodes() {
		have = append(have, n.Name())
	}
	if slices.Equal(have, nodes) {
		w.cluster, w.nodes, w.pristine = c, nodes, false
		w.had.Store(true)
	}
}

// isVersion says whether a version, as v1.37.2, is the one that is meant by 1.37 or v1.37.2.
func isVersion(version, meant string) bool {
	meant = "v" + strings.TrimPrefix(meant, "v")
	return version == meant || strings.HasPrefix(version, meant+".")
}

func (w *worker) config(version string, nodes []string) lab.Config {
	return lab.Config{Name: w.name, Kubernetes: version, Nodes: nodes, Log: &prefixed{w: w}}
}

// down also removes what an earlier run left.
func (w *worker) down() error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	w.cluster = nil
	return lab.Down(ctx, w.config("", nil))
}

// say prints a line of progress.
func (r *runner) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Printf("%7s  %s\n", time.Since(r.started).Round(time.Second), fmt.Sprintf(format, args...))
}

// prefixed prints the lab's progress as ours.
type prefixed struct {
	w    *worker
	part string
}

func (p *prefixed) Write(b []byte) (int, error) {
	lines := strings.Split(p.part+string(b), "\n")
	p.part = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		// Beginnings are of interest where something takes long, and then it says so.
		if !strings.HasSuffix(line, " ...") {
			p.w.say("%s: %s", p.w.name, line)
		}
	}
	return len(b), nil
}

// keepLogs writes down what may say why a scenario failed, and gives the folder.
func (t *T) keepLogs() string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	dir := filepath.Join(t.logs, t.logsName)
	keep := func(name string, data []byte, err error) {
		if err != nil {
			data = append(data, "\n"+err.Error()...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.say("keeping %s: %v", name, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.say("%v", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.say("%v", err)
		return ""
	}
	keep("scenario.log", []byte(t.log.String()), nil)
	for _, n := range t.cluster.Nodes() {
		journal, err := n.Journal(ctx)
		keep(n.Name()+"-journal.log", journal, err)
		logs, err := n.PodLogs(ctx)
		keep(n.Name()+"-pods.log", logs, err)
		state, err := n.Run(ctx, "tar", "-C", stateDir, "-cf", "-", ".")
		keep(n.Name()+"-transactions.tar", state, err)
	}
	t.step("kept: %s", dir)
	return dir
}
