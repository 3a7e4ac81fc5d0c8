package collect

import (
	"path"
	"slices"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

// kubeconfigFlags give the API server kubeconfigs for webhooks.
var kubeconfigFlags = []string{"audit-webhook-config-file", "authentication-token-webhook-config-file", "authorization-webhook-config-file"}

// named gathers the files that the API server's configurations name. What they hold stays out of the facts: it may be secret.
type named struct {
	n Node
	f *harden.Facts
	c *harden.ComponentFacts
}

func collectNamed(n Node, f *harden.Facts) {
	c := f.Component(harden.APIServer)
	if c == nil {
		return
	}
	w := &named{n, f, c}
	each := func(flag string, follow func(inContainer string)) {
		for _, fact := range []harden.FlagFact{c.Flag(flag), c.FileFlag(flag)} {
			if fact.Last() != "" {
				follow(fact.Last())
			}
		}
	}
	for _, flag := range kubeconfigFlags {
		each(flag, w.kubeconfig)
	}
	each(harden.AdmissionFlag, w.admission)
	each("authorization-config", w.authorization)
	each("egress-selector-config-file", w.egress)
}

// note takes a file by its path in the container, where the API server sees one of the host's there.
func (w *named) note(kind harden.NamedKind, inContainer, by string) {
	host, ok := w.c.HostPath(inContainer)
	if !ok || !path.IsAbs(inContainer) {
		return
	}
	if !slices.ContainsFunc(w.f.NamedFiles, func(o harden.NamedFile) bool { return o.Path == host && o.Kind == kind }) {
		w.f.NamedFiles = append(w.f.NamedFiles, harden.NamedFile{Path: host, By: by, Kind: kind})
	}
}

// decode reads a file by its path in the container; what cannot be read names nothing.
func (w *named) decode(inContainer string, into any) (host string, ok bool) {
	if !path.IsAbs(inContainer) {
		return "", false
	}
	host, data, _ := mounted(w.n, w.c, inContainer)
	return host, data != nil && yaml.Unmarshal(data, into) == nil
}

// pluginConfiguration is what counts here of the configurations of ImagePolicyWebhook and of the two admission webhooks.
type pluginConfiguration struct {
	KubeConfigFile string `json:"kubeConfigFile"`
	ImagePolicy    struct {
		KubeConfigFile string `json:"kubeConfigFile"`
	} `json:"imagePolicy"`
}

func (w *named) admission(inContainer string) {
	var config struct {
		pluginConfiguration // the file may be that of ImagePolicyWebhook itself (k8s.io/apiserver: pkg/admission/config.go)
		Plugins             []struct {
			Path          string               `json:"path"`
			Configuration *pluginConfiguration `json:"configuration"`
		} `json:"plugins"`
	}
	by, ok := w.decode(inContainer, &config)
	if !ok {
		return
	}
	w.webhook(config.pluginConfiguration, by)
	for _, p := range config.Plugins {
		if p.Configuration != nil { // the file beside it is not read
			w.webhook(*p.Configuration, by)
			continue
		}
		at := p.Path
		if at != "" && !path.IsAbs(at) {
			at = path.Join(path.Dir(inContainer), at)
		}
		w.note(harden.NamedConfiguration, at, by)
		var own pluginConfiguration
		if file, ok := w.decode(at, &own); ok {
			w.webhook(own, file)
		}
	}
}

func (w *named) webhook(p pluginConfiguration, by string) {
	for _, at := range []string{p.KubeConfigFile, p.ImagePolicy.KubeConfigFile} {
		w.note(harden.NamedConfiguration, at, by)
		w.kubeconfig(at)
	}
}

func (w *named) authorization(inContainer string) {
	var config struct {
		Authorizers []struct {
			Webhook struct {
				ConnectionInfo struct {
					KubeConfigFile string `json:"kubeConfigFile"`
				} `json:"connectionInfo"`
			} `json:"webhook"`
		} `json:"authorizers"`
	}
	by, ok := w.decode(inContainer, &config)
	if !ok {
		return
	}
	for _, a := range config.Authorizers {
		w.note(harden.NamedConfiguration, a.Webhook.ConnectionInfo.KubeConfigFile, by)
		w.kubeconfig(a.Webhook.ConnectionInfo.KubeConfigFile)
	}
}

func (w *named) egress(inContainer string) {
	var config struct {
		Selections []struct {
			Connection struct {
				Transport struct {
					TCP struct {
						TLS struct {
							ClientKey string `json:"clientKey"`
						} `json:"tlsConfig"`
					} `json:"tcp"`
				} `json:"transport"`
			} `json:"connection"`
		} `json:"egressSelections"`
	}
	by, ok := w.decode(inContainer, &config)
	if !ok {
		return
	}
	for _, s := range config.Selections {
		w.note(harden.NamedKey, s.Connection.Transport.TCP.TLS.ClientKey, by)
	}
}

// kubeconfig follows all users of one: those for admission webhooks are told apart by the webhooks' names, not by a context.
func (w *named) kubeconfig(inContainer string) {
	var config struct {
		Users []struct {
			User struct {
				Key       string `json:"client-key"`
				TokenFile string `json:"tokenFile"`
			} `json:"user"`
		} `json:"users"`
	}
	by, ok := w.decode(inContainer, &config)
	if !ok {
		return
	}
	beside := func(at string) string {
		if at != "" && !path.IsAbs(at) {
			at = path.Join(path.Dir(inContainer), at)
		}
		return at
	}
	for _, u := range config.Users {
		w.note(harden.NamedKey, beside(u.User.Key), by)
		w.note(harden.NamedToken, beside(u.User.TokenFile), by)
	}
}
