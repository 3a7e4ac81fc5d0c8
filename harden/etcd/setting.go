package etcd

import (
	"fmt"
	"path"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// put asks for a setting where it counts.
func put(f *harden.Facts, name string, value any) (harden.Intent, error) {
	at := f.Component(harden.Etcd).EtcdConfigFile()
	if at == "" {
		text := fmt.Sprint(value)
		if items, ok := value.([]string); ok {
			text = strings.Join(items, ",")
		}
		return harden.SetFlag(harden.Etcd, name, text), nil
	}
	file := f.Referred(harden.Etcd, at)
	if !file.Known || !file.State.Exists {
		return harden.Intent{}, fmt.Errorf("etcd's configuration file %s is not known here; set %s in it by hand", path.Clean(at), harden.EtcdFileKey(name))
	}
	return harden.SetField(file.Path, harden.EtcdFileKey(name), value, harden.Etcd), nil
}

func putAll(f *harden.Facts, values map[string]any, order ...string) ([]harden.Intent, error) {
	var out []harden.Intent
	for _, name := range order {
		i, err := put(f, name, values[name])
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}
