package harden

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/patches"
)

const (
	// CanaryName is the canary's pod, and CanaryFile its file in the static pod directory.
	CanaryName = "kubectl-harden-canary"
	CanaryFile = CanaryName + ".yaml"
	// CanaryContainer is its container: named unlike the live one, so that nobody takes one for the other.
	CanaryContainer = "canary"
	// CanaryMark is an environment variable by which the canary's process is told from the live one.
	CanaryMark = "KUBECTL_HARDEN_CANARY"
	// CanaryLog is the name of its own audit log.
	CanaryLog = ".kubectl-harden-canary.log"

	canaryGrace  = 5       // seconds: nobody but us asks it
	servingGrace = 20      // of one that serves others
	watchGrace   = 10      // of that for watches, which would last for ever
	leastMemory  = 1 << 29 // of its limit, in bytes
	securePort   = "secure-port"
	auditLogPath = "audit-log-path"
)

// Canary is a second API server that runs as planned beside the live one, and differs only in what would let it disturb that
// one, the cluster or the node.
type Canary struct {
	Manifest []byte
	Args     []string
	Host     string // the address that it listens on
	Port     int
	Probes   []Probe // as the kubelet would ask the live one, at the canary's address
	// AuditLog is its own, on the host, beside the planned one; empty: it keeps none there.
	AuditLog string
	// Makes are paths of the host that the kubelet makes for it where they are missing.
	Makes []string
}

// CanaryInput is what a canary is made from.
type CanaryInput struct {
	Manifest []byte // the planned one of the live component
	Port     int
	Resident uint64 // memory that the live one holds
	// Address is the node's own, for a canary that connections are handed over to; empty: it listens on the loopback address only.
	Address string
}

// NewCanary makes the canary of a planned API server.
func NewCanary(in CanaryInput) (Canary, error) {
	api, _ := ComponentByID(APIServer)
	pod, ct := podOf(in.Manifest, api)
	if pod == nil {
		return Canary{}, errors.New("making the canary: the planned manifest cannot be read")
	}
	live := slices.Concat(ct.Command, ct.Args)
	host := "127.0.0.1"
	if strings.Contains(flagFrom(live, "advertise-address", "").Last(), ":") {
		host = "::1"
	}
	args, grace := live, int64(canaryGrace)
	if in.Address != "" {
		host, grace = in.Address, servingGrace
		args = patches.WithFlag(args, "shutdown-watch-termination-grace-period", fmt.Sprintf("%ds", watchGrace))
	}
	own := ct.DeepCopy()
	own.Name, own.Command, own.Args, own.Lifecycle = CanaryContainer, canaryArgs(args, host, in.Port), nil, nil
	own.Env = append(own.Env, corev1.EnvVar{Name: CanaryMark, Value: "1"})
	own.Resources = canaryResources(in.Resident)
	movePort(own, livePort(live), host, in.Port)
	pod.ObjectMeta.Name, pod.ObjectMeta.Annotations = CanaryName, nil
	pod.ObjectMeta.Labels = map[string]string{"app.kubernetes.io/managed-by": "kubectl-harden", "app.kubernetes.io/name": CanaryName}
	pod.Spec.Containers = []corev1.Container{*own}
	pod.Spec.Priority, pod.Spec.PriorityClassName = nil, ""
	// One that has found its configuration wrong is not to try again.
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.TerminationGracePeriodSeconds = &grace
	manifest, err := yaml.Marshal(pod)
	if err != nil {
		return Canary{}, fmt.Errorf("making the canary: %w", err)
	}
	return ReadCanary(manifest)
}

// ReadCanary tells from a canary's manifest where and how it is asked.
func ReadCanary(manifest []byte) (Canary, error) {
	var pod corev1.Pod
	if err := yaml.Unmarshal(manifest, &pod); err != nil || len(pod.Spec.Containers) != 1 {
		return Canary{}, errors.New("reading a canary's manifest: it is none")
	}
	ct := &pod.Spec.Containers[0]
	c := Canary{Manifest: manifest, Args: slices.Concat(ct.Command, ct.Args), Probes: probesOf(ct), Makes: madeByKubelet(&pod)}
	c.Host, c.Port = flagFrom(c.Args, "bind-address", "").Last(), livePort(c.Args)
	if log := flagFrom(c.Args, auditLogPath, "").Last(); path.Base(log) == CanaryLog {
		c.AuditLog, _ = hostPath(&pod, ct, log)
	}
	return c, nil
}

// canaryArgs are the planned ones, but for address, port and log, and for everything by which it would tell the cluster of
// itself: endpoints, identity lease, peers.
func canaryArgs(live []string, host string, port int) []string {
	args := live
	for _, name := range []string{"peer-advertise-ip", "peer-advertise-port", "peer-ca-file", "debug-socket-path", "shutdown-delay-duration"} {
		args = patches.WithoutFlag(args, name)
	}
	args = patches.WithFlag(args, "bind-address", host)
	args = patches.WithFlag(args, securePort, fmt.Sprint(port))
	args = patches.WithFlag(args, "endpoint-reconciler-type", "none")
	args = patches.WithFlag(args, "feature-gates", canaryGates(flagFrom(live, "feature-gates", "").List()))
	if log := flagFrom(live, auditLogPath, "").Last(); path.IsAbs(log) {
		args = patches.WithFlag(args, auditLogPath, path.Join(path.Dir(log), CanaryLog))
	}
	return args
}

