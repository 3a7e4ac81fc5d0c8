package host

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"

	"sigs.k8s.io/yaml"
)

// usualSockets are where containerd, CRI-O and cri-dockerd listen unless told otherwise.
var usualSockets = []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock"}

// endpointFlag finds the kubelet's flag in a file of variables, which beats its configuration file.
var endpointFlag = regexp.MustCompile(`--container-runtime-endpoint[= ]["']?([^\s"']+)`)

// runtimeEndpoints returns the endpoint that the kubelet is configured with, or the usual sockets that exist.
func (r *Root) runtimeEndpoints() ([]string, error) {
	// The last of these on the command line of kubeadm's unit comes first here: it wins.
	for _, file := range []string{"/etc/default/kubelet", "/etc/sysconfig/kubelet", "/var/lib/kubelet/kubeadm-flags.env"} {
		data, err := r.readIfThere(file)
		if err != nil {
			return nil, err
		}
		if all := endpointFlag.FindAllSubmatch(data, -1); all != nil {
			return []string{string(all[len(all)-1][1])}, nil
		}
	}
	for _, file := range []string{"/var/lib/kubelet/config.yaml", "/var/lib/kubelet/instance-config.yaml"} {
		data, err := r.readIfThere(file)
		if err != nil {
			return nil, err
		}
		var config struct {
			Endpoint string `json:"containerRuntimeEndpoint"`
		}
		if err := yaml.Unmarshal(data, &config); err != nil {
			return nil, fmt.Errorf("reading %q: %w", file, err)
		}
		if config.Endpoint != "" {
			return []string{config.Endpoint}, nil
		}
	}
	var found []string
	for _, socket := range usualSockets {
		info, err := r.Stat(socket)
		if err == nil && info.Kind == fs.ModeSocket {
			found = append(found, socket)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return found, nil
}

func (r *Root) readIfThere(file string) ([]byte, error) {
	data, err := r.Read(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}
