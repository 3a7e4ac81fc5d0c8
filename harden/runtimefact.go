package harden

import "fmt"

// Groups of facts about how the container runtime is configured.
const (
	NeedRuntimeConfig Need = "runtime-config"     // as it runs, told over CRI
	NeedRegistries    Need = "runtime-registries" // how registries prove themselves to it
)

// Names by which container runtimes call themselves.
const (
	Containerd = "containerd"
	CRIO       = "cri-o"
)

// RuntimeFact is the container runtime's configuration as it runs. What it is called in the configuration differs: containerd has
// unset_seccomp_profile, CRI-O seccomp_profile.
type RuntimeFact struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// UnsetSeccomp is the profile of containerd's for a client that asks for none, not even for "unconfined"; "" leaves it unconfined.
	UnsetSeccomp string `json:"unsetSeccomp,omitempty"`
	// SeccompFile is the file that CRI-O takes for its default profile; "" is the one that is built in.
	SeccompFile string `json:"seccompFile,omitempty"`
	// AppArmor and SELinux: the configuration lets it use them.
	AppArmor bool `json:"appArmor"`
	SELinux  bool `json:"selinux"`
	// Streams is nil where it is not told.
	Streams *StreamsFact `json:"streams,omitempty"`
	// WritableCgroups are handlers whose containers may write their control groups.
	WritableCgroups []string `json:"writableCgroups,omitempty"`
	// Registries is nil where they are not told.
	Registries *RuntimeRegistries `json:"registries,omitempty"`
}

// StreamsFact is where exec, attach and port-forward are served.
type StreamsFact struct {
	Address string `json:"address"` // "": the node's own address
	Port    string `json:"port"`    // "0": any that is free
	TLS     bool   `json:"tls"`
}

// RuntimeRegistries is what a runtime tells of registries.
type RuntimeRegistries struct {
	ConfigPath string   `json:"configPath,omitempty"` // directories of hosts.toml files, joined by colons
	Unverified []string `json:"unverified,omitempty"` // registries whose certificates it does not check
	Mirrors    []string `json:"mirrors,omitempty"`    // URLs
}

// RegistriesFact is where a runtime was found to take images from registries that do not prove themselves, and where that was
// looked for.
type RegistriesFact struct {
	Looked     []Evidence `json:"looked,omitempty"`
	Unverified []Evidence `json:"unverified,omitempty"`
	// Changed: a file was changed since the runtime read it.
	Changed bool `json:"changed,omitempty"`
}

// String is "containerd v1.7.27".
func (r RuntimeFact) String() string { return r.Name + " " + r.Version }

// Evidence is a setting as the runtime told it.
func (r RuntimeFact) Evidence(setting string, value any) Evidence {
	return Evidence{Source: r.String() + ", as it runs", Value: fmt.Sprintf("%s = %#v", setting, value)}
}

// ModulesFact are the kernel's modules that confine processes, as far as container runtimes use them.
type ModulesFact struct {
	AppArmor bool `json:"appArmor"`
	// Parser is the program that loads AppArmor's profiles; without it containerd takes AppArmor for absent.
	Parser  bool `json:"parser"`
	SELinux bool `json:"selinux"` // it enforces
}
