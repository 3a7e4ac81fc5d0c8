package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

// How long things take. Real ones take longer; the order is the same.
const (
	stopping  = 800 * time.Millisecond // from the change of a file to the end of the old container
	creating  = 400 * time.Millisecond // of a pod with its mounts
	booting   = time.Second            // until a new process serves
	rbacRead  = time.Second            // from then until an API server knows the roles
	mountWait = 2 * time.Second        // between two tries to mount
	backOff   = 10 * time.Second       // after the first crash, doubled with each further one
	maxOff    = 5 * time.Minute
	never     = 1000 * time.Hour
)

// phase of a pod.
type phase int

const (
	phaseCreating phase = iota // its mounts are made, or awaited; in CrashLoopBackOff too
	phaseRunning
	phaseDying    // its process has found something wrong
	phaseStopping // it is to be replaced, or to go
)

// pod is a static pod and its one container.
type pod struct {
	definition
	next  *definition // while it stops; nil: it goes for good
	phase phase
	until time.Time
	live  *process
	off   time.Duration // the next back-off
	why   string        // why its container is not made
	dead  []death
}

// definition is what a file of the static pod directory says.
type definition struct {
	hash string
	file string
	spec *corev1.Pod
}

// process is one life of the container.
type process struct {
	id      string
	pid     int
	args    []string
	started time.Time
	server  *apiServer // of an API server that has accepted its configuration
	words   string     // its last ones, once it is dying
}

type death struct {
	started time.Time
	words   string
}

func (d *definition) argv() []string {
	if d == nil || len(d.spec.Spec.Containers) == 0 {
		return nil
	}
	c := d.spec.Spec.Containers[0]
	return slices.Concat(c.Command, c.Args)
}

// runs says whether the pod is the component's.
func (d *definition) runs(id harden.ComponentID) bool {
	argv := d.argv()
	return len(argv) > 0 && path.Base(argv[0]) == string(id) && !d.isCanary()
}

// isCanary says whether the pod is a rehearsal's, which runs the API server's program too.
func (d *definition) isCanary() bool { return d.spec.Name == harden.CanaryName }

// definitions reads the directory as the kubelet does: every file that is no dot-file, sorted, of two pods of a name the
// last one. What is no pod is passed over.
func (n *Node) definitions() map[string]*definition {
	dir := n.kubelet.staticPodDir()
	names, err := n.files.List(dir)
	if err != nil {
		return nil
	}
	out := map[string]*definition{}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		file := path.Join(dir, name)
		s, err := n.files.State(file)
		if err != nil || !s.Exists || s.Dir {
			continue
		}
		known, ok := n.decoded[file]
		if !ok || known.text != string(s.Data) {
			known = decoded{string(s.Data), define(file, s.Data)}
			n.decoded[file] = known
		}
		if d := known.definition; d != nil {
			out[d.spec.Namespace+"/"+d.spec.Name] = d
		}
	}
	return out
}

// decoded is what was made of a file, as files are looked at far more often than they change.
type decoded struct {
	text string
	*definition
}

