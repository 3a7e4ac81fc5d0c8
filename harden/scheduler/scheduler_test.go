package scheduler

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func table() hardentest.Table {
	return hardentest.Table{Area: Area(), Component: harden.Scheduler}
}

func TestArea(t *testing.T) { hardentest.CheckArea(t, Area()) }

func TestElsewhere(t *testing.T) { table().Elsewhere(t) }

const (
	file   = "kube-scheduler.yaml: "
	config = "/etc/kubernetes/scheduler/config.yaml"
	head   = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
)

func set(name, value string) []hardentest.Edit {
	return []hardentest.Edit{hardentest.Flag(name, value)}
}

func choose(id string, accept bool) harden.Choice {
	return harden.Choice{Control: id, Named: true, Accept: accept}
}

// withConfig is a scheduler that reads a configuration file.
var withConfig = []hardentest.Edit{hardentest.Flag("config", config), hardentest.Mount("/etc/kubernetes/scheduler", "Directory", "readOnly: true")}

func write(text string) func(*hardentest.Node) {
	return func(n *hardentest.Node) {
		n.Files["/etc/kubernetes/scheduler"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
		n.Write(config, text, 0o600)
	}
}

func TestProfiling(t *testing.T) {
	const id = "scheduler-profiling"
	flagToo := append(set("profiling", "false"), withConfig...)
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "/debug/pprof"},
		{Name: "off", Edits: set("profiling", "false"), Want: harden.StatusPass},
		{Name: "on", Edits: set("profiling", "true"), Want: harden.StatusFail},
		{Name: "off in the file", Edits: withConfig, Change: write(head + "enableProfiling: false\n"), Want: harden.StatusPass},
		{Name: "on in the file", Edits: flagToo, Change: write(head + "enableProfiling: true\n"), Want: harden.StatusFail},
		{Name: "a flag beside a file does not count", Edits: flagToo, Change: write(head), Want: harden.StatusFail, Says: "a flag does not count beside it"},
		{Name: "another kind", Edits: withConfig, Change: write("kind: Other\n"), Want: harden.StatusManual, Says: "no KubeSchedulerConfiguration"},
		{Name: "not YAML", Edits: withConfig, Change: write("{"), Want: harden.StatusManual},
		{Name: "no file", Edits: withConfig, Want: harden.StatusFail, Says: "does not exist"},
		{Name: "no mount", Edits: set("config", config), Change: write(head), Want: harden.StatusFail, Says: "no mount shows"},
		{Name: "the process counts", Facts: func(f *harden.Facts) { hardentest.RunPod(f, harden.Scheduler, f.CollectedAt, "--profiling=false") }, Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "adds", Minor: "1.30", Choice: choose(id, false), Want: []string{file + "+ - --profiling=false"}},
		{Name: "in the file", Minor: "1.37", Edits: flagToo, Change: write(head + "# ours\nenableProfiling: true # why\n"), Choice: choose(id, false),
			Want: []string{"config.yaml: - enableProfiling: true # why", "config.yaml: + enableProfiling: false # why",
				file + "+ annotations:", file + "+ kubectl-harden.io/files-sha256: ..."}},
		{Name: "not in a file of another kind", Minor: "1.37", Edits: withConfig, Change: write("kind: Other\n"), Choice: choose(id, false), Skip: "cannot be edited"},
	})
}

func TestTheRest(t *testing.T) {
	table().Verdicts(t, "scheduler-rival-manifest", []hardentest.Verdict{{Name: "one file", Want: harden.StatusPass}})
	table().Verdicts(t, "scheduler-running-arguments", []hardentest.Verdict{
		{Name: "the same", Facts: func(f *harden.Facts) { hardentest.RunPod(f, harden.Scheduler, f.CollectedAt) }, Want: harden.StatusPass},
	})
	table().Verdicts(t, "scheduler-bind-address", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "everywhere", Edits: []hardentest.Edit{hardentest.NoFlag("bind-address"), hardentest.Flag("bind-address", "0.0.0.0")}, Want: harden.StatusFail},
	})
	table().Verdicts(t, "scheduler-tls-min-version", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail}, {Name: "1.2", Edits: set("tls-min-version", "VersionTLS12"), Want: harden.StatusPass},
	})
	table().Verdicts(t, "scheduler-tls-cipher-suites", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail},
		{Name: "one strong", Edits: set("tls-cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), Want: harden.StatusPass},
	})
	table().Verdicts(t, "scheduler-removed-flags", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass}, {Name: "left behind", Edits: set("policy-config-file", "/x"), Want: harden.StatusFail, Says: "--policy-config-file"},
	})
	table().Verdicts(t, "scheduler-removed-feature-gates", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass}, {Name: "left behind", Edits: set("feature-gates", "SchedulerQueueingHints=true"), Want: harden.StatusFail, Says: "1.37"},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "loopback", Minor: "1.34", Edits: []hardentest.Edit{hardentest.NoFlag("bind-address")}, Choice: choose("scheduler-bind-address", true),
			Want: []string{file + "+ - --bind-address=127.0.0.1"}},
	})
}
