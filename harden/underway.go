package harden

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// checkUnderway is the check that nothing else changes what the plan changes.
const checkUnderway = "no-kubeadm-run"

// NeedKubeadmRuns are the processes of kubeadm.
const NeedKubeadmRuns Need = "kubeadm-runs"

// KubeadmProgram is the name of kubeadm's program.
const KubeadmProgram = "kubeadm"

const (
	// upgradedManifests begins the name of the directory that the manifests of an upgrade are moved into place from. kubeadm
	// removes it when all of them have come up, and leaves it where the upgrade failed.
	upgradedManifests = "/etc/kubernetes/tmp/kubeadm-upgraded-manifests"
	// upgradeRests is longer than an upgrade goes without moving the next manifest: kubeadm gives up on one after five minutes
	// for its pod to change and as many for it to come up.
	upgradeRests = 15 * time.Minute
)

// underwayChecks are about what else changes the node: kubeadm writes the same files and objects, and asks nobody.
func underwayChecks(f *Facts, st Stage) []Check {
	if !slices.ContainsFunc(st.Steps, kubeadmWrites) {
		return nil
	}
	c := Check{Precondition: Precondition{ID: checkUnderway, Title: Msg("no kubeadm command is changing this node"), State: Met}}
	if why := f.Missing[NeedKubeadmRuns]; !why.IsZero() {
		c.State, c.Message = PreconditionUnknown, why
	}
	unmet := func(why Message, seen Evidence) {
		c.State, c.Blocks, c.Message, c.Evidence = Unmet, true, why, append(c.Evidence, seen)
	}
	for _, s := range freshUpgrades(f) {
		unmet(Msg("an upgrade that has not ended wrote to %s %s ago; end it, or plan again when it has been left alone for %s", s.Path, Spell(max(s.age(f), 0).Truncate(time.Second)), Spell(upgradeRests)),
			Evidence{Source: s.Path, Value: "written " + instant(s.Modified)})
	}
	for _, p := range f.KubeadmRuns {
		if command := changingCommand(p.Args); command != "" {
			unmet(Msg("%s runs as process %d; plan again when it has ended", command, p.PID),
				Evidence{Source: "process " + strconv.Itoa(p.PID), Value: command})
		}
	}
	return []Check{c}
}

// kubeadmWrites says that a step changes what kubeadm may write too: anything on the node, and its own objects.
func kubeadmWrites(s Step) bool {
	return s.Object == nil || *s.Object == KubeadmConfig || *s.Object == KubeletConfig
}

// freshUpgrades are the directories of upgrades that may be at work. One that failed leaves its own for ever, so an old one tells
// nothing.
func freshUpgrades(f *Facts) []StatFact {
	var out []StatFact
	for _, s := range f.Stats {
		if s.Kind == StatDir && strings.HasPrefix(s.Path, upgradedManifests) && !strings.Contains(s.Path[len(upgradedManifests):], "/") &&
			s.age(f).Abs() < upgradeRests {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b StatFact) int { return a.Modified.Compare(b.Modified) })
	return out
}

func (s StatFact) age(f *Facts) time.Duration { return f.CollectedAt.Sub(s.Modified) }

// changingCommand names the command of a kubeadm that writes to the node; "" of one that only looks, or tries.
func changingCommand(args []string) string {
	if len(args) == 0 || slices.Contains(args, "--dry-run") || slices.Contains(args, "--dry-run=true") {
		return ""
	}
	// Values of flags may stand between the words, so each one is looked for behind the one before.
	next := func(words ...string) string {
		for i, a := range args {
			if slices.Contains(words, a) {
				args = args[i+1:]
				return a
			}
		}
		return ""
	}
	command := next("init", "join", "reset", "upgrade", "certs", "config", "token", "version", "kubeconfig")
	switch command {
	case "init", "join", "reset":
		return "kubeadm " + command
	case "upgrade":
		if sub := next("apply", "node", "plan", "diff"); sub == "apply" || sub == "node" {
			return "kubeadm upgrade " + sub
		}
	case "certs":
		if sub := next("renew", "check-expiration", "certificate-key", "generate-csr"); sub == "renew" {
			return "kubeadm certs renew"
		}
	}
	return ""
}
