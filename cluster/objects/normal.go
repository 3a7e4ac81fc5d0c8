package objects

import (
	"fmt"
	"maps"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"sigs.k8s.io/yaml"
)

// Object is an API object, decoded.
type Object map[string]any

// Decode reads one object from YAML or JSON; a key that occurs twice is refused.
func Decode(data []byte) (Object, error) {
	var o Object
	if err := yaml.UnmarshalStrict(data, &o); err != nil {
		return nil, fmt.Errorf("decoding an object: %w", err)
	}
	ref := o.Ref()
	for what, value := range map[string]string{"apiVersion": ref.APIVersion, "kind": ref.Kind, "metadata.name": ref.Name} {
		if value == "" {
			return nil, fmt.Errorf("decoding an object: it has no %s", what)
		}
	}
	return o, nil
}

// Ref names the object.
func (o Object) Ref() harden.ObjectRef {
	return harden.ObjectRef{
		APIVersion: text(o["apiVersion"]), Kind: text(o["kind"]),
		Namespace: o.Meta("namespace"), Name: o.Meta("name"),
	}
}

// Meta gives a text field of the metadata.
func (o Object) Meta(field string) string { return text(o.metadata()[field]) }

var keptMetadata = []string{"name", "namespace", "labels", "annotations"}

// Normal is the object without what the server keeps for itself: of the metadata name, namespace, labels and annotations
// (empty ones count as absent), and every other field but status.
func (o Object) Normal() Object {
	out := maps.Clone(o)
	delete(out, "status")
	meta := map[string]any{}
	for _, k := range keptMetadata {
		v, ok := o.metadata()[k]
		if m, isMap := v.(map[string]any); !ok || v == nil || isMap && len(m) == 0 {
			continue
		}
		meta[k] = v
	}
	out["metadata"] = meta
	return out
}

// With is the object with labels, annotations and all other fields of the normal form of p, and the server's own
// fields as they are in o.
func (o Object) With(p Object) Object {
	p = p.Normal()
	out := maps.Clone(p)
	if status, ok := o["status"]; ok {
		out["status"] = status
	}
	meta := maps.Clone(o.metadata())
	for _, k := range keptMetadata {
		if v, ok := p.metadata()[k]; ok {
			meta[k] = v
		} else {
			delete(meta, k)
		}
	}
	out["metadata"] = meta
	return out
}

// WithMeta is the object with fields of its metadata set.
func (o Object) WithMeta(fields map[string]any) Object {
	out := maps.Clone(o)
	meta := maps.Clone(o.metadata())
	if meta == nil {
		meta = map[string]any{}
	}
	maps.Copy(meta, fields)
	out["metadata"] = meta
	return out
}

// YAML writes the object with sorted keys.
func (o Object) YAML() ([]byte, error) {
	data, err := yaml.Marshal(map[string]any(o))
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", o.Ref(), err)
	}
	return data, nil
}

// Expect decodes an object and refuses one that is not the one named.
func Expect(ref harden.ObjectRef, data []byte) (Object, error) {
	o, err := Decode(data)
	if err != nil {
		return nil, err
	}
	if got := o.Ref(); got != ref {
		return nil, fmt.Errorf("decoding an object: it is %s %s, not %s %s", got.APIVersion, got, ref.APIVersion, ref)
	}
	return o, nil
}

// CheckSegment refuses a text that cannot be one element of an API path.
func CheckSegment(s string) error {
	if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/%?#") {
		return fmt.Errorf("%q cannot be part of an API path", s)
	}
	return nil
}

func (o Object) metadata() map[string]any {
	m, _ := o["metadata"].(map[string]any)
	return m
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
