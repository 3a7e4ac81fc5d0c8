//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

var editScenarios = []scenario{
	{
		name:   "09-drift",
		proves: "a manifest edited between plan and apply is refused; an image upgraded after apply survives the undo",
		run:    drift,
	},
	{
		name:   "09-edited",
		proves: "our own line edited by somebody after apply: the undo is refused with the picture; another line is kept by it",
		run:    editedSince,
	},
	{
		name:   "10-stray",
		proves: "a stray backup in the manifests directory that overrides the real file is found, and blocks",
		run:    stray,
	},
}

const manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"

func drift(t *T) {
	before := t.wholePicture()
	t.step("edited between plan and apply")
	t.must(0, "plan", "--all", "--out", "/root/plan.json")
	t.shell(`sed -i 's/^    - --allow-privileged=true$/&\n    - --max-requests-inflight=401/' ` + manifest)
	t.shell("cp -a " + manifest + " /root/edited.yaml")
	t.within(time.Minute, "the edited manifest runs", func() (bool, string) {
		found := t.instances(t.node, apiServer)
		return len(found) == 1 && strings.Contains(strings.Join(found[0].Args, " "), "--max-requests-inflight=401"), "not yet"
	})
	t.healthy("after the edit")
	lives := t.watchLives()
	out := t.must(8, "apply", "/root/plan.json", "--yes")
	for _, want := range []string{"+    - --max-requests-inflight=401", "+    - --profiling=false"} {
		if !strings.Contains(out.stderr, want) {
			t.errorf("the picture of the drift lacks %q: %s", want, out)
		}
	}
	if restarts := lives.stop(isLive); len(restarts) > 0 {
		t.errorf("a refused plan restarted %s", counted(restarts))
	}
	t.shell("cmp " + manifest + " /root/edited.yaml")

	t.step("an image upgraded between apply and undo")
	t.must(0, "apply", "--all", "--yes", "--soak", "0s")
	image := strings.TrimSpace(t.shell(`sed -n 's/^ *image: //p' ` + manifest))
	upgraded := image + "-upgraded"
	t.shell(`ctr -n k8s.io images tag "$1" "$2" >/dev/null`, image, upgraded)
	t.shell(`sed -i "s|image: $1\$|image: $2|" `+manifest, image, upgraded)
	old := t.instance(t.node, apiServer)
	t.within(2*time.Minute, "the upgraded image runs", func() (bool, string) {
		found := t.instances(t.node, apiServer)
		return len(found) == 1 && found[0].id() != old.id(), "not yet"
	})
	t.healthy("after the upgrade")
	undo := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undo.took))
	if got := t.shell("cat " + manifest); !strings.Contains(got, "image: "+upgraded+"\n") {
		t.errorf("the upgrade is lost:\n%s", got)
	}
	// But for the two edits of others everything is as before.
	t.shell(`sed -i -e "s|image: $2\$|image: $1|" -e '/--max-requests-inflight=401/d' `+manifest, image, upgraded)
	t.runsAs(before, "after the undo, without the edits of others")
	t.healthy("after the undo, without the edits of others")
	t.same(before, "after the undo, without the edits of others")
	t.clean("after the undo")
}

// runsAs waits until a manifest that somebody has edited runs: until the node is as in the picture.
func (t *T) runsAs(want picture, when string) {
	t.within(2*time.Minute, when, func() (bool, string) {
		d := want.differences(t.picture(t.node))
		return len(d) == 0, strings.Join(d, "\n")
	})
}

// edited edits the manifest by a script of sed, and waits until the API server runs with an argument of it.
func (t *T) edited(script, argument string) {
	t.step("somebody edits the manifest: %s", script)
	t.shell(`sed -i "$1" `+manifest, script)
	t.within(2*time.Minute, "the edited manifest runs", func() (bool, string) {
		found := t.instances(t.node, apiServer)
		return len(found) == 1 && slices.Contains(found[0].Args, argument), "not yet"
	})
	t.healthy("after the edit")
}

