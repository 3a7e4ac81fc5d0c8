//go:build linux

package main

import (
	"bytes"
	"regexp"
	"strings"
	"time"
)

var mixedScenarios = []scenario{{
	name:   "04-mixed",
	proves: "an undo that fails too: exit code 7, each target's state is told, restore.sh is named, and recover settles it once it can",
	run:    mixed,
}}

// mixed lets somebody make the manifest immutable once it is written, so that the undo of the gate that fails cannot write it.
func mixed(t *T) {
	before := t.wholePicture()
	t.cleanup(func() { t.shell("chattr -i " + manifest) })
	cmd, err := t.node.Command(t.ctx, harmfulPath, "apply", "--control", "harmful-log-is-directory", "--yes", "--soak", "5s")
	t.need(err)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	t.need(cmd.Start())
	t.within(time.Minute, "the planned manifest is there", func() (bool, string) {
		return strings.Contains(t.shell("cat "+manifest), "/etc/kubernetes/harmful/audit.log"), "it is not"
	})
	t.shell("chattr +i " + manifest)
	err = cmd.Wait()
	t.detail("%v: %s", err, said.String())
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.errorf("wanted exit code 7, got %d: %s", code, said.String())
	}
	script := t.newestScript()
	for _, want := range []string{
		"the undo failed too: putting " + manifest + " back", `(?m)^as planned +` + manifest + `$`,
		`(?m)^as planned +/etc/kubernetes/harmful/policy\.yaml$`, // which that manifest names
		`(?m)^unlike both +kube-apiserver`, "hint: kubectl-harden recover\n", "hint: sh " + script + "\n",
	} {
		if !regexp.MustCompile(want).MatchString(said.String()) {
			t.errorf("%q is not said: %s", want, said.String())
		}
	}
	t.expect("status", t.harden("status"), 5, "recover")
	t.expect("recover while it still cannot be", t.harden("recover"), 7, manifest)
	byHand := t.command(t.node, "sh", script)
	t.expect("restore.sh while it still cannot be", byHand, 1, manifest)
	for _, want := range []string{`(?m)^as before +/etc/kubernetes/harmful/policy\.yaml`, `(?m)^as planned +` + manifest} {
		if all := byHand.stdout + byHand.stderr; !regexp.MustCompile(want).MatchString(all) {
			t.errorf("restore.sh does not say %q: %s", want, all)
		}
	}

	t.shell("chattr -i " + manifest)
	t.must(0, "recover")
	t.forgive() // the API server has died again and again
	t.healthy("after recover")
	t.same(before, "after recover")
	t.must(0, "status")
	t.clean("after recover")
}
