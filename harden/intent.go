package harden

import (
	"fmt"
	"reflect"

	"kubectl-harden.io/kubectl-harden/patches"
)

// IntentKind says what an intent asks for.
type IntentKind string

const (
	IntentSetFlag       IntentKind = "SetFlag"       // Component, Key, Value
	IntentRemoveFlag    IntentKind = "RemoveFlag"    // Component, Key
	IntentMergeList     IntentKind = "MergeList"     // Component, Key, Add, Remove
	IntentMount         IntentKind = "Mount"         // Component, Mount
	IntentTCPProbes     IntentKind = "TCPProbes"     // Component
	IntentProbeHost     IntentKind = "ProbeHost"     // Component, Value
	IntentAnnotate      IntentKind = "Annotate"      // Component, Key, Value
	IntentSetField      IntentKind = "SetField"      // Path (a YAML file), Key (a field path), Value
	IntentAddItem       IntentKind = "AddItem"       // Path (a YAML file), Key (a list's path), Variable (the item's name), Value
	IntentSetEnvFlag    IntentKind = "SetEnvFlag"    // Path, Variable, Key, Value
	IntentRemoveEnvFlag IntentKind = "RemoveEnvFlag" // Path, Variable, Key
	IntentWriteFile     IntentKind = "WriteFile"     // Path, Data, Mode
	IntentMakeDir       IntentKind = "MakeDir"       // Path, Mode
	IntentSetMode       IntentKind = "SetMode"       // Path, Mode, Dir
	IntentSetOwner      IntentKind = "SetOwner"      // Path, Owner, Dir
	IntentSysctl        IntentKind = "Sysctl"        // Path (a sysctl.d file), Key, Value
	IntentPutObject     IntentKind = "PutObject"     // Object, Data (its YAML)
	IntentNewKey        IntentKind = "NewKey"        // Path (an encryption configuration), Key (provider), Variable (the key's name), Add (resources), Data (the key)
	IntentFirstKey      IntentKind = "FirstKey"      // Path, Variable
	IntentDropKey       IntentKind = "DropKey"       // Path, Variable
	IntentAdoptKeys     IntentKind = "AdoptKeys"     // Path, Key (the file that they are in now), Value (its sha256), Data (what it holds)
	IntentRemoveFile    IntentKind = "RemoveFile"    // Path
	IntentRenew         IntentKind = "Renew"         // Path (a certificate, its key or a kubeconfig), Key (kubeadm's name of it), Data (what it becomes)
)

// Intent is what a remedy asks for, as data: which fields count depends on Kind.
type Intent struct {
	Kind      IntentKind     `json:"kind"`
	Component ComponentID    `json:"component,omitempty"`
	Path      string         `json:"path,omitempty"`
	Variable  string         `json:"variable,omitempty"`
	Key       string         `json:"key,omitempty"`
	Value     any            `json:"value,omitempty"`
	Add       []string       `json:"add,omitempty"`
	Remove    []string       `json:"remove,omitempty"`
	Mount     *patches.Mount `json:"mount,omitempty"`
	Data      []byte         `json:"data,omitempty"`
	Mode      uint32         `json:"mode,omitempty"`
	Owner     *Owner         `json:"owner,omitempty"`
	// Dir says that the path is a directory's, for kinds that files and directories share.
	Dir bool `json:"dir,omitempty"`
	// Object is the target of PutObject; another intent that names one of kubeadm's ConfigMaps is rendered into that.
	Object *ObjectRef `json:"object,omitempty"`
	// Restarts names the component that reads the file only at its start, so that writing it restarts that one.
	Restarts ComponentID `json:"restarts,omitempty"`
	// Along: asked only so that the control makes sense alone; it is another control's own, where that one is chosen.
	Along bool `json:"along,omitempty"`
}

// Owner is who a file belongs to.
type Owner struct {
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// ObjectRef names an API object.
type ObjectRef struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name"`
}

// String is "NetworkPolicy shop/deny-all-ingress".
func (r ObjectRef) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// SetFlag asks for --flag=value, once.
func SetFlag(c ComponentID, flag, value string) Intent {
	return Intent{Kind: IntentSetFlag, Component: c, Key: flag, Value: value}
}

// RemoveFlag asks for the absence of a flag.
func RemoveFlag(c ComponentID, flag string) Intent {
	return Intent{Kind: IntentRemoveFlag, Component: c, Key: flag}
}

// MergeList asks that a comma separated flag has some entries and lacks others; the rest stays.
func MergeList(c ComponentID, flag string, add, remove []string) Intent {
	return Intent{Kind: IntentMergeList, Component: c, Key: flag, Add: add, Remove: remove}
}

// MountPath asks that a path of the host is mounted into the component's container.
func MountPath(c ComponentID, m patches.Mount) Intent {
	return Intent{Kind: IntentMount, Component: c, Mount: &m}
}

// TCPProbes asks that the component's HTTP probes become TCP probes.
func TCPProbes(c ComponentID) Intent { return Intent{Kind: IntentTCPProbes, Component: c} }

