package tui

import "kubectl-harden.io/kubectl-harden/harden"

// standing looks at what stands open and says it.
func (p *plainWalk) standing() {
	m := p.m
	standing, err := m.engine.Standing(p.ctx)
	if err != nil {
		p.say("%s", m.theme.inert(err.Error()))
		return
	}
	m.standing, m.stoodAt = standing, m.opts.Now()
	if standing == nil {
		return
	}
	s := &followScreen{standing: *standing, read: m.stoodAt}
	if standing.Transaction != "" {
		s.events, err = m.engine.Events(p.ctx, standing.Transaction)
		if err != nil {
			s.trouble = err.Error()
		}
	}
	p.say("")
	title, _ := s.title(m)
	p.say("%s", title)
	p.tell(func(d *doc) { s.describe(m, d) })
	if s.trouble != "" {
		p.say("%s", m.theme.inert(s.trouble))
	}
}

// confirm keeps what waits.
func (p *plainWalk) confirm() error {
	m := p.m
	res := m.engine.Confirm(p.ctx, m.standing.Transaction)
	p.say("")
	if res.Outcome != harden.OutcomeApplied {
		p.say("%s", m.theme.msg(res.Message))
		p.standing()
		return nil
	}
	m.settled(m.standing.Transaction, res)
	m.standing = nil
	p.say("%s", outcome(res.Outcome, false))
	p.tell(func(d *doc) { describeResult(d, m.opts, Applied{Result: res}) })
	return p.read()
}
