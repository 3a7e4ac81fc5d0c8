package harden

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KubeletConfigSource names the ConfigMap in evidence.
const KubeletConfigSource = "ConfigMap kube-system/kubelet-config"

// fieldSources are evidence of what the running kubelet and the cluster's ConfigMap say about the fields of a control, and where they
// say otherwise than the node's files. What is in the evidence already is not said twice.
func fieldSources(f *Facts, fields []string, said []Evidence) []Evidence {
	k := f.Kubelet
	var out []Evidence
	add := func(e Evidence) {
		if !slices.Contains(said, e) && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	for _, field := range fields {
		want := k.Field(field)
		if live, ok := lookup(k.Live, field); ok && k.Live != nil {
			e := Evidence{Source: "the running kubelet (/configz)", Value: field + ": " + fieldText(live)}
			if want.Set && !zeroField(want.Value) && !sameField(live, want.Value) {
				e.Value += fmt.Sprintf(", where the files and flags of this node say %s: it has not read them", fieldText(want.Value))
			}
			add(e)
		}
		if f.Cluster == nil || f.Cluster.Kubeadm == nil || f.Cluster.Kubeadm.KubeletFields == nil {
			continue
		}
		shared, kept := lookup(f.Cluster.Kubeadm.KubeletFields, field)
		e := Evidence{Source: KubeletConfigSource, Value: field + " is not set"}
		if kept = kept && shared != nil; kept {
			e.Value = field + ": " + fieldText(shared)
		}
		if here, set := k.inFile(field); (set != kept || set && !sameField(here, shared)) && k.Config.Path != "" {
			e.Value += ", and kubeadm upgrade writes " + k.Config.Path + " from here"
		}
		add(e)
	}
	return out
}

// inFile is what the configuration file alone says of a field: that is what an upgrade writes anew.
func (k *KubeletFacts) inFile(field string) (any, bool) {
	for _, l := range k.Layers {
		if l.Source == k.Config.Path {
			v, ok := lookup(l.Fields, field)
			return v, ok && v != nil
		}
	}
	return nil, false
}

// sameField compares values of a field that come from YAML, JSON and flags: 4h is 4h0m0s, and a flag's list is one text.
func sameField(a, b any) bool {
	s, t := fieldText(a), fieldText(b)
	if s == t {
		return true
	}
	x, errX := time.ParseDuration(s)
	y, errY := time.ParseDuration(t)
	return errX == nil && errY == nil && x == y
}

// zeroField says that the kubelet may take its default for a value.
func zeroField(v any) bool {
	s := fieldText(v)
	d, err := time.ParseDuration(s)
	return s == "" || s == "0" || err == nil && d == 0
}

func fieldText(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			out[i] = fieldText(e)
		}
		return strings.Join(out, ",")
	case []string:
		return strings.Join(v, ",")
	}
	return fmt.Sprint(v)
}
