package harden

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/patches"
)

// The ConfigMaps that kubeadm renders nodes from, at init, join and upgrade.
var (
	KubeadmConfig = ObjectRef{APIVersion: "v1", Kind: "ConfigMap", Namespace: "kube-system", Name: "kubeadm-config"}
	KubeletConfig = ObjectRef{APIVersion: "v1", Kind: "ConfigMap", Namespace: "kube-system", Name: "kubelet-config"}
)

// Their keys.
const (
	clusterConfigurationKey = "ClusterConfiguration"
	kubeletConfigurationKey = "kubelet"
)

// kubeadmSections are where a ClusterConfiguration (kubeadm.k8s.io, v1beta3 to v1) keeps a component's arguments.
var kubeadmSections = map[ComponentID]patches.Path{
	APIServer:         {"apiServer"},
	ControllerManager: {"controllerManager"},
	Scheduler:         {"scheduler"},
	Etcd:              {"etcd", "local"},
}

// editableKubeadm are the versions of kubeadm's API whose shape is known.
var editableKubeadm = []string{"kubeadm.k8s.io/v1beta3", "kubeadm.k8s.io/v1beta4", "kubeadm.k8s.io/v1"}

// renderConfigMap renders an intent into a ConfigMap of kubeadm's: text inside of text.
func (i Intent) renderConfigMap(s State) (State, error) {
	if !s.Exists {
		return s, fmt.Errorf("%s: it does not exist", i.Object)
	}
	edit := i.editClusterConfiguration
	if *i.Object == KubeletConfig {
		edit = i.editKubeletConfiguration
	}
	key := i.Object.configKey()
	object, text, err := configText(s.Data, key)
	if err != nil {
		return s, fmt.Errorf("%s: %w", i.Object, err)
	}
	out, err := edit(text)
	if err != nil {
		return s, fmt.Errorf("%s: %s: %w", i.Object, key, err)
	}
	if bytes.Equal(out, text) {
		return s, nil
	}
	object["data"].(map[string]any)[key] = string(out)
	if s.Data, err = yaml.Marshal(object); err != nil {
		return s, fmt.Errorf("%s: %w", i.Object, err)
	}
	return s, nil
}

// configKey is where one of kubeadm's ConfigMaps has its text.
func (r ObjectRef) configKey() string {
	if r == KubeletConfig {
		return kubeletConfigurationKey
	}
	return clusterConfigurationKey
}

// configText is the object, and the text that it has at a key of its data.
func configText(data []byte, key string) (object map[string]any, text []byte, err error) {
	if err := yaml.UnmarshalStrict(data, &object); err != nil {
		return nil, nil, err
	}
	inner, _ := object["data"].(map[string]any)
	s, ok := inner[key].(string)
	if !ok {
		return nil, nil, fmt.Errorf("it has no key %s", key)
	}
	return object, []byte(s), nil
}

func (i Intent) editKubeletConfiguration(text []byte) ([]byte, error) {
	if i.Kind != IntentSetField {
		return nil, fmt.Errorf("%s is nothing that it can hold", i.Kind)
	}
	path, err := patches.ParsePath(i.Key)
	if err != nil {
		return nil, err
	}
	return patches.Set(text, path, i.Value)
}

func (i Intent) editClusterConfiguration(text []byte) ([]byte, error) {
	c, err := ParseKubeadm(string(text), "")
	if err != nil {
		return nil, err
	}
	if !slices.Contains(editableKubeadm, c.APIVersion) {
		return nil, fmt.Errorf("it is of %s, which is not known here: change it by hand", c.APIVersion)
	}
	section, ok := kubeadmSections[i.Component]
	if !ok {
		return nil, fmt.Errorf("it has nothing for %s", i.Component)
	}
	value, _ := i.Value.(string)
	switch i.Kind {
	case IntentSetFlag:
		return c.setArg(text, section, i, value)
	case IntentRemoveFlag:
		return c.removeArg(text, section, i)
	case IntentMergeList:
		return c.setArg(text, section, i, c.mergedList(i))
	case IntentMount:
		return c.addVolume(text, section, i)
	}
	return nil, fmt.Errorf("%s is nothing that it can hold", i.Kind)
}

