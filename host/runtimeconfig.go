package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RuntimeConfig is the container runtime's configuration as it runs. A pointer is nil, and a list empty, where it is not told.
type RuntimeConfig struct {
	Name, Version string
	// UnsetSeccomp is containerd's unset_seccomp_profile, SeccompFile CRI-O's seccomp_profile.
	UnsetSeccomp, SeccompFile string
	// AppArmor and SELinux: the configuration lets it use them.
	AppArmor, SELinux bool
	Streams           *RuntimeStreams
	WritableCgroups   []string // handlers
	Registries        *RuntimeRegistries
}

// RuntimeStreams is where exec, attach and port-forward are served.
type RuntimeStreams struct {
	Address, Port string
	TLS           bool
}

// RuntimeRegistries are containerd's settings about registries, without credentials.
type RuntimeRegistries struct {
	ConfigPath string
	Unverified []string // registries whose certificates it does not check
	Mirrors    []string // URLs
}

// ErrConfigNotTold is returned of a runtime that does not tell over CRI how it is configured, as CRI-O before 1.33.
var ErrConfigNotTold = errors.New("it does not tell its configuration over CRI")

const (
	maxStatus = 4 << 20 // the whole answer
	maxNames  = 256     // of handlers, registries, mirrors
	maxText   = 4096
)

// criConfig is what is read of info["config"] in the answer to a verbose Status. What has credentials is left out.
//
// containerd 1.7 marshals the whole of its CRI plugin's configuration (pkg/cri/config), containerd 2 what it calls the runtime's,
// which has neither the stream server nor registries (internal/cri/config). CRI-O marshals its RuntimeConfig below "crio", by the names
// of its Go fields (server/runtime_status.go).
type criConfig struct {
	UnsetSeccompProfile *string `json:"unsetSeccompProfile"`
	DisableApparmor     *bool   `json:"disableApparmor"`
	EnableSelinux       *bool   `json:"enableSelinux"`
	StreamServerAddress *string `json:"streamServerAddress"`
	StreamServerPort    *string `json:"streamServerPort"`
	EnableTLSStreaming  *bool   `json:"enableTLSStreaming"`
	Containerd          *struct {
		Runtimes map[string]struct {
			CgroupWritable bool `json:"cgroupWritable"`
		} `json:"runtimes"`
	} `json:"containerd"`
	Registry *struct {
		ConfigPath string `json:"configPath"`
		Mirrors    map[string]struct {
			Endpoints []string `json:"endpoint"`
		} `json:"mirrors"`
		Configs map[string]struct {
			TLS *struct {
				InsecureSkipVerify bool `json:"insecure_skip_verify"`
			} `json:"tls"`
		} `json:"configs"`
	} `json:"registry"`
	CRIO *struct {
		SeccompProfile  *string
		ApparmorProfile *string
		SELinux         *bool
	} `json:"crio"`
}

// Config asks the runtime how it is configured.
func (c *Runtime) Config(ctx context.Context) (RuntimeConfig, error) {
	const doing = "asking the container runtime for its configuration"
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	version, err := c.client.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return RuntimeConfig{}, fmt.Errorf("%s: %w", doing, rpc(ctx, err))
	}
	status, err := c.client.Status(ctx, &cri.StatusRequest{Verbose: true}, grpc.MaxCallRecvMsgSize(maxStatus))
	if err != nil {
		return RuntimeConfig{}, fmt.Errorf("%s: %w", doing, rpc(ctx, err))
	}
	name := fmt.Sprintf("%.64s %.64s", version.GetRuntimeName(), version.GetRuntimeVersion())
	out, err := runtimeConfig(status.GetInfo()["config"])
	if err != nil {
		return RuntimeConfig{}, fmt.Errorf("%s: %s: %w", doing, name, err)
	}
	out.Name, out.Version = fmt.Sprintf("%.64s", version.GetRuntimeName()), fmt.Sprintf("%.64s", version.GetRuntimeVersion())
	return out, nil
}

var errOddConfig = errors.New("the configuration that it tells is not of a form that is known here")

// runtimeConfig reads it strictly: what is of another type than in the runtime's sources makes all of it unknown. No error quotes the
// text, which may hold credentials.
func runtimeConfig(text string) (RuntimeConfig, error) {
	if text == "" {
		return RuntimeConfig{}, ErrConfigNotTold
	}
	var c criConfig
	if json.Unmarshal([]byte(text), &c) != nil {
		return RuntimeConfig{}, errOddConfig
	}
	var out RuntimeConfig
	switch {
	case c.CRIO != nil:
		o := c.CRIO
		if o.SeccompProfile == nil || o.ApparmorProfile == nil || o.SELinux == nil {
			return out, errOddConfig
		}
		out.SeccompFile, out.AppArmor, out.SELinux = *o.SeccompProfile, *o.ApparmorProfile != "unconfined", *o.SELinux
	case c.Containerd != nil:
		if c.UnsetSeccompProfile == nil || c.DisableApparmor == nil || c.EnableSelinux == nil {
			return out, errOddConfig
		}
		out.UnsetSeccomp, out.AppArmor, out.SELinux = *c.UnsetSeccompProfile, !*c.DisableApparmor, *c.EnableSelinux
	default:
		return out, ErrConfigNotTold
	}
	if c.StreamServerAddress != nil && c.StreamServerPort != nil && c.EnableTLSStreaming != nil {
		out.Streams = &RuntimeStreams{*c.StreamServerAddress, *c.StreamServerPort, *c.EnableTLSStreaming}
	}
	if c.Containerd != nil {
		for _, name := range slices.Sorted(maps.Keys(c.Containerd.Runtimes)) {
			if c.Containerd.Runtimes[name].CgroupWritable {
				out.WritableCgroups = append(out.WritableCgroups, name)
			}
		}
	}
	if c.Registry != nil {
		r := &RuntimeRegistries{ConfigPath: c.Registry.ConfigPath}
		for _, host := range slices.Sorted(maps.Keys(c.Registry.Configs)) {
			if tls := c.Registry.Configs[host].TLS; tls != nil && tls.InsecureSkipVerify {
				r.Unverified = append(r.Unverified, host)
			}
		}
		for _, host := range slices.Sorted(maps.Keys(c.Registry.Mirrors)) {
			r.Mirrors = append(r.Mirrors, c.Registry.Mirrors[host].Endpoints...)
		}
		out.Registries = r
	}
	if !out.small() {
		return RuntimeConfig{}, errOddConfig
	}
	return out, nil
}

// small says that what was read can be kept and shown.
func (c RuntimeConfig) small() bool {
	texts := append([]string{c.UnsetSeccomp, c.SeccompFile}, c.WritableCgroups...)
	if s := c.Streams; s != nil {
		texts = append(texts, s.Address, s.Port)
	}
	if r := c.Registries; r != nil {
		texts = append(append(append(texts, r.ConfigPath), r.Unverified...), r.Mirrors...)
	}
	return len(texts) <= maxNames && !slices.ContainsFunc(texts, func(s string) bool { return len(s) > maxText })
}
