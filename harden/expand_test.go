package harden

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestArgumentsFromTheEnvironment: an argument $(P) hid AlwaysAllow from every verdict.
func TestArgumentsFromTheEnvironment(t *testing.T) {
	from := &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}}
	for name, test := range map[string]struct {
		ct      corev1.Container
		want    []string
		unknown []string
	}{
		"none":       {corev1.Container{Command: []string{"p", "--a=$b"}, Args: []string{"$"}}, []string{"p", "--a=$b", "$"}, nil},
		"a value":    {corev1.Container{Command: []string{"p", "--mode=RBAC,$(P)"}, Env: []corev1.EnvVar{{Name: "P", Value: "AlwaysAllow"}}}, []string{"p", "--mode=RBAC,AlwaysAllow"}, nil},
		"of another": {corev1.Container{Args: []string{"$(B)"}, Env: []corev1.EnvVar{{Name: "A", Value: "--x"}, {Name: "B", Value: "$(A)=1"}}}, []string{"--x=1"}, nil},
		"nobody's":   {corev1.Container{Args: []string{"--a=$(P)$(", "$$(P)", "$$$(P)"}}, []string{"--a=$(P)$(", "$(P)", "$$(P)"}, nil},
		"elsewhere":  {corev1.Container{Args: []string{"--a=$(IP)"}, Env: []corev1.EnvVar{{Name: "IP", ValueFrom: from}}}, []string{"--a=$(IP)"}, []string{"IP"}},
		"through another": {corev1.Container{Args: []string{"--a=$(URL)"}, Env: []corev1.EnvVar{{Name: "IP", ValueFrom: from}, {Name: "URL", Value: "https://$(IP)"}}},
			[]string{"--a=$(URL)"}, []string{"URL"}},
		"not used":       {corev1.Container{Args: []string{"--a"}, Env: []corev1.EnvVar{{Name: "IP", ValueFrom: from}, {Name: "URL", Value: "$(IP)"}}}, []string{"--a"}, nil},
		"a whole source": {corev1.Container{Args: []string{"$(P)"}, EnvFrom: []corev1.EnvFromSource{{}}}, []string{"$(P)"}, []string{"P"}},
	} {
		args, unknown := ArgsOf(&test.ct)
		if !slices.Equal(args, test.want) || !slices.Equal(unknown, test.unknown) {
			t.Errorf("%s: %q, unknown %q; want %q, %q", name, args, unknown, test.want, test.unknown)
		}
	}
}
