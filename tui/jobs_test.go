package tui

import (
	"context"
	"testing"

	tea "charm.land/bubbletea/v2"
)

// TestLeavingWaitsForWhatStillReadsTheNode: whoever owns the node takes it away when the walk is over.
func TestLeavingWaitsForWhatStillReadsTheNode(t *testing.T) {
	m := NewModel(t.Context(), newFake(t), Options{})
	m.ticking = true // so that a job's command is nothing but the job
	begun, ended := make(chan struct{}), false
	first := m.start(jobFacts, "reading", func(ctx context.Context) func(*Model) tea.Cmd {
		close(begun)
		<-ctx.Done()
		ended = true
		return nil
	})
	late := m.start(jobHistory, "reading", func(context.Context) func(*Model) tea.Cmd {
		t.Error("a job began after the walk was left")
		return nil
	})
	go first()
	<-begun
	m.stopJobs()
	if !ended {
		t.Error("the walk was left while a job was reading")
	}
	if msg := late(); msg != nil {
		t.Errorf("a job that came too late has a result: %v", msg)
	}
}
