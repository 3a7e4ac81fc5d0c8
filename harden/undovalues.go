package harden

import (
	"bytes"
	"slices"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/patches"
)

// takenBack is what is there now without what the step has changed, from want to ours. False: others changed the same.
func (s Step) takenBack(ours, want, now []byte) (back []byte, ok bool, err error) {
	if s.Object == nil || *s.Object != KubeadmConfig && *s.Object != KubeletConfig {
		return takenBack(ours, want, now)
	}
	// kubeadm's configuration is text inside of text.
	var texts [3][]byte
	var object map[string]any
	key := s.Object.configKey()
	for i, data := range [][]byte{ours, want, now} {
		if object, texts[i], err = configText(data, key); err != nil {
			return nil, false, err
		}
	}
	text, ok, err := takenBack(texts[0], texts[1], texts[2])
	if err != nil || !ok {
		return nil, false, err
	}
	object["data"].(map[string]any)[key] = string(text)
	back, err = yaml.Marshal(object)
	return back, err == nil, err
}

// takenBack goes by lines, which keeps most of the text, where that has the wanted effect: a program that wrote the file anew
// (kubeadm upgrade does) can have put the same values elsewhere. Then it goes by values.
func takenBack(ours, want, now []byte) (back []byte, ok bool, err error) {
	merged, conflicts, err := patches.Merge3(ours, want, now)
	if err != nil {
		return nil, false, err
	}
	// A merge of lines can tear a document apart: a list's head goes, an item that others added stays.
	if torn := parses(now) && !parses(merged); len(conflicts) == 0 && !torn {
		more, clashes, err := patches.MergeValues(ours, want, merged)
		if err == nil && slices.ContainsFunc(clashes, func(c patches.ValueConflict) bool { return c.Flag }) {
			return nil, false, nil // lines that do not touch can hold the same flag
		}
		if err != nil || bytes.Equal(more, merged) {
			return merged, true, nil
		}
	}
	merged, clashes, err := patches.MergeValues(ours, want, now)
	return merged, err == nil && len(clashes) == 0, nil
}

func parses(doc []byte) bool {
	var v any
	return yaml.Unmarshal(doc, &v) == nil
}
