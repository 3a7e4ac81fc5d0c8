package host

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Workload is how a running container is confined, as the runtime was told and as it carried it out.
type Workload struct {
	Namespace, Pod, Name string
	Privileged           bool
	Seccomp              bool // a profile limits its system calls
	// HostPID, HostIPC and HostNetwork: it shares these with the node.
	HostPID, HostIPC, HostNetwork bool
	// Unread: the runtime did not tell how it is confined.
	Unread bool
}

// containerInfo is what containerd and CRI-O add to a container's status when asked to be verbose: parts of it.
type containerInfo struct {
	Privileged bool `json:"privileged"` // CRI-O
	Config     struct {
		Linux struct {
			Security struct {
				Privileged bool `json:"privileged"`
			} `json:"security_context"`
		} `json:"linux"`
	} `json:"config"` // containerd
	Spec *struct {
		Linux *struct {
			Seccomp    *json.RawMessage `json:"seccomp"`
			Namespaces []struct {
				Type string `json:"type"`
				Path string `json:"path"`
			} `json:"namespaces"`
		} `json:"linux"`
	} `json:"runtimeSpec"`
}

// Workloads lists the running containers.
func (c *Runtime) Workloads(ctx context.Context) ([]Workload, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	running := &cri.ContainerFilter{State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING}}
	list, err := c.client.ListContainers(ctx, &cri.ListContainersRequest{Filter: running})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", rpc(ctx, err))
	}
	var out []Workload
	for _, item := range list.Containers {
		answer, err := c.client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: item.Id, Verbose: true})
		if status.Code(err) == codes.NotFound {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, fmt.Errorf("asking for container %q: %w", item.Id, rpc(ctx, err))
		}
		w := confinement(answer.GetInfo()["info"])
		w.Namespace, w.Pod = item.Labels["io.kubernetes.pod.namespace"], item.Labels["io.kubernetes.pod.name"]
		w.Name = item.GetMetadata().GetName()
		out = append(out, w)
	}
	return out, nil
}

// confinement reads it off the runtime's own words. A namespace that the container has not got is the node's.
func confinement(info string) Workload {
	var i containerInfo
	if json.Unmarshal([]byte(info), &i) != nil || i.Spec == nil || i.Spec.Linux == nil {
		return Workload{Unread: true}
	}
	own := func(kind string) bool {
		return slices.ContainsFunc(i.Spec.Linux.Namespaces, func(n struct {
			Type string `json:"type"`
			Path string `json:"path"`
		}) bool {
			return n.Type == kind
		})
	}
	return Workload{
		Privileged: i.Privileged || i.Config.Linux.Security.Privileged,
		Seccomp:    i.Spec.Linux.Seccomp != nil,
		HostPID:    !own("pid"), HostIPC: !own("ipc"), HostNetwork: !own("network"),
	}
}
