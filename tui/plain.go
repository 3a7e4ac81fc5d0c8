package tui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Plain is the same walk in lines and questions: nothing is drawn twice, and there are no control sequences. It ends when
// the input does; nothing is applied then that was not confirmed.
func Plain(ctx context.Context, e Engine, o Options) (Summary, error) {
	p := &plainWalk{m: NewModel(ctx, e, o), ctx: ctx, out: o.Out, lines: make(chan string)}
	p.m.theme.plain = true
	if p.out == nil {
		p.out = io.Discard
	}
	if o.In != nil {
		go feed(ctx, o.In, p.lines)
	} else {
		close(p.lines)
	}
	err := p.walk()
	if errors.Is(err, errQuit) {
		err = nil
	}
	return p.m.summary, err
}

// errQuit ends the walk: by the operator's word, the end of the input, or the end of the context.
var errQuit = errors.New("quit")

type plainWalk struct {
	m     *Model
	ctx   context.Context
	out   io.Writer
	lines chan string
	err   error // of the first write that failed
}

// feed reads lines until the input or the context ends. A read that blocks is left behind.
func feed(ctx context.Context, in io.Reader, lines chan<- string) {
	defer close(lines)
	s := bufio.NewScanner(in)
	for s.Scan() {
		select {
		case lines <- s.Text():
		case <-ctx.Done():
			return
		}
	}
}

// say prints a sentence, broken between words.
func (p *plainWalk) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	said := strings.TrimLeft(text, " ")
	indent := len(text) - len(said)
	for _, l := range p.m.theme.wrap(said, p.m.width-indent) {
		p.line(spaces(indent) + l)
	}
}

// line prints a line as it is.
func (p *plainWalk) line(text string) {
	text = ansi.Strip(text)
	if _, err := io.WriteString(p.out, strings.TrimRight(text, " ")+"\n"); err != nil && p.err == nil {
		p.err = fmt.Errorf("writing to the terminal: %w", err)
	}
}

// tell prints a text that is written for the screen.
func (p *plainWalk) tell(write func(*doc)) {
	d := newDoc(p.m.theme, p.m.width)
	write(d)
	for _, l := range d.lines {
		p.line(l)
	}
}

// ask prints a question and takes one line.
func (p *plainWalk) ask(question string) (string, error) {
	if p.err != nil {
		return "", p.err
	}
	p.say("%s", question)
	select {
	case l, ok := <-p.lines:
		if !ok {
			return "", errQuit
		}
		return strings.TrimSpace(l), nil
	case <-p.ctx.Done():
		return "", errQuit
	}
}

// meanings of the answers, for those who ask.
var meanings = map[string]string{
	"walk": "walk through everything that can be changed, one control after the other", "list": "list all controls with their verdicts",
	"plan": "review all that is chosen, with its exact diff, and apply it", "history": "what was done, where its backup is, undo",
	"save": "save the choices to a file", "quit": "leave; what is not applied is not done", "confirm": "keep what waits for that",
	"choose": "put this control into the plan", "leave out": "take this control out of the plan", "diff": "the exact diff of this control alone",
	"options": "remedy and options of this control", "accept unknown": "take on your word what is unknown of this control",
	"next": "go on to the next control", "back": "back to the areas",
}

// option is an answer: its whole word or its first letter. At every such question one can quit, and ask what the answers mean.
func (p *plainWalk) option(question string, fallback string, words ...string) (string, error) {
	if !slices.Contains(words, "quit") {
		words = append(words, "quit")
	}
	var offered []string
	for _, w := range words {
		offered = append(offered, fmt.Sprintf("%s (%s)", w, w[:1]))
	}
	offered = append(offered, "help (?)")
	for {
		got, err := p.ask(fmt.Sprintf("%s %s. Enter alone: %s.", question, strings.Join(offered, ", "), fallback))
		if err != nil {
			return "", err
		}
		switch {
		case got == "":
			return fallback, nil
		case got == "?" || strings.EqualFold(got, "help"):
			p.tell(func(d *doc) {
				for _, w := range words {
					d.pair(w, 16, meanings[w])
				}
			})
			continue
		}
		for _, w := range words {
			if strings.EqualFold(got, w) || strings.EqualFold(got, w[:1]) {
				return w, nil
			}
		}
		p.say("%s is none of them.", p.m.theme.inert(got))
	}
}

