//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestAfterAnUpgradeHardenedValuesAndElseWhatItBringsAreWanted(t *testing.T) {
	pristine := flags("kube-apiserver", []string{"kube-apiserver", "--profiling=true", "--insecure=1", "--etcd-servers=a", "--old=1"})
	hardened := flags("kube-apiserver", []string{"kube-apiserver", "--profiling=false", "--etcd-servers=a", "--old=1", "--audit-log-maxage=30"})
	plain := flags("kube-apiserver", []string{"kube-apiserver", "--profiling=true", "--insecure=1", "--etcd-servers=b", "--new=1"})
	for _, row := range []struct {
		name string
		now  string
		want string // what is said to be wrong; empty: nothing
	}{
		{"kept", "--profiling=false --etcd-servers=b --new=1 --audit-log-maxage=30", ""},
		{"a hardened value is the default again", "--profiling=true --etcd-servers=b --new=1 --audit-log-maxage=30", `--profiling: it was "false" and is "true"`},
		{"a hardened argument is gone", "--profiling=false --etcd-servers=b --new=1", "--audit-log-maxage: it is gone"},
		{"a hardened argument is there twice", "--profiling=false --profiling=true --etcd-servers=b --new=1 --audit-log-maxage=30", `is "false\ntrue"`},
		{"what was taken away is back", "--profiling=false --etcd-servers=b --new=1 --audit-log-maxage=30 --insecure=1", "--insecure: it is new"},
		{"what the upgrade brings is missing", "--profiling=false --etcd-servers=b --audit-log-maxage=30", "--new: it is gone"},
		{"what the upgrade changes is not changed", "--profiling=false --etcd-servers=a --new=1 --audit-log-maxage=30", `--etcd-servers: it was "b" and is "a"`},
		{"what the upgrade takes away is there", "--profiling=false --etcd-servers=b --new=1 --audit-log-maxage=30 --old=1", "--old: it is new"},
	} {
		t.Run(row.name, func(t *testing.T) {
			now := flags("kube-apiserver", strings.Fields("kube-apiserver "+row.now))
			got := strings.Join(diffMaps(afterUpgrade(pristine, hardened, plain), now), "\n")
			if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
				t.Errorf("said to be wrong: %q, wanted %q", got, row.want)
			}
		})
	}
}

func TestWhatAnUpgradeTakesBackIsReadFromWhatApplySays(t *testing.T) {
	said := `# skipped: kubelet-protect-kernel-defaults: not persisted: it is for this node alone, and the next kubeadm upgrade takes it back
# skipped: files-pki-keys-modes: it passes
# skipped: apiserver-encryption: not persisted: cp2: the files that it names must be on every control-plane node first
kubelet-event-qps: not persisted: it is for this node alone, and the next kubeadm upgrade takes it back
`
	if got := strings.Join(announced(said), " "); got != "kubelet-protect-kernel-defaults" {
		t.Errorf("taken back: %q", got)
	}
}