// ProbeHost asks that the component's probes ask at a host.
func ProbeHost(c ComponentID, host string) Intent {
	return Intent{Kind: IntentProbeHost, Component: c, Value: host}
}

// AddItem asks that a list of a YAML file has an item, whose "name" it is; others of the list stay. An item of that name that
// is there is for SetField.
func AddItem(path, list, name string, fields map[string]any, restarts ComponentID) Intent {
	item := map[string]any{"name": name}
	for k, v := range fields {
		item[k] = v
	}
	return Intent{Kind: IntentAddItem, Path: path, Key: list, Variable: name, Value: item, Restarts: restarts}
}

// RemoveEnvFlag asks for the absence of a flag from a variable of an environment file that restarts names the reader of.
func RemoveEnvFlag(path, variable, flag string, restarts ComponentID) Intent {
	return Intent{Kind: IntentRemoveEnvFlag, Path: path, Variable: variable, Key: flag, Restarts: restarts}
}

// RestartAnnotation is changed to have the kubelet restart a static pod.
const RestartAnnotation = "kubectl-harden.io/restarted-for"

// Restart asks that a component has started since something, which is written down in its manifest.
func Restart(c ComponentID, since string) Intent {
	return Intent{Kind: IntentAnnotate, Component: c, Key: RestartAnnotation, Value: since}
}

// SetField asks for a value at a path of a YAML file that restarts names the reader of.
func SetField(path, field string, value any, restarts ComponentID) Intent {
	return Intent{Kind: IntentSetField, Path: path, Key: field, Value: value, Restarts: restarts}
}

// WriteFile asks for a whole file; an existing one is replaced.
func WriteFile(path string, data []byte, mode uint32, restarts ComponentID) Intent {
	return Intent{Kind: IntentWriteFile, Path: path, Data: data, Mode: mode, Restarts: restarts}
}

// MakeDir asks for a directory; an existing one is left as it is.
func MakeDir(path string, mode uint32) Intent {
	return Intent{Kind: IntentMakeDir, Path: path, Mode: mode}
}

// SetMode asks for permission bits of a file that is there.
func SetMode(path string, mode uint32) Intent {
	return Intent{Kind: IntentSetMode, Path: path, Mode: mode}
}

// SetOwner asks that a file that is there belongs to somebody.
func SetOwner(path string, uid, gid int) Intent {
	return Intent{Kind: IntentSetOwner, Path: path, Owner: &Owner{uid, gid}}
}

// OfDir makes a SetMode or SetOwner one of a directory, never of what it holds.
func OfDir(i Intent) Intent {
	i.Dir = true
	return i
}

// Sysctl asks for a kernel setting, now and after a reboot.
func Sysctl(path, key, value string) Intent {
	return Intent{Kind: IntentSysctl, Path: path, Key: key, Value: value}
}

// RemoveFile asks that there is no file at a path.
func RemoveFile(path string) Intent { return Intent{Kind: IntentRemoveFile, Path: path} }

// PutObject asks for an API object with this YAML.
func PutObject(ref ObjectRef, yaml []byte) Intent {
	return Intent{Kind: IntentPutObject, Object: &ref, Data: yaml}
}

// edits says that the intent is for an object that is edited, as opposed to one that is put.
func (i Intent) edits() bool { return i.Object != nil && i.Kind != IntentPutObject }

// slot names the thing that an intent decides. Two intents for one slot must ask for the same.
func (i Intent) slot() string {
	switch i.Kind {
	case IntentSetFlag, IntentRemoveFlag, IntentMergeList:
		return fmt.Sprintf("flag --%s of %s", i.Key, i.Component)
	case IntentMount:
		return fmt.Sprintf("mount %s of %s", i.Mount.MountPath, i.Component)
	case IntentTCPProbes, IntentProbeHost:
		return fmt.Sprintf("probes of %s", i.Component)
	case IntentAddItem:
		return fmt.Sprintf("%s of %s in %s", i.Variable, i.Key, i.Path)
	case IntentAnnotate:
		return fmt.Sprintf("annotation %s of %s", i.Key, i.Component)
	case IntentSetEnvFlag, IntentRemoveEnvFlag:
		return fmt.Sprintf("flag --%s in %s", i.Key, i.Path)
	case IntentSetField, IntentSysctl:
		return fmt.Sprintf("%s in %s", i.Key, i.Path)
	case IntentSetMode:
		return "mode of " + i.Path
	case IntentSetOwner:
		return "owner of " + i.Path
	case IntentPutObject:
		return i.Object.String()
	}
	return i.Path
}

// agrees says whether two intents of one slot can both be had.
func (i Intent) agrees(o Intent) bool {
	if i.Kind == IntentMergeList && o.Kind == IntentMergeList {
		return !overlap(i.Add, o.Remove) && !overlap(i.Remove, o.Add)
	}
	return reflect.DeepEqual(i, o)
}

func overlap(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y {
				return true
			}
		}
	}
	return false
}