// canaryGates adds the two that keep it from writing a lease under the live one's name and from offering itself as a peer. Both
// exist in all versions from 1.28 on; the second depends on the first.
func canaryGates(set []string) string {
	prefix := ""
	off := []string{"APIServerIdentity", "UnknownVersionInteroperabilityProxy"}
	var out []string
	for _, entry := range set {
		name, _, _ := strings.Cut(entry, "=")
		if bare, ok := strings.CutPrefix(name, "kube:"); ok {
			name, prefix = bare, "kube:" // a component refuses a mix of both ways to write
		}
		if !slices.Contains(off, name) {
			out = append(out, entry)
		}
	}
	for _, name := range off {
		out = append(out, prefix+name+"=false")
	}
	return strings.Join(out, ",")
}

// canaryResources ask for nothing, so that nothing is moved off the node for it. A limit without a request would be taken for
// one.
func canaryResources(resident uint64) corev1.ResourceRequirements {
	limit := max(2*resident, leastMemory)
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("0")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: *resource.NewQuantity(int64(limit), resource.BinarySI)},
	}
}

func livePort(args []string) int {
	port := 6443
	if _, err := fmt.Sscan(flagFrom(args, securePort, "").Last(), &port); err != nil {
		return 6443
	}
	return port
}

// movePort lets the container declare and its probes ask the canary's own port; other ports would clash with the live one's.
func movePort(ct *corev1.Container, live int, host string, port int) {
	name := ""
	for _, p := range ct.Ports {
		if int(p.ContainerPort) == live && p.Name != "" {
			name = p.Name
		}
	}
	ct.Ports = []corev1.ContainerPort{{Name: name, ContainerPort: int32(port), HostPort: int32(port), Protocol: corev1.ProtocolTCP}}
	for _, p := range []**corev1.Probe{&ct.LivenessProbe, &ct.ReadinessProbe, &ct.StartupProbe} {
		if *p != nil && !moveProbe(*p, live, name, host, port) {
			*p = nil
		}
	}
}

func moveProbe(p *corev1.Probe, live int, name, host string, port int) bool {
	own := func(at intstr.IntOrString) bool { return at.IntValue() == live || at.StrVal != "" && at.StrVal == name }
	switch {
	case p.HTTPGet != nil && own(p.HTTPGet.Port):
		p.HTTPGet.Port, p.HTTPGet.Host = intstr.FromInt(port), host
	case p.TCPSocket != nil && own(p.TCPSocket.Port):
		p.TCPSocket.Port, p.TCPSocket.Host = intstr.FromInt(port), host
	default:
		return false
	}
	return true
}

// madeByKubelet are the volumes that the kubelet makes where they are missing.
func madeByKubelet(pod *corev1.Pod) []string {
	var out []string
	for _, v := range pod.Spec.Volumes {
		if v.HostPath == nil || v.HostPath.Type == nil {
			continue
		}
		if t := *v.HostPath.Type; t == corev1.HostPathDirectoryOrCreate || t == corev1.HostPathFileOrCreate {
			out = append(out, v.HostPath.Path)
		}
	}
	return out
}

// Gate is what the canary has to prove of what the live one's gate wants.
func (c Canary) Gate(live Gate) Gate {
	g := Gate{Component: live.Component, Args: c.Args, Probes: c.Probes, Timeout: live.Timeout}
	for _, p := range live.Proofs {
		switch p.Kind {
		case ProofAuditLine, ProofAdminLine, ProofAuditLog:
			if p.Path = c.AuditLog; p.Path == "" {
				continue
			}
		case ProofConfigz:
			continue
		}
		g.Proofs = append(g.Proofs, p)
	}
	return g
}

// MountProblems are the volumes of a planned static pod that the kubelet would refuse to mount, as the host's paths are now.
func MountProblems(manifest []byte, c Component, state func(path string) (State, error)) []Message {
	pod, _ := podOf(manifest, c)
	if pod == nil {
		return nil
	}
	var out []Message
	for _, v := range pod.Spec.Volumes {
		if v.HostPath == nil || v.HostPath.Type == nil {
			continue
		}
		s, err := state(v.HostPath.Path)
		if err != nil {
			continue // such as a link, which the kubelet follows
		}
		switch t := *v.HostPath.Type; {
		case t == corev1.HostPathDirectory && !s.Dir:
			out = append(out, Msg("volume %s: %s is not a directory", v.Name, v.HostPath.Path))
		case t == corev1.HostPathFile && (!s.Exists || s.Dir):
			out = append(out, Msg("volume %s: %s is not a file", v.Name, v.HostPath.Path))
		case t == corev1.HostPathDirectoryOrCreate && s.Exists && !s.Dir:
			out = append(out, Msg("volume %s: %s is not a directory", v.Name, v.HostPath.Path))
		case t == corev1.HostPathFileOrCreate && s.Dir:
			out = append(out, Msg("volume %s: %s is not a file", v.Name, v.HostPath.Path))
		}
	}
	return out
}
