package harden

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// clusterConfiguration is what counts here of kubeadm's, in every version of its API.
type clusterConfiguration struct {
	APIVersion        string         `json:"apiVersion"`
	Kind              string         `json:"kind"`
	CertificatesDir   string         `json:"certificatesDir"`
	APIServer         kubeadmSection `json:"apiServer"`
	ControllerManager kubeadmSection `json:"controllerManager"`
	Scheduler         kubeadmSection `json:"scheduler"`
	// FeatureGates are kubeadm's own, not those of the components.
	FeatureGates map[string]bool `json:"featureGates"`
	Etcd         struct {
		Local    kubeadmSection  `json:"local"`
		External json.RawMessage `json:"external"`
	} `json:"etcd"`
}

type kubeadmSection struct {
	Args    kubeadmArgs     `json:"extraArgs"`
	Volumes []KubeadmVolume `json:"extraVolumes"`
}

// kubeadmArgs was a map before v1beta4, and is a list since.
type kubeadmArgs []KubeadmArg

func (l *kubeadmArgs) UnmarshalJSON(data []byte) error {
	var list []KubeadmArg
	if err := json.Unmarshal(data, &list); err == nil {
		*l = list
		return nil
	}
	var byName map[string]string
	if err := json.Unmarshal(data, &byName); err != nil {
		return errors.New("extraArgs is neither a list of names and values nor a map")
	}
	for name, value := range byName {
		*l = append(*l, KubeadmArg{Name: name, Value: value})
	}
	slices.SortFunc(*l, func(a, b KubeadmArg) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// ParseKubeadm reads the texts under ClusterConfiguration of kubeadm-config and under kubelet of kubelet-config; the second
// one is kept as it is.
func ParseKubeadm(cluster, kubelet string) (*KubeadmFact, error) {
	var config clusterConfiguration
	if err := ReadYAML([]byte(cluster), &config); err != nil {
		return nil, fmt.Errorf("%s of kubeadm-config: %w", clusterConfigurationKey, err)
	}
	if config.Kind != clusterConfigurationKey || !strings.HasPrefix(config.APIVersion, "kubeadm.k8s.io/") {
		return nil, fmt.Errorf("%s of kubeadm-config is %q of %q", clusterConfigurationKey, config.Kind, config.APIVersion)
	}
	if config.CertificatesDir == "" {
		config.CertificatesDir = "/etc/kubernetes/pki"
	}
	f := &KubeadmFact{
		APIVersion: config.APIVersion, CertificatesDir: config.CertificatesDir, ExternalEtcd: len(config.Etcd.External) > 0,
		FeatureGates: config.FeatureGates, ExtraArgs: map[ComponentID][]KubeadmArg{}, ExtraVolumes: map[ComponentID][]KubeadmVolume{},
		ClusterConfiguration: cluster, KubeletConfiguration: kubelet,
	}
	if ReadYAML([]byte(kubelet), &f.KubeletFields) != nil {
		f.KubeletFields = nil // the text is kept, and what needs all of it says that it cannot be read
	}
	for id, section := range map[ComponentID]kubeadmSection{
		APIServer: config.APIServer, ControllerManager: config.ControllerManager, Scheduler: config.Scheduler, Etcd: config.Etcd.Local,
	} {
		if len(section.Args) > 0 {
			f.ExtraArgs[id] = section.Args
		}
		if len(section.Volumes) > 0 {
			f.ExtraVolumes[id] = section.Volumes
		}
	}
	return f, nil
}