func (p *plainWalk) walk() error {
	m := p.m
	p.say("kubectl-harden. It looks only, until you have seen a diff and typed this node's name.")
	if m.opts.Sandbox {
		p.say("SANDBOX: nothing here is real.")
	}
	if err := p.read(); err != nil {
		return err
	}
	p.standing()
	for {
		p.areas()
		words := []string{"walk", "list", "plan", "history", "save", "quit"}
		if p.m.standing.waits() {
			words = append([]string{"confirm"}, words...)
		}
		todo, err := p.option("What next?", "walk", words...)
		if err != nil {
			return err
		}
		switch todo {
		case "confirm":
			err = p.confirm()
		case "walk":
			err = p.controls()
		case "list":
			p.list()
		case "plan":
			err = p.plan()
		case "history":
			err = p.history()
		case "save":
			err = p.save()
		case "quit":
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (p *plainWalk) read() error {
	m := p.m
	p.say("Reading this node.")
	facts, err := m.engine.Facts(p.ctx)
	if err != nil {
		return err
	}
	m.learn(facts, m.engine.Assess(facts))
	id := facts.Identity
	if harden.NotANode(facts) {
		p.say("This machine is no Kubernetes node.")
		p.tell(func(d *doc) { m.describeNotANode(d) })
		return errQuit
	}
	p.say("Node %s, %s.", m.theme.inert(id.Node), m.theme.inert(id.KubernetesVersion))
	p.say("Reading the cluster.")
	slow, err := m.engine.SlowFacts(p.ctx, facts)
	if slow != nil {
		m.learn(slow, m.engine.Assess(slow))
	}
	if err != nil {
		p.say("The cluster could not be read: %s", m.theme.inert(err.Error()))
	}
	m.preselect(true)
	p.said()
	if why, only := harden.AssessOnly(m.facts); only {
		p.say("%s", m.theme.msg(why))
	}
	return nil
}

func (p *plainWalk) areas() {
	p.say("")
	for i, a := range p.m.areas {
		tally, _ := p.m.tally(i)
		var parts []string
		for _, s := range harden.Statuses {
			if tally[s] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", tally[s], word(s)))
			}
		}
		p.say("%s: %s", p.m.theme.inert(a.Title), strings.Join(parts, ", "))
	}
	p.say("Chosen: %d.", len(p.m.choices))
}

func (p *plainWalk) list() {
	for _, a := range p.m.areas {
		p.say("")
		p.say("%s", p.m.theme.inert(a.Title))
		for _, c := range a.Controls {
			f, _ := p.m.finding(c.ID)
			chosen := ""
			if p.m.isChosen(c) {
				chosen = ", chosen"
			}
			p.say("  %s: %s (%s%s)", word(f.Status), p.m.theme.inert(c.Title), c.ID, chosen)
		}
	}
}

// controls walks through everything that can be changed.
func (p *plainWalk) controls() error {
	var open []harden.Control
	for _, a := range p.m.areas {
		for _, c := range a.Controls {
			if p.m.choosable(c) == "" {
				open = append(open, c)
			}
		}
	}
	if len(open) == 0 {
		p.say("There is nothing that can be changed here.")
	}
	for i, c := range open {
		p.say("")
		p.say("Control %d of %d: %s (%s)", i+1, len(open), p.m.theme.inert(c.Title), c.ID)
		p.tell(func(d *doc) { p.m.describe(d, c) })
		on, err := p.control(c)
		if err != nil || !on {
			return err
		}
	}
	return nil
}

// control asks what to do with one; on is false to leave the walk through them.
func (p *plainWalk) control(c harden.Control) (on bool, err error) {
	for {
		choose := "choose"
		if p.m.isChosen(c) {
			choose = "leave out"
		}
		words := []string{choose, "diff", "options"}
		if p.m.unknownOf(c) {
			words = append(words, "accept unknown")
		}
		todo, err := p.option("This control:", "next", append(words, "next", "back")...)
		if err != nil {
			return false, err
		}
		switch todo {
		case "quit":
			return false, errQuit
		case "diff":
			err = p.diff(c)
		case "options":
			err = p.options(c)
		case "accept unknown":
			p.m.accept(c)
		case "next":
			return true, nil
		case "back":
			return false, nil
		default:
			p.m.toggle(c)
		}
		if err != nil {
			return false, err
		}
		p.said()
	}
}

// said prints what the model has to say.
func (p *plainWalk) said() {
	if p.m.status != "" {
		p.say("%s", p.m.status)
		p.m.say("")
	}
}

func (p *plainWalk) options(c harden.Control) error {
	var ids []string
	for _, r := range p.m.remedies(c) {
		p.say("remedy %s: %s", r.ID, p.m.theme.msg(r.Title))
		ids = append(ids, r.ID)
	}
	if len(ids) > 1 {
		got, err := p.ask("Which remedy? Enter alone leaves it as it is.")
		if err != nil {
			return err
		}
		if r, ok := c.Remedy(got); ok {
			p.m.set(harden.Choice{Control: c.ID, Remedy: r.ID, Named: true}, c.ID+" by "+r.ID, r.Risk)
			p.said()
		} else if got != "" {
			p.say("%s is none of them.", p.m.theme.inert(got))
		}
	}
	r, _ := p.m.remedy(c)
	for _, o := range r.Options {
		for {
			got, err := p.ask(fmt.Sprintf("%s: %s. Now %s. Enter alone leaves it.", o.Name, p.m.theme.msg(o.Title), p.m.theme.inert(p.m.option(c, o)+unit(o))))
			if err != nil {
				return err
			}
			if got == "" {
				break
			}
			if err := o.Accepts(got); err != nil {
				p.say("%s", p.m.theme.inert(err.Error()))
				continue
			}
			p.m.setOption(c, o, got)
			break
		}
	}
	return nil
}