// editedSince has somebody edit our own line, and another one, between apply and rollback.
func editedSince(t *T) {
	before := t.wholePicture()
	const other = "--max-requests-inflight=401"
	t.must(0, "apply", "--control", "apiserver-profiling", "--yes", "--soak", "0s")
	t.edited(`s/--profiling=false/--profiling=true/; s/^    - --allow-privileged=true$/&\n    - `+other+`/`, "--profiling=true")
	edited := t.wholePicture()
	lives := t.watchLives()
	out := t.must(8, "rollback", "--yes")
	for _, want := range []string{manifest + ": somebody changed the same lines since", "-    - --profiling=true"} {
		if !strings.Contains(out.stdout+out.stderr, want) {
			t.errorf("the picture of the conflict lacks %q: %s", want, out)
		}
	}
	t.only(nil, lives.stop(isLive), "a refused undo")
	t.same(edited, "after the refused undo")
	t.must(0, "status")
	t.clean("after the refused undo")

	t.edited("s/--profiling=true/--profiling=false/", "--profiling=false")
	undo := t.must(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(undo.took))
	if text := t.shell("cat " + manifest); !strings.Contains(text, other) || strings.Contains(text, "--profiling") {
		t.errorf("wanted the other's line and not ours:\n%s", text)
	}
	t.shell(`sed -i "/` + other + `/d" ` + manifest)
	t.runsAs(before, "after the undo, without the edit of others")
	t.healthy("after the undo")
	t.same(before, "after the undo")
	t.clean("after the undo")
}

func stray(t *T) {
	before := t.picture(t.node)
	stray := manifest + ".bak"
	// An old copy, with an argument of its own. The kubelet obeys it: its name comes last.
	t.shell(`sed 's/^    - --allow-privileged=true$/&\n    - --max-requests-inflight=402/' ` + manifest + ` >` + stray)
	t.within(time.Minute, "the kubelet obeys the stray file", func() (bool, string) {
		found := t.instances(t.node, apiServer)
		return len(found) == 1 && strings.Contains(strings.Join(found[0].Args, " "), "--max-requests-inflight=402"), "not yet"
	})
	t.healthy("with the stray file")
	seen := t.must(0, "assess")
	if !strings.Contains(seen.stdout, stray) {
		t.errorf("assess does not name %s: %s", stray, seen)
	}
	lives := t.watchLives()
	out := t.harden("apply", "--control", "apiserver-profiling", "--yes")
	if out.code != 8 || !strings.Contains(out.stderr+out.stdout, stray) {
		t.errorf("with the stray file there: wanted exit code 8 and its name: %s", out)
	}
	if restarts := lives.stop(isLive); len(restarts) > 0 {
		t.errorf("a blocked plan restarted %s", counted(restarts))
	}

	t.step("what is offered takes it away")
	const profiling, old = "--profiling=false", "--max-requests-inflight=402"
	offered := []string{"apply", "--control", "apiserver-rival-manifest", "--yes", "--soak", "2s"}
	away := t.must(9, offered...)
	t.figure("removed", "%s", seconds(away.took))
	obeyed := func(wanted bool) {
		t.within(2*time.Minute, fmt.Sprintf("the kubelet obeys the stray file: %v", wanted), func() (bool, string) {
			found := t.instances(t.node, apiServer)
			return len(found) == 1 && slices.Contains(found[0].Args, old) == wanted, fmt.Sprint(found)
		})
	}
	obeyed(false)
	t.must(0, "confirm", t.newest())
	if seen := t.must(0, "assess"); strings.Contains(seen.stdout, stray) {
		t.errorf("it was taken away, and assess still names it: %s", seen)
	}
	t.must(0, "apply", "--control", "apiserver-profiling", "--yes", "--soak", "0s")
	if args := t.instance(t.node, apiServer).Args; !slices.Contains(args, profiling) {
		t.errorf("what was blocked is applied, and does not run: %q", args)
	}
	t.must(0, "rollback", "--yes")
	t.must(0, "rollback", "--yes")
	obeyed(true)

	t.step("somebody moves it away")
	t.shell("mv " + stray + " /root/")
	t.within(2*time.Minute, "the real file is obeyed again", func() (bool, string) {
		d := before.differences(t.picture(t.node))
		return len(d) == 0, strings.Join(d, "\n")
	})
	t.healthy("without the stray file")
	t.must(0, "apply", "--control", "apiserver-profiling", "--yes", "--soak", "0s")
	t.must(0, "rollback", "--yes")
	t.same(before, "at the end")
	t.clean("at the end")
}
