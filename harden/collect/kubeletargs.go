package collect

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// Units is a Node that can say what the unit files below the root make of a service; a zero Unit where there are none. Then, or
// without it, kubeadm's own unit is assumed (10-kubeadm.conf).
type Units interface {
	Unit(name string) (Unit, error)
}

// Unit is a service as its files describe it; variables in ExecStart are not expanded.
type Unit struct {
	ExecStart   string
	Environment []string // assignments, in order
	EnvFiles    []string // paths, in order; with systemd's "-" before it, one may be missing
	Files       []string // the unit's own file and its drop-ins
}

// kubeadmUnit is what kubeadm's packages install; the second file is Debian's, the third Red Hat's.
var kubeadmUnit = Unit{
	ExecStart:   "/usr/bin/kubelet $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS",
	Environment: []string{"KUBELET_CONFIG_ARGS=--config=" + kubeletConfig},
	EnvFiles:    []string{"-/var/lib/kubelet/kubeadm-flags.env", "-/etc/default/kubelet", "-/etc/sysconfig/kubelet"},
}

const kubeletConfig = "/var/lib/kubelet/config.yaml"

// kubeletArgs expands the command line that the unit would start, as systemd does (systemd.service(5), systemd.exec(5)), and
// notes the environment files that flags come from.
//
// Other distributions than kubeadm start it in ways of their own: there the process tells, and without one nothing is known.
func kubeletArgs(n Node, distro harden.Distro, k *harden.KubeletFacts) error {
	unit := Unit{}
	if distro == harden.Kubeadm {
		unit = kubeadmUnit
	}
	if u, ok := n.(Units); ok {
		found, err := u.Unit("kubelet.service")
		if err != nil {
			return fmt.Errorf("reading the kubelet's flags: %w", err) // the unit may have flags that kubeadm's has not
		}
		if found.ExecStart != "" {
			unit = found
			k.UnitFiles = found.Files
		}
	}
	if unit.ExecStart == "" {
		if k.Process == nil {
			return errors.New("reading the kubelet's configuration: no kubelet.service and no process kubelet was found")
		}
		k.Args = k.Process.Args
		return nil
	}
	env, err := readEnvironment(n, unit)
	if err != nil {
		return err
	}
	words := patches.SplitArgs(unit.ExecStart)
	k.Args = []string{"kubelet"}
	for _, w := range words[min(1, len(words)):] {
		args, err := env.expand(k, w)
		if err != nil {
			return err
		}
		k.Args = append(k.Args, args...)
	}
	return nil
}

// environment is what a unit gives to its process.
type environment struct {
	assigned map[string]string // Environment=
	files    []harden.FileFact // EnvironmentFile=, those that are there
}

func readEnvironment(n Node, u Unit) (environment, error) {
	env := environment{assigned: map[string]string{}}
	for _, e := range u.Environment {
		if key, value, ok := strings.Cut(e, "="); ok {
			env.assigned[key] = value // of several the last one counts
		}
	}
	for _, p := range u.EnvFiles {
		p, optional := strings.CutPrefix(p, "-")
		file := readFile(n, p)
		switch {
		case !file.Unread.IsZero():
			return env, fmt.Errorf("reading the kubelet's flags: %s", file.Unread)
		case file.State.Exists:
			env.files = append(env.files, file)
		case !optional:
			return env, fmt.Errorf("reading the kubelet's flags: %s is missing, and without it systemd does not start kubelet.service", p)
		}
	}
	return env, nil
}

// lookup is a variable's value, and the file that it comes from where it comes from one: files win over assignments, later
// ones over earlier ones. A file that cannot be read for certain is taken for the one that counts, with the reason.
func (e environment) lookup(name string) (value string, from *harden.FileFact, err error) {
	value = e.assigned[name]
	for i := range e.files {
		v, found, cannot := patches.EnvValue(e.files[i].State.Data, name)
		if found || cannot != nil {
			value, from, err = v, &e.files[i], cannot
		}
	}
	return value, from, err
}

// expand makes arguments of a word of ExecStart. $NAME alone gives its value split into words, ${NAME} its value as it is.
func (e environment) expand(k *harden.KubeletFacts, word string) ([]string, error) {
	if name, ok := strings.CutPrefix(word, "$"); ok && !strings.HasPrefix(name, "{") && !strings.HasPrefix(name, "$") {
		return patches.SplitArgs(e.value(k, name)), nil
	}
	var out strings.Builder
	for rest := word; ; {
		before, after, ok := strings.Cut(rest, "$")
		out.WriteString(before)
		if !ok {
			return []string{out.String()}, nil
		}
		name, behind, closed := strings.Cut(strings.TrimPrefix(after, "{"), "}")
		switch {
		case strings.HasPrefix(after, "$"):
			out.WriteString("$")
			rest = after[1:]
		case strings.HasPrefix(after, "{") && closed:
			out.WriteString(e.value(k, name))
			rest = behind
		case strings.HasPrefix(after, "{"):
			return nil, fmt.Errorf("reading the kubelet's flags: %q in its unit is not closed", word)
		default:
			out.WriteString("$")
			rest = after
		}
	}
}

// value is a variable's value. The file that gives flags by it is noted, also one that cannot be read: the control that wants
// to edit it says why it cannot.
func (e environment) value(k *harden.KubeletFacts, name string) string {
	value, from, err := e.lookup(name)
	known := func(f harden.EnvFileFact) bool { return f.File.Path == from.Path && f.Variable == name }
	if from != nil && (err != nil || value != "") && !slices.ContainsFunc(k.EnvFiles, known) {
		k.EnvFiles = append(k.EnvFiles, harden.EnvFileFact{File: *from, Variable: name})
	}
	return value
}
