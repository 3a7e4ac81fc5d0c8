//go:build linux

package main

import (
	"strings"
	"time"
)

var stateFolderScenarios = []scenario{{
	name:   "13-state-folder",
	proves: "a state directory where nothing may be executed, or whose disk gets full after a change or during one: the switch and restore.sh still bring everything back, and the others do once there is room",
	run:    stateFolder,
}}

// fillDisk writes until not one more byte goes onto the disk of the state directory.
const fillDisk = `cat /dev/zero >` + stateDir + `/filler 2>/dev/null || true; for i in $(seq 200); do echo >` + stateDir + `/filler-$i || break; done 2>/dev/null; df ` + stateDir

func stateFolder(t *T) {
	t.shell("mkdir -p " + stateDir + " && mount -t tmpfs -o size=300m,mode=0700,noexec none " + stateDir)
	mounted := true
	t.cleanup(func() {
		if mounted {
			t.shell("umount " + stateDir)
		}
	})
	before := t.wholePicture()

	t.step("nothing may be executed in the state directory, and nobody confirms")
	t.harm(9, lockOut(confirmWithin)...)
	if !t.lockedOut() {
		t.errorf("the change is not there")
	}
	folder := stateDir + "/transactions/" + t.newest()
	if runs, _, _ := strings.Cut(t.shell("cat "+folder+"/drilled"), "\n"); runs != "restore.sh" {
		t.errorf("the drill says that %q can run", runs)
	}
	took := t.within(4*time.Minute, "restore.sh has brought everything back", func() (bool, string) {
		d := before.differences(t.picture(t.node))
		return len(d) == 0, strings.Join(d, "\n")
	})
	t.figure("undone after", "%s, of which %s to confirm", seconds(took), confirmWithin)
	t.healthy("after restore.sh")
	t.must(0, "recover")
	t.must(0, "status")
	t.same(before, "after recover")
	t.clean("after recover")

	t.step("the disk gets full after a change")
	change := []string{"apply", "--control", "apiserver-profiling", "--yes", "--soak", "0s"}
	t.must(0, change...)
	t.detail("%s", t.shell(fillDisk))
	t.must(0, "assess")
	t.must(0, "status")
	t.must(0, "history")
	t.expect("another change", t.harden("apply", "--control", "controllermanager-profiling", "--yes"), 8, "0 bytes are free and", "df -h")
	script := t.newestScript()
	t.expect("an undo, which is a transaction too", t.harden("rollback", "--yes"), 8, "0 bytes are free and", "restore.sh")
	if out := t.command(t.node, "sh", script); out.code != 0 {
		t.errorf("restore.sh with a full disk: %s", out)
	}
	t.healthy("restored with a full disk")
	t.sameFiles(before, "restored with a full disk")
	t.shell("rm -f " + stateDir + "/filler*")
	t.must(0, "rollback", "--yes") // what restore.sh leaves to it: kubeadm's ConfigMap
	t.same(before, "undone when there was room again")
	t.clean("undone when there was room again")

	t.step("the disk gets full during a change that is then killed")
	t.forgive()
	t.killedWhen(`"kind":"done"`, change...)
	t.detail("%s", t.shell(fillDisk))
	t.expect("recover with a full disk", t.harden("recover"), 8, "no space left", "restore.sh")
	t.shell("rm -f " + stateDir + "/filler*")
	t.must(0, "recover")
	t.must(0, "status")
	t.healthy("recovered")
	t.same(before, "recovered")
	t.clean("recovered")
	t.shell("umount " + stateDir)
	mounted = false
}
