package harden

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/patches"
)

// FlagFact is a flag of a component as it is in force.
type FlagFact struct {
	Set    bool
	Values []string // one for each occurrence, in order
	Source string   // "process 1234" or the manifest's path
}

// Last is the value that counts for a flag that is not a list: the last one. "" when the flag is not set.
func (f FlagFact) Last() string {
	if len(f.Values) == 0 {
		return ""
	}
	return f.Values[len(f.Values)-1]
}

// List is the union of comma separated values over all occurrences, in order, without empty entries.
func (f FlagFact) List() []string {
	var out []string
	for _, v := range f.Values {
		for _, e := range strings.Split(v, ",") {
			if e = strings.TrimSpace(e); e != "" {
				out = append(out, e)
			}
		}
	}
	return out
}

// Has says whether List contains the entry.
func (f FlagFact) Has(entry string) bool {
	for _, e := range f.List() {
		if e == entry {
			return true
		}
	}
	return false
}

// Evidence is the flag as something seen: "--profiling=false", or that it is not set.
func (f FlagFact) Evidence(flag string) Evidence {
	if !f.Set {
		return Evidence{Source: f.Source, Value: "--" + flag + " is not set"}
	}
	parts := make([]string, len(f.Values))
	for i, v := range f.Values {
		parts[i] = "--" + flag + "=" + v
	}
	return Evidence{Source: f.Source, Value: strings.Join(parts, " ")}
}

// Component gives the facts of a component, nil when there are none.
func (f *Facts) Component(id ComponentID) *ComponentFacts { return f.Components[id] }

// readsAlong says that a path is a file of a static pod and neither its manifest, whatever that is called here, nor a rival of that.
func (f *Facts) readsAlong(id ComponentID, path string) bool {
	c, known := ComponentByID(id)
	facts := f.Component(id)
	return known && c.StaticPod() && (facts == nil || facts.Manifest.Path != path && !slices.Contains(facts.Rivals, path))
}

// NodeAddress is the address that the kubelet takes for the node's own, and so for that of a pod on the host's network: the
// one that it is given, or the Node object's first one, or what the API server advertises. "": none is known.
func (f *Facts) NodeAddress() string {
	var known []string
	if f.Kubelet != nil {
		known = f.Kubelet.Flag("node-ip").List()
	}
	if f.Cluster != nil {
		for _, n := range f.Cluster.Nodes {
			if n.Name == f.Identity.Node {
				known = append(known, n.Addresses...)
			}
		}
	}
	if api := f.Component(APIServer); api != nil {
		known = append(known, api.Flag("advertise-address").Last())
	}
	for _, s := range known {
		if a, err := netip.ParseAddr(s); err == nil && !a.IsUnspecified() {
			return a.String()
		}
	}
	return ""
}

// Flag is what is in force: the live process where one was seen, else the manifest.
func (c *ComponentFacts) Flag(name string) FlagFact {
	if c.Process != nil {
		return c.Process.Flag(string(c.ID), name)
	}
	return c.FileFlag(name)
}

// FileFlag is what the manifest says.
func (c *ComponentFacts) FileFlag(name string) FlagFact {
	path := c.Manifest.Path
	if c.Effective != "" {
		path = c.Effective
	}
	return flagFrom(c.Args, name, path)
}

// Drifted says that the live process does not run what the manifest says.
func (c *ComponentFacts) Drifted() bool {
	return c.Process != nil && len(c.Unknown) == 0 && !SameArgs(c.Process.Args, c.Args)
}

// Flag of the kubelet's live process, else of the command line that its unit would start.
func (k *KubeletFacts) Flag(name string) FlagFact {
	if k.Process != nil {
		return k.Process.Flag(string(Kubelet), name)
	}
	return flagFrom(k.Args, name, "kubelet.service")
}

// FieldFact is a kubelet setting as it is in force.
type FieldFact struct {
	Set   bool
	Value any
}

// Field merges the layers: flags over drop-ins over the file. The path is dotted ("authentication.anonymous.enabled"). A
// null in a drop-in takes the field away, as in a JSON merge patch.
func (k *KubeletFacts) Field(path string) FieldFact {
	var out FieldFact
	for _, l := range k.Layers {
		if v, ok := lookup(l.Fields, path); ok {
			out = FieldFact{Set: v != nil, Value: v}
		}
	}
	return out
}

// ServesAt is the address and the port at which the kubelet is set to serve over TLS. Flags win over the files here too.
func (k *KubeletFacts) ServesAt() (address, port string) {
	at := map[string]string{"address": "0.0.0.0", "port": "10250"}
	for name := range at {
		if field := k.Field(name); field.Set {
			at[name] = fmt.Sprint(field.Value)
		}
	}
	for _, flag := range patches.ParseArgs(k.Args) {
		if _, ok := at[flag.Name]; ok {
			at[flag.Name] = flag.Value
		}
	}
	return at["address"], at["port"]
}

// lookup finds what a layer says about a path: a value, or that it is null, there or at one of its parents.
func lookup(fields map[string]any, path string) (value any, found bool) {
	var v any = fields
	for _, key := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, v == nil
		}
		if v, ok = m[key]; !ok {
			return nil, false
		}
	}
	return v, true
}

// Flag of a live process of a program.
func (p *ProcessFact) Flag(program, name string) FlagFact {
	return flagFrom(p.Args, name, "process "+strconv.Itoa(p.PID)+" ("+program+")")
}

func flagFrom(args []string, name, source string) FlagFact {
	out := FlagFact{Source: source}
	for f := range patches.FlagsIn(args) {
		if f.Name == name {
			out.Set = true
			v := f.Value
			if !f.HasValue {
				v = "true"
			}
			out.Values = append(out.Values, v)
		}
	}
	return out
}

// HostPath follows a path inside the component's container to the host, through the longest mount that covers it. False:
// no hostPath mount covers it, so the process does not see a file of the host there.
func (c *ComponentFacts) HostPath(inContainer string) (string, bool) {
	if c.Pod == nil {
		return "", false
	}
	ct := ContainerOf(c.Pod, c.ID)
	if ct == nil {
		return "", false
	}
	return hostPath(c.Pod, ct, inContainer)
}

// Reader is the static pod that is given a file of the host by a flag; "": none is.
func (f *Facts) Reader(path string) ComponentID {
	for _, c := range Components {
		facts := f.Component(c.ID)
		if facts == nil {
			continue
		}
		for _, fl := range patches.ParseArgs(facts.Args) {
			if host, ok := facts.HostPath(fl.Value); ok && host == path {
				return c.ID
			}
		}
	}
	return ""
}