// define decodes a file as the kubelet does; nil if it is no pod.
func define(file string, text []byte) *definition {
	o, err := decodePod(text)
	spec, ok := o.(*corev1.Pod)
	if err != nil || !ok || spec.Name == "" {
		return nil
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(append(data, file...))
	return &definition{hex.EncodeToString(sum[:16]), file, spec}
}

// syncPods is the kubelet's look at the directory.
func (n *Node) syncPods(now time.Time) {
	want := n.definitions()
	for key, p := range n.pods {
		d := want[key]
		delete(want, key)
		switch {
		case p.phase == phaseStopping:
			p.next = d
		case d != nil && d.hash == p.hash:
		case p.live != nil:
			p.phase, p.until, p.next = phaseStopping, now.Add(stopping), d
		case d == nil:
			delete(n.pods, key)
		default:
			p.create(*d, now)
		}
	}
	for key, d := range want {
		p := &pod{}
		p.create(*d, now)
		n.pods[key] = p
	}
}

func (p *pod) create(d definition, at time.Time) {
	p.definition, p.next, p.live, p.why = d, nil, nil, ""
	p.phase, p.until, p.off = phaseCreating, at.Add(creating), backOff
}

// advancePod does what has become due. Only a kubelet makes containers.
func (n *Node) advancePod(key string, p *pod, now time.Time) {
	for p.phase != phaseRunning && !now.Before(p.until) {
		switch p.phase {
		case phaseStopping:
			if p.next == nil {
				delete(n.pods, key)
				return
			}
			p.create(*p.next, p.until)
		case phaseDying:
			p.dead = append(p.dead, death{p.live.started, p.live.words})
			p.live, p.phase = nil, phaseCreating
			p.until, p.off = p.until.Add(p.off), min(2*p.off, maxOff)
			if p.spec.Spec.RestartPolicy == corev1.RestartPolicyNever {
				p.until = p.until.Add(never)
			}
		case phaseCreating:
			if !n.kubelet.up() {
				return
			}
			if err := n.mount(p.spec); err != nil {
				p.why, p.until = err.Error(), now.Add(mountWait)
				return
			}
			p.why = ""
			n.startContainer(p, p.until)
		}
	}
}

func (n *Node) startContainer(p *pod, at time.Time) {
	pid := n.newPID()
	id := sha256.Sum256(fmt.Appendf(nil, "container %d of %s", pid, p.hash))
	p.live = &process{id: hex.EncodeToString(id[:]), pid: pid, args: p.argv(), started: at}
	p.phase = phaseRunning
	if !p.runs(harden.APIServer) && !p.isCanary() {
		return
	}
	server, err := startAPIServer(p.live.args, func(file string) ([]byte, error) { return n.inContainer(p.spec, file) })
	dies := at.Add(diesAfter)
	if err == nil && n.broken && !p.isCanary() && !harden.SameArgs(p.live.args, n.firstArgs) {
		err = failure(errors.New("failed to create listener: failed to listen on 0.0.0.0:6443: listen tcp 0.0.0.0:6443: bind: address already in use"))
		dies = at.Add(booting)
	}
	if err != nil {
		// In a container every first process has number 1.
		p.phase, p.until, p.live.words = phaseDying, dies, klog(dies, 1, err)
		return
	}
	p.live.server = server
}

// mount checks the types of hostPath volumes, as the kubelet does before it makes a container.
func (n *Node) mount(spec *corev1.Pod) error {
	for _, v := range spec.Spec.Volumes {
		if v.HostPath == nil || v.HostPath.Type == nil {
			continue
		}
		s, err := n.files.State(v.HostPath.Path)
		if err != nil {
			return fmt.Errorf("MountVolume.SetUp failed for volume %q : hostPath type check failed: %w", v.Name, err)
		}
		what, ok := "", true
		switch *v.HostPath.Type {
		case corev1.HostPathDirectory:
			what, ok = "directory", s.Exists && s.Dir
		case corev1.HostPathDirectoryOrCreate:
			what, ok = "directory", !s.Exists || s.Dir
		case corev1.HostPathFile:
			what, ok = "file", s.Exists && !s.Dir
		case corev1.HostPathFileOrCreate:
			what, ok = "file", !s.Exists || !s.Dir
		}
		if !ok {
			return fmt.Errorf("MountVolume.SetUp failed for volume %q : hostPath type check failed: %s is not a %s", v.Name, v.HostPath.Path, what)
		}
	}
	return nil
}

// onHost follows a path in the container through its longest mount.
func onHost(spec *corev1.Pod, file string) (host string, v *corev1.Volume) {
	best := -1
	for _, m := range spec.Spec.Containers[0].VolumeMounts {
		at := path.Clean(m.MountPath)
		if file != at && !strings.HasPrefix(file, strings.TrimSuffix(at, "/")+"/") || len(at) <= best {
			continue
		}
		best, host, v = len(at), "", nil
		for i, volume := range spec.Spec.Volumes {
			if volume.Name == m.Name && volume.HostPath != nil {
				host, v = path.Join(volume.HostPath.Path, m.SubPath, file[len(at):]), &spec.Spec.Volumes[i]
			}
		}
	}
	return host, v
}

// inContainer reads a file as the container sees it. Those of the image are none that flags name.
func (n *Node) inContainer(spec *corev1.Pod, file string) ([]byte, error) {
	host, volume := onHost(spec, path.Clean(file))
	if volume == nil {
		return nil, fs.ErrNotExist
	}
	s, err := n.files.State(host)
	switch {
	case err != nil:
		return nil, err
	case s.Dir:
		return nil, errors.New("is a directory")
	case !s.Exists && volume.HostPath.Type != nil && *volume.HostPath.Type == corev1.HostPathFileOrCreate:
		return nil, nil // the kubelet has made an empty one
	case !s.Exists:
		return nil, fs.ErrNotExist
	}
	return s.Data, nil
}
