package harden

import (
	"slices"
	"strings"
)

// keyFlags name the private keys that static pods use. What they name is a key whatever it is called and wherever it lies.
var keyFlags = map[ComponentID][]string{
	APIServer: {"tls-private-key-file", "service-account-signing-key-file", "etcd-keyfile", "kubelet-client-key", "proxy-client-key-file"},
	ControllerManager: {"cluster-signing-key-file", "cluster-signing-kube-apiserver-client-key-file", "cluster-signing-kubelet-client-key-file",
		"cluster-signing-kubelet-serving-key-file", "cluster-signing-legacy-unknown-key-file", "service-account-private-key-file", "tls-private-key-file"},
	Scheduler: {"tls-private-key-file"},
	Etcd:      {"key-file", "peer-key-file", "client-key-file"},
}

// sniFlag takes "certificate,key", with or without ":names" behind it, and may be repeated.
const sniFlag = "tls-sni-cert-key"

// KeyFiles are the host's files that static pods use as private keys, by what is in force and by their manifests, and those that the
// API server's configurations name.
func (f *Facts) KeyFiles() []string {
	var out []string
	for _, component := range Components {
		c := f.Component(component.ID)
		if c == nil {
			continue
		}
		var named []string
		for _, flag := range keyFlags[component.ID] {
			named = append(named, c.Flag(flag).Last(), c.FileFlag(flag).Last())
			if component.ID == Etcd {
				named = append(named, f.EtcdSetting(flag).Value)
			}
		}
		for _, pair := range slices.Concat(c.Flag(sniFlag).Values, c.FileFlag(sniFlag).Values) {
			files, _, _ := strings.Cut(pair, ":")
			_, key, _ := strings.Cut(files, ",")
			named = append(named, key)
		}
		for _, at := range named {
			if host, ok := c.HostPath(at); ok && at != "" && !slices.Contains(out, host) {
				out = append(out, host)
			}
		}
	}
	for _, n := range f.NamedFiles {
		if n.Kind == NamedKey && !slices.Contains(out, n.Path) {
			out = append(out, n.Path)
		}
	}
	return out
}
