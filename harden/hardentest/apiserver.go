package hardentest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// ManifestPath is where a node keeps the API server's manifest.
const ManifestPath = harden.StaticPodDir + "/kube-apiserver.yaml"

// Edit changes the text of a static pod's manifest.
type Edit func(t testing.TB, manifest string) string

// APIServer is the real control-plane node of that minor, with its API server's manifest edited.
func APIServer(t testing.TB, minor string, edits ...Edit) *Node {
	t.Helper()
	return StaticPod(t, minor, harden.APIServer, edits...)
}

// StaticPod is the real control-plane node of that minor, with the manifest of a component edited.
func StaticPod(t testing.TB, minor string, id harden.ComponentID, edits ...Edit) *Node {
	t.Helper()
	n := Fixture(t, minor)
	c, _ := harden.ComponentByID(id)
	at := harden.StaticPodDir + "/" + c.Manifest
	s := n.Files[at]
	for _, edit := range edits {
		s.Data = []byte(edit(t, string(s.Data)))
	}
	n.Files[at] = s
	return n
}

// APIServerFacts are the facts that the collector finds on such a node.
func APIServerFacts(t testing.TB, minor string, edits ...Edit) *harden.Facts {
	t.Helper()
	return APIServer(t, minor, edits...).Facts(t)
}

// Run adds a live API server to the facts, with the arguments of the manifest and others behind them.
func Run(f *harden.Facts, started time.Time, more ...string) {
	RunPod(f, harden.APIServer, started, more...)
}

// RunPod does the same for any static pod.
func RunPod(f *harden.Facts, id harden.ComponentID, started time.Time, more ...string) {
	c := f.Components[id]
	c.Process = &harden.ProcessFact{PID: 4711, Args: slices.Concat(c.Args, more), Started: started}
	f.Identity.Offline = false
}

// Worker are the facts of a node without a control plane.
func Worker(t testing.TB) *harden.Facts {
	t.Helper()
	n := Fixture(t, Minors[0])
	n.AsWorker()
	return n.Facts(t)
}

// AsWorker takes away what a worker has not: the static pods, and all certificates and keys but the CA's certificate.
func (n *Node) AsWorker() {
	for p := range n.Files {
		if strings.HasPrefix(p, harden.StaticPodDir+"/") || strings.HasPrefix(p, "/etc/kubernetes/pki/") && p != "/etc/kubernetes/pki/ca.crt" {
			delete(n.Files, p)
		}
	}
}

// Plan is the node's plan of the choices in one area.
func (n *Node) Plan(t testing.TB, area harden.Area, choices ...harden.Choice) (harden.Plan, error) {
	t.Helper()
	plans, err := harden.Build(harden.BuildInput{
		Facts: n.Facts(t), Areas: []harden.Area{area}, Choices: choices, Read: n.State, Tool: "test",
	})
	return plans.Node, err
}

// digest is the annotation that restarts a pod for a changed file.
var digest = regexp.MustCompile(`^(kubectl-harden\.io/files-sha256:) [0-9a-f]{64}$`)

// Changes are what a plan does, a line each: "make DIR", "write FILE" for a new one, "FILE: + text" and "FILE: - text"
// for the lines of others, without their indentation and without digests.
func Changes(t testing.TB, p harden.Plan) []string {
	t.Helper()
	var out []string
	for _, s := range p.Steps() {
		switch {
		case s.After.Dir:
			out = append(out, "make "+s.Path)
		case !s.Before.Exists:
			out = append(out, "write "+s.Path)
		default:
			d, err := patches.Diff(s.Before.Data, s.After.Data, patches.DiffOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range d.Hunks {
				for _, l := range h.Lines {
					if l.Op != ' ' {
						text := digest.ReplaceAllString(strings.TrimSpace(l.Text), "$1 ...")
						out = append(out, fmt.Sprintf("%s: %c %s", s.Path[strings.LastIndex(s.Path, "/")+1:], l.Op, text))
					}
				}
			}
		}
	}
	return out
}

// program is the first line of a static pod's command.
var program = regexp.MustCompile(`(?m)^  - command:\n    - \S+\n`)

// below adds lines below the program.
func below(lines string) Edit {
	return func(t testing.TB, text string) string {
		t.Helper()
		at := program.FindStringIndex(text)
		if at == nil {
			t.Fatal("the manifest has no command")
		}
		return text[:at[1]] + lines + text[at[1]:]
	}
}

// Replace replaces text that must be there.
func Replace(old, new string) Edit {
	return func(t testing.TB, text string) string {
		t.Helper()
		if !strings.Contains(text, old) {
			t.Fatalf("the manifest has no %q", old)
		}
		return strings.ReplaceAll(text, old, new)
	}
}

// Flag adds --name=value, as the first of the flags: one more where there is one already.
func Flag(name, value string) Edit {
	return below(fmt.Sprintf("    - --%s=%s\n", name, value))
}

// NoFlag takes every --name=value away.
func NoFlag(name string) Edit {
	line := regexp.MustCompile(`(?m)^    - --` + regexp.QuoteMeta(name) + `=.*\n`)
	return func(t testing.TB, text string) string { return line.ReplaceAllString(text, "") }
}

// InArgs moves the flags from command to args.
func InArgs() Edit { return below("    args:\n") }

// Split writes every --name=value as two arguments.
func Split() Edit {
	flag := regexp.MustCompile(`(?m)^(    - --[a-z0-9-]+)=(.*)\n`)
	return func(t testing.TB, text string) string { return flag.ReplaceAllString(text, "$1\n    - \"$2\"\n") }
}

// Version makes the manifest one of another version, with the same flags.
func Version(v string) Edit {
	tag := regexp.MustCompile(`(image: registry\.k8s\.io/kube-apiserver:v).*`)
	return func(t testing.TB, text string) string { return tag.ReplaceAllString(text, "${1}"+v) }
}

// Mount mounts a path of the host at the same path; the lines of more follow the mount, such as "readOnly: true".
func Mount(path, kind string, more ...string) Edit {
	name := strings.ReplaceAll(strings.Trim(path, "/"), "/", "-")
	name = strings.ReplaceAll(name, ".", "-")
	mount := fmt.Sprintf("    - mountPath: %s\n      name: %s\n", path, name)
	for _, line := range more {
		mount += "      " + line + "\n"
	}
	volume := fmt.Sprintf("  - hostPath:\n      path: %s\n      type: %s\n    name: %s\n", path, kind, name)
	return func(t testing.TB, text string) string {
		t.Helper()
		text = Replace("    volumeMounts:\n", "    volumeMounts:\n"+mount)(t, text)
		return Replace("  volumes:\n", "  volumes:\n"+volume)(t, text)
	}
}
