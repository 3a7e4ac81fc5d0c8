package patches

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"
)

// normal brings a value into the few types that edits work on: nil, bool, int, float64, string, []any and
// map[string]any. A float without a fraction becomes an int, because values that went through JSON arrive so.
func normal(value any) (any, error) {
	switch v := value.(type) {
	case nil, bool, string, int:
		return v, nil
	}
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.String:
		return v.String(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return int(v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if v.Uint() > math.MaxInt64 {
			return nil, fmt.Errorf("editing a document: %d is too large", v.Uint())
		}
		return int(v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		f := v.Float()
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int(f), nil
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("editing a document: %v is not a number", f)
		}
		return f, nil
	case reflect.Slice, reflect.Array:
		list := make([]any, v.Len())
		for i := range list {
			item, err := normal(v.Index(i).Interface())
			if err != nil {
				return nil, err
			}
			list[i] = item
		}
		return list, nil
	case reflect.Map:
		if v.Type().Key().Kind() != reflect.String {
			break
		}
		m := make(map[string]any, v.Len())
		for entries := v.MapRange(); entries.Next(); {
			item, err := normal(entries.Value().Interface())
			if err != nil {
				return nil, err
			}
			m[entries.Key().String()] = item
		}
		return m, nil
	}
	return nil, fmt.Errorf("editing a document: a %T cannot be written", value)
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Value == "<<" && key.ShortTag() == "!!merge"
}

func decodeScalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return b
		}
	case "!!int":
		var i int
		if n.Decode(&i) == nil {
			return i
		}
	case "!!float":
		var f float64
		if n.Decode(&f) == nil {
			return f
		}
	}
	return n.Value
}

// encode is the node that a value is expected to be read as; it is compared, never written.
func encode(value any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	switch v := value.(type) {
	case nil:
		n.Tag = "!!null"
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(v)
	case int:
		n.Tag, n.Value = "!!int", strconv.Itoa(v)
	case float64:
		n.Tag, n.Value = "!!float", strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		n.Tag, n.Value = "!!str", v
	case []any:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		for _, item := range v {
			n.Content = append(n.Content, encode(item))
		}
	case map[string]any:
		n.Kind, n.Tag = yaml.MappingNode, "!!map"
		for _, key := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, encode(key), encode(v[key]))
		}
	}
	return n
}

// same compares what two nodes mean. The order of keys means nothing, aliases are equal by name.
func same(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a == b {
		return true
	}
	if a.Kind != b.Kind || a.Anchor != b.Anchor {
		return false
	}
	switch a.Kind {
	case yaml.AliasNode:
		return a.Value == b.Value
	case yaml.ScalarNode:
		if a.ShortTag() != b.ShortTag() {
			return false
		}
		return a.Value == b.Value || a.ShortTag() != "!!str" && decodeScalar(a) == decodeScalar(b)
	}
	if a.ShortTag() != b.ShortTag() || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.MappingNode && !sameKeys(a, b) {
		return sameUnordered(a, b)
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

func sameKeys(a, b *yaml.Node) bool {
	for i := 0; i < len(a.Content); i += 2 {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

func sameUnordered(a, b *yaml.Node) bool {
	at := make(map[string]int, len(b.Content)/2)
	for i := 0; i < len(b.Content); i += 2 {
		at[b.Content[i].Value] = i
	}
	for i := 0; i < len(a.Content); i += 2 {
		j, found := at[a.Content[i].Value]
		if !found || !same(a.Content[i], b.Content[j]) || !same(a.Content[i+1], b.Content[j+1]) {
			return false
		}
	}
	return true
}
