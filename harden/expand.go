package harden

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ArgsOf are the command and the arguments of a container as the kubelet starts it: it puts the container's environment in the
// place of $(NAME). unknown are the names whose values are not in the pod itself.
func ArgsOf(ct *corev1.Container) (args, unknown []string) {
	env := map[string]string{}
	elsewhere := map[string]bool{}
	lookup := func(name string) (string, bool) {
		value, ok := env[name]
		if !ok && (elsewhere[name] || len(ct.EnvFrom) > 0) && !slices.Contains(unknown, name) {
			unknown = append(unknown, name)
		}
		return value, ok
	}
	for _, e := range ct.Env {
		if e.ValueFrom != nil {
			delete(env, e.Name)
			elsewhere[e.Name] = true
			continue
		}
		before := len(unknown)
		value := expand(e.Value, lookup)
		if elsewhere[e.Name] = len(unknown) > before; !elsewhere[e.Name] {
			env[e.Name] = value
		} else {
			delete(env, e.Name)
		}
		unknown = unknown[:before] // it matters only where an argument refers to it
	}
	for _, arg := range slices.Concat(ct.Command, ct.Args) {
		args = append(args, expand(arg, lookup))
	}
	return args, unknown
}

// expand puts values in the place of $(NAME), as the kubelet does: what no value is known of stays, and $$ is a plain $.
func expand(text string, lookup func(name string) (string, bool)) string {
	var out strings.Builder
	for {
		at := strings.IndexByte(text, '$')
		if at < 0 || at+1 == len(text) {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:at])
		rest := text[at+1:]
		name, behind, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")")
		switch {
		case rest[0] == '$':
			out.WriteByte('$')
			text = rest[1:]
		case rest[0] == '(' && closed:
			value, ok := lookup(name)
			if !ok {
				value = "$(" + name + ")"
			}
			out.WriteString(value)
			text = behind
		default:
			out.WriteByte('$')
			text = rest
		}
	}
}

// writtenOut is unmet where arguments refer to the environment: what an edit of them comes to could not be shown.
func writtenOut(c *ComponentFacts) Precondition {
	pre := Precondition{ID: "arguments-written-out", Title: Msg("its arguments are written out in the manifest"), State: Met}
	ct := ContainerOf(c.Pod, c.ID)
	if ct == nil {
		return pre
	}
	for _, arg := range slices.Concat(ct.Command, ct.Args) {
		if expand(arg, func(string) (string, bool) { return "", true }) != arg {
			pre.State = Unmet
			pre.Message = Msg("%s in %s refers to the environment; write out what it comes to first", arg, c.Effective)
			return pre
		}
	}
	return pre
}
