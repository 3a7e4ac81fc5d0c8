package tui

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

func (p *plainWalk) diff(c harden.Control) error {
	plans, held, err := p.m.preview(p.ctx, p.m.facts, p.m.choice(c))
	if err != nil {
		p.m.warn(inWords(err))
		return nil
	}
	for _, k := range held {
		p.say("%s", p.m.theme.heldBack(k))
	}
	p.changes(targets(plans), skipped(plans))
	return nil
}

// changes prints every line that would change, with the lines around.
func (p *plainWalk) changes(ts []target, skips []harden.Skip) {
	t := p.m.theme
	if len(ts) == 0 && len(skips) == 0 {
		p.say(noChange)
	}
	for _, s := range skips {
		p.say("Left out: %s", t.left(s))
	}
	rows := &diffRows{t: t}
	for _, f := range ts {
		p.say("")
		p.say("%s", t.inert(f.name))
		for _, n := range f.notes {
			p.say("  %s", t.inert(n))
		}
		if f.hidden != "" {
			p.say("  %s", t.inert(f.hidden))
		}
		for _, h := range f.short.Hunks {
			p.say("Lines %d to %d, %s, asked by %s:", h.NewStart, h.NewStart+max(h.NewLines-1, 0), t.inert(h.Section), strings.Join(f.asked(h.Lines), ", "))
			for i := range h.Lines {
				text, _ := rows.show(&h.Lines[i], f.mixed)
				p.line(string(h.Lines[i].Op) + " " + text)
				if h.Lines[i].EOL == "" {
					p.say(`\ No newline at end of file`)
				}
			}
		}
	}
}

func (p *plainWalk) save() error {
	choices := p.m.chosen()
	if len(choices) == 0 {
		p.say("Nothing is chosen yet.")
		return nil
	}
	path, err := p.ask("Write the choices to which file? Enter alone: " + p.m.theme.inert(p.m.opts.ChoicesFile))
	if err != nil {
		return err
	}
	if path == "" {
		path = p.m.opts.ChoicesFile
	}
	if err := p.m.engine.SaveChoices(path, choices); err != nil {
		p.say("%s", p.m.theme.inert(err.Error()))
		return nil
	}
	p.m.summary.ChoicesFile = path
	p.say("Choices written to %s", p.m.theme.inert(path))
	return nil
}

func (p *plainWalk) plan() error {
	choices := p.m.chosen()
	if len(choices) == 0 {
		p.say("Nothing is chosen yet: walk through the controls and choose.")
		return nil
	}
	plans, err := p.m.engine.Plan(p.ctx, p.m.facts, choices)
	if err != nil {
		p.say("%s", p.m.theme.inert(inWords(err)))
		return nil
	}
	return p.review(p.m.newReview("", plans))
}

// review shows a plan and all of its diff, and applies it when the node's name is typed.
func (p *plainWalk) review(s *reviewScreen) error {
	m := p.m
	p.say("")
	p.tell(func(d *doc) { s.describe(m, d) })
	if len(s.targets) > 0 {
		p.changes(s.targets, nil)
	}
	p.say("")
	if ids := s.unrehearsed(); len(ids) > 0 {
		got, err := p.ask(fmt.Sprintf("To take on your word what is not rehearsed, type %s. Anything else cancels.", strings.Join(ids, ", ")))
		if err != nil {
			return err
		}
		if got == strings.Join(ids, ", ") {
			s.accept(m)
			p.say("Accepted on your word: %s.", strings.Join(ids, ", "))
		}
	}
	if why := s.obstacle(m); why != "" {
		p.say("Not applied: %s", m.theme.inert(why))
		return nil
	}
	s.seen = true
	node := m.facts.Identity.Node
	got, err := p.ask(fmt.Sprintf("To do this, type the node's name: %s. Anything else cancels.", m.theme.inert(node)))
	if err != nil {
		return err
	}
	if got != node {
		p.say("Cancelled: nothing was changed.")
		return nil
	}
	return p.apply(s, confirmation(got, s))
}

func (p *plainWalk) apply(s *reviewScreen, c Confirmation) error {
	m := p.m
	ctx := m.newRun(s)
	r := m.run
	go r.work(ctx, m.engine, c)
	for {
		msg := r.take()
		for _, e := range msg.events {
			_, _, text := m.event(e)
			p.say("%s: %s", e.Kind, m.theme.inert(text))
		}
		if !msg.ended {
			continue
		}
		r.over = true
		r.stop()
		for _, a := range m.finish(r, msg.results) {
			p.say("")
			p.say("%s", a.where+outcome(a.Result.Outcome, a.Undoes != ""))
			p.tell(func(d *doc) {
				if !a.Result.Message.IsZero() {
					d.text(2, a.Result.Message.String())
				}
				for _, k := range a.Left {
					d.text(2, "Not undone: "+k.Reason.String())
				}
				describeResult(d, m.opts, a)
			})
		}
		if p.ctx.Err() != nil {
			return errQuit
		}
		p.standing()
		return p.read()
	}
}

func (p *plainWalk) history() error {
	items, err := p.m.engine.History(p.ctx)
	if err != nil {
		p.say("%s", p.m.theme.inert(err.Error()))
		return nil
	}
	if len(items) == 0 {
		p.say("Nothing was applied on this node yet.")
		return nil
	}
	for i, it := range items {
		p.say("%d: %s, %s, %s, %s", i+1, p.m.theme.inert(it.ID), p.m.clock(it.Started), p.m.theme.msg(it.State()), p.m.theme.inert(what(it)))
		p.say("   backup %s", p.m.theme.inert(it.Script))
	}
	n, err := p.number("Which one is to be undone? Its number; enter alone goes back.", len(items))
	if err != nil || n == 0 {
		return err
	}
	it := items[n-1]
	if !undoable(it) {
		p.tell(func(d *doc) { p.m.wayBack(d, it) })
		p.say("Nothing of it is to be undone from here: %s.", p.m.theme.msg(it.State()))
		return nil
	}
	controls := slices.DeleteFunc(slices.Clone(it.Controls), func(c string) bool { return slices.Contains(it.UndoneControls, c) })
	p.say("1: the whole transaction")
	for i, c := range controls {
		p.say("%d: only %s", i+2, p.m.theme.inert(c))
	}
	n, err = p.number("What of it? The diff is shown first. Enter alone goes back.", 1+len(controls))
	if err != nil || n == 0 {
		return err
	}
	control, name := "", it.ID
	if n > 1 {
		control = controls[n-2]
		name = control + " in " + it.ID
	}
	plans, err := p.m.engine.Undo(p.ctx, it.ID, control)
	if err != nil {
		p.say("%s", p.m.theme.inert(inWords(err)))
		return nil
	}
	return p.review(p.m.newReview(name, plans))
}

// number asks for one from 1 to most; 0 is none.
func (p *plainWalk) number(question string, most int) (int, error) {
	for {
		got, err := p.ask(question)
		if err != nil || got == "" {
			return 0, err
		}
		if n, err := strconv.Atoi(got); err == nil && n >= 1 && n <= most {
			return n, nil
		}
		p.say("%s is not a number from 1 to %d.", p.m.theme.inert(got), most)
	}
}
