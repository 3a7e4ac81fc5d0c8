//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var scannerScenarios = []scenario{{
	name:   "17-scanner",
	proves: "kube-bench's cis-1.12 fails nothing of its sections 1 to 4 any more but what docs/kube-bench.md lists",
	long:   "it needs the scanner, which is not the lab's to build: -run scanner -kube-bench FOLDER, with its program and its cfg",
	run:    scanned,
}}

// goesOn is what kube-bench says of a node where everything is applied, with what it says; docs/kube-bench.md has the reasons.
var goesOn = map[string]string{
	"1.1.9": "WARN", "1.1.12": "FAIL", "1.2.1": "WARN", "1.2.20": "WARN",
	"3.1.1": "WARN", "3.1.2": "WARN", "3.1.3": "WARN", "3.2.2": "WARN", "4.1.3": "WARN", "4.1.4": "WARN", "4.2.9": "WARN",
}

// scan asks kube-bench about the first node, and gives what it says of each id.
func (t *T) scan() map[string]string {
	out := t.command(t.node, "sh", "-ec", `cd /root/kube-bench && ./kube-bench run --targets master,etcd,controlplane,node --benchmark cis-1.12 --config-dir cfg --config cfg/config.yaml --json`)
	if out.code != 0 {
		t.fatalf("the scanner: %s", out)
	}
	var report struct {
		Controls []struct {
			Tests []struct {
				Results []struct {
					Number string `json:"test_number"`
					Status string `json:"status"`
				} `json:"results"`
			} `json:"tests"`
		}
	}
	t.need(json.Unmarshal([]byte(out.stdout), &report))
	found := map[string]string{}
	for _, c := range report.Controls {
		for _, group := range c.Tests {
			for _, r := range group.Results {
				found[r.Number] = r.Status
			}
		}
	}
	return found
}

// totals counts what the scanner says.
func totals(found map[string]string) string {
	n := map[string]int{}
	for _, is := range found {
		n[is]++
	}
	return fmt.Sprintf("%d pass, %d fail, %d warn", n["PASS"], n["FAIL"], n["WARN"])
}

func scanned(t *T) {
	if t.kubeBench == "" {
		t.fatalf("no scanner: -kube-bench FOLDER")
	}
	t.shell("mkdir /root/kube-bench")
	t.need(t.node.CopyIn(t.ctx, filepath.Join(t.kubeBench, "kube-bench"), "/root/kube-bench/kube-bench"))
	err := filepath.WalkDir(filepath.Join(t.kubeBench, "cfg"), func(path string, e os.DirEntry, err error) error {
		name, _ := filepath.Rel(t.kubeBench, path)
		if err != nil || e.IsDir() || filepath.Dir(name) != "cfg" && filepath.Dir(name) != "cfg/cis-1.12" {
			return err
		}
		t.shell(`mkdir -p "/root/kube-bench/$1"`, filepath.Dir(name))
		return t.node.CopyIn(t.ctx, path, "/root/kube-bench/"+name)
	})
	t.need(err)
	before, first := t.wholePicture(), t.scan()
	t.figure("as kubeadm makes it", "%s", totals(first))
	if len(first) < 90 {
		t.fatalf("the scanner looked at %d items only: %v", len(first), first)
	}

	t.encrypt(10, "--accept", apiServer)
	t.encrypt(0, "--accept", apiServer+","+encryptionControl)
	t.must(0, "apply", "--control", servingControl, "--accept", servingControl, "--yes", "--soak", "2s")
	t.must(0, applyWhole(append(t.toBeNamed(), kubeletCAControl))...)
	const suites = "apiserver-tls-cipher-suites"
	t.must(9, "apply", "--control", suites, "--accept", suites, "--yes", "--soak", "2s")
	t.must(0, "confirm", t.newest())
	t.healthy("with everything")
	last := t.scan()
	t.figure("with everything", "%s", totals(last))
	for _, id := range slices.Sorted(maps.Keys(first)) {
		is, allowed := last[id], goesOn[id]
		switch {
		case is == "PASS" && allowed != "":
			t.errorf("%s passes, and docs/kube-bench.md says that it does not", id)
		case is != "PASS" && is != allowed:
			t.errorf("%s: it says %q of it, and before %q", id, is, first[id])
		}
	}
	for range 5 {
		t.must(0, "rollback", "--yes")
	}
	t.allStored("plain", 1, "after the undo")
	t.healthy("after the undo")
	t.same(before, "after the undo")
	if d := diffMaps(first, t.scan()); len(d) > 0 {
		t.errorf("after the undo it says something else:\n%s", strings.Join(d, "\n"))
	}
	t.clean("after the undo")
}