// mergedList is what a list flag becomes. An entry of extraArgs replaces what kubeadm would write, so that is repeated.
func (k *KubeadmFact) mergedList(i Intent) string {
	now, _ := k.Flag(i.Component, i.Key)
	list := now.List()
	list = slices.DeleteFunc(list, func(e string) bool { return slices.Contains(i.Remove, e) })
	return strings.Join(union(list, i.Add), ",")
}

// argsAreMap: lists of arguments came with v1beta4 (Kubernetes 1.31).
func (k *KubeadmFact) argsAreMap() bool { return k.APIVersion == "kubeadm.k8s.io/v1beta3" }

// only gives the index of the one argument of that name, -1 where there is none.
func (k *KubeadmFact) only(i Intent) (int, error) {
	at := -1
	for n, a := range k.ExtraArgs[i.Component] {
		switch {
		case a.Name != i.Key:
		case at >= 0:
			return 0, fmt.Errorf("extraArgs of %s has --%s more than once: change it by hand", i.Component, i.Key)
		case a.MergeMethod != "":
			return 0, fmt.Errorf("extraArgs of %s has --%s with a mergeMethod: change it by hand", i.Component, i.Key)
		default:
			at = n
		}
	}
	return at, nil
}

func (k *KubeadmFact) setArg(text []byte, section patches.Path, i Intent, value string) ([]byte, error) {
	at, err := k.only(i)
	if err != nil {
		return nil, err
	}
	extra := append(slices.Clone(section), "extraArgs")
	switch {
	case at < 0 && k.writes(i.Component, i.Key, value):
		return text, nil // kubeadm writes it by itself
	case k.argsAreMap():
		return patches.Set(text, append(extra, i.Key), value)
	case at >= 0:
		return patches.Set(text, append(extra, at, "value"), value)
	case len(k.ExtraArgs[i.Component]) == 0:
		return patches.Set(text, extra, []any{map[string]any{"name": i.Key, "value": value}})
	}
	return patches.Insert(text, extra, map[string]any{"name": i.Key, "value": value})
}

// writes says that kubeadm writes just this by itself.
func (k *KubeadmFact) writes(id ComponentID, flag, value string) bool {
	own, _ := k.Flag(id, flag)
	return own.Set && own.Last() == value
}

// removeArg cannot take away what kubeadm writes by itself; no control asks for that.
func (k *KubeadmFact) removeArg(text []byte, section patches.Path, i Intent) ([]byte, error) {
	at, err := k.only(i)
	if err != nil || at < 0 {
		return text, err
	}
	extra := append(slices.Clone(section), "extraArgs")
	if len(k.ExtraArgs[i.Component]) == 1 {
		return patches.Delete(text, extra)
	}
	if k.argsAreMap() {
		return patches.Delete(text, append(extra, i.Key))
	}
	return patches.Delete(text, append(extra, at))
}

func (k *KubeadmFact) addVolume(text []byte, section patches.Path, i Intent) ([]byte, error) {
	if i.Component == Etcd {
		return nil, errors.New("kubeadm knows no volumes of etcd")
	}
	want := KubeadmVolume{
		Name: volumeName(i.Mount), HostPath: i.Mount.HostPath, MountPath: i.Mount.MountPath, ReadOnly: i.Mount.ReadOnly, PathType: i.Mount.Type,
	}
	for _, v := range k.ExtraVolumes[i.Component] {
		switch {
		case v.MountPath == want.MountPath && v.HostPath == want.HostPath && (want.ReadOnly || !v.ReadOnly):
			return text, nil
		case v.MountPath == want.MountPath || v.Name == want.Name:
			return nil, fmt.Errorf("extraVolumes of %s mounts %s at %s already: change it by hand", i.Component, v.HostPath, v.MountPath)
		}
	}
	volumes := append(slices.Clone(section), "extraVolumes")
	entry := map[string]any{"name": want.Name, "hostPath": want.HostPath, "mountPath": want.MountPath, "pathType": want.PathType}
	if want.ReadOnly {
		entry["readOnly"] = true
	}
	if want.PathType == "" {
		delete(entry, "pathType")
	}
	if len(k.ExtraVolumes[i.Component]) == 0 {
		return patches.Set(text, volumes, []any{entry})
	}
	return patches.Insert(text, volumes, entry)
}

// volumeName is unique for a path, and a name that a volume of a pod may have.
func volumeName(m *patches.Mount) string {
	if m.Name != "" {
		return m.Name
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(strings.Trim(m.MountPath, "/")))
	return strings.Trim(name[max(0, len(name)-63):], "-")
}
