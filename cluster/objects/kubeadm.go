package objects

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"sigs.k8s.io/yaml"
)

// KubeadmConfig is the ConfigMap kube-system/kubeadm-config.
type KubeadmConfig struct {
	Data map[string]string `json:"data"`
}

// clusterConfiguration is what counts here of kubeadm's, in every version of its API.
type clusterConfiguration struct {
	APIVersion        string    `json:"apiVersion"`
	Kind              string    `json:"kind"`
	CertificatesDir   string    `json:"certificatesDir"`
	APIServer         extraArgs `json:"apiServer"`
	ControllerManager extraArgs `json:"controllerManager"`
	Scheduler         extraArgs `json:"scheduler"`
	Etcd              struct {
		Local    extraArgs       `json:"local"`
		External json.RawMessage `json:"external"`
	} `json:"etcd"`
}

type extraArgs struct {
	Args argList `json:"extraArgs"`
}

// argList was a map before v1beta4, and is a list since.
type argList []harden.KubeadmArg

func (l *argList) UnmarshalJSON(data []byte) error {
	var list []harden.KubeadmArg
	if err := json.Unmarshal(data, &list); err == nil {
		*l = list
		return nil
	}
	var byName map[string]string
	if err := json.Unmarshal(data, &byName); err != nil {
		return errors.New("extraArgs is neither a list of names and values nor a map")
	}
	for name, value := range byName {
		*l = append(*l, harden.KubeadmArg{Name: name, Value: value})
	}
	slices.SortFunc(*l, func(a, b harden.KubeadmArg) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// Fact of the configuration.
func (c KubeadmConfig) Fact() (*harden.KubeadmFact, error) {
	const key = "ClusterConfiguration"
	var config clusterConfiguration
	if err := yaml.Unmarshal([]byte(c.Data[key]), &config); err != nil {
		return nil, fmt.Errorf("%s of kubeadm-config: %w", key, err)
	}
	if config.Kind != key || !strings.HasPrefix(config.APIVersion, "kubeadm.k8s.io/") {
		return nil, fmt.Errorf("%s of kubeadm-config is %q of %q", key, config.Kind, config.APIVersion)
	}
	if config.CertificatesDir == "" {
		config.CertificatesDir = "/etc/kubernetes/pki"
	}
	f := &harden.KubeadmFact{
		APIVersion: config.APIVersion, CertificatesDir: config.CertificatesDir, ExternalEtcd: len(config.Etcd.External) > 0,
		ExtraArgs: map[harden.ComponentID][]harden.KubeadmArg{},
	}
	for id, args := range map[harden.ComponentID]argList{
		harden.APIServer: config.APIServer.Args, harden.ControllerManager: config.ControllerManager.Args,
		harden.Scheduler: config.Scheduler.Args, harden.Etcd: config.Etcd.Local.Args,
	} {
		if len(args) > 0 {
			f.ExtraArgs[id] = args
		}
	}
	return f, nil
}
