package host

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func told(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "runtime", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Those of containerd are what its own packages marshal, by default and with what is wrong; that of CRI-O is cut down, with the names
// of its Go fields.
func TestConfigurationThatARuntimeTells(t *testing.T) {
	for name, want := range map[string]RuntimeConfig{
		"containerd-1.7.27.json": {AppArmor: true, Streams: &RuntimeStreams{"127.0.0.1", "0", false}, Registries: &RuntimeRegistries{}},
		"containerd-1.7.27-open.json": {UnsetSeccomp: "runtime/default", Streams: &RuntimeStreams{"0.0.0.0", "0", false},
			Registries: &RuntimeRegistries{Unverified: []string{"registry.lan:5000"}, Mirrors: []string{"http://mirror.lan", "https://registry-1.docker.io"}}},
		"containerd-2.3.4.json": {AppArmor: true},
		"crio-1.35.json":        {AppArmor: true, SELinux: true},
	} {
		if got, err := runtimeConfig(told(t, name)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, want)
		}
	}
	writable := strings.Replace(told(t, "containerd-2.3.4.json"), `"cgroupWritable":false`, `"cgroupWritable":true`, 1)
	if got, err := runtimeConfig(writable); err != nil || !reflect.DeepEqual(got.WritableCgroups, []string{"runc"}) {
		t.Errorf("writable control groups: %+v, %v", got, err)
	}
	unconfined := strings.Replace(told(t, "crio-1.35.json"), "crio-default", "unconfined", 1)
	if got, err := runtimeConfig(strings.Replace(unconfined, `"SeccompProfile":""`, `"SeccompProfile":"/etc/crio/seccomp.json"`, 1)); err != nil || got.AppArmor || got.SeccompFile != "/etc/crio/seccomp.json" {
		t.Errorf("CRI-O, unconfined: %+v, %v", got, err)
	}
}

func TestOddConfigurationOfARuntimeIsNotKnown(t *testing.T) {
	good := told(t, "containerd-1.7.27-open.json")
	for name, tt := range map[string]struct {
		text string
		want error
	}{
		"nothing":               {"", ErrConfigNotTold},
		"CRI-O before 1.33":     {`{"sandboxImage":"registry.k8s.io/pause:3.9"}`, ErrConfigNotTold},
		"no object":             {`["containerd"]`, errOddConfig},
		"torn":                  {good[:len(good)/2], errOddConfig},
		"another type":          {strings.Replace(good, `"disableApparmor":true`, `"disableApparmor":"no"`, 1), errOddConfig},
		"a setting is not told": {strings.Replace(good, `"disableApparmor"`, `"x"`, 1), errOddConfig},
		"null":                  {strings.Replace(good, `"disableApparmor":true`, `"disableApparmor":null`, 1), errOddConfig},
		"long":                  {strings.Replace(good, "0.0.0.0", strings.Repeat("0", maxText+1), 1), errOddConfig},
		"many":                  {strings.Replace(good, `"http://mirror.lan"`, strings.Repeat(`"http://mirror.lan",`, maxNames)+`"x"`, 1), errOddConfig},
	} {
		got, err := runtimeConfig(tt.text)
		if !errors.Is(err, tt.want) || !reflect.DeepEqual(got, RuntimeConfig{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells a password", name)
		}
	}
}
