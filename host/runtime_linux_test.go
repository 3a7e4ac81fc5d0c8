package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fakeRuntime is a container runtime with three containers and one that is being removed.
type fakeRuntime struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer
	filesystems []*cri.FilesystemUsage

	calls   chan string
	hanging chan struct{}
	config  string
}

var (
	created  = time.Unix(1700000000, 5)
	statuses = map[string]*cri.ContainerStatus{
		"old":  {State: cri.ContainerState_CONTAINER_EXITED, StartedAt: created.UnixNano(), ExitCode: 137, Reason: "OOMKilled", LogPath: "/var/log/pods/p/kube-apiserver/0.log"},
		"new":  {State: cri.ContainerState_CONTAINER_RUNNING, StartedAt: created.Add(time.Hour).UnixNano()},
		"etcd": {State: cri.ContainerState_CONTAINER_CREATED},
	}
)

func (f *fakeRuntime) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{RuntimeName: "fake"}, nil
}

func (f *fakeRuntime) ListContainers(context.Context, *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	labels := map[string]string{"io.kubernetes.pod.name": "kube-apiserver-cp1", "io.kubernetes.pod.namespace": "kube-system"}
	item := func(id, name string, at time.Time) *cri.Container {
		return &cri.Container{Id: id, Metadata: &cri.ContainerMetadata{Name: name}, CreatedAt: at.UnixNano(), Labels: labels,
			Annotations: map[string]string{"io.kubernetes.container.hash": id}}
	}
	return &cri.ListContainersResponse{Containers: []*cri.Container{
		item("old", "kube-apiserver", created), item("new", "kube-apiserver", created.Add(time.Hour)),
		item("etcd", "etcd", created.Add(time.Minute)), item("removed", "kube-apiserver", created),
	}}, nil
}

func (f *fakeRuntime) ListPodSandbox(_ context.Context, q *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	if q.Filter.LabelSelector["io.kubernetes.pod.namespace"] != "kube-system" {
		return &cri.ListPodSandboxResponse{}, nil
	}
	item := func(at time.Time) *cri.PodSandbox {
		return &cri.PodSandbox{CreatedAt: at.UnixNano(), Metadata: &cri.PodSandboxMetadata{Name: "kube-apiserver-cp1"}}
	}
	return &cri.ListPodSandboxResponse{Items: []*cri.PodSandbox{
		item(created), item(created.Add(time.Hour)),
	}}, nil
}

func (f *fakeRuntime) ContainerStatus(_ context.Context, q *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	if s := statuses[q.ContainerId]; s != nil {
		return &cri.ContainerStatusResponse{Status: s}, nil
	}
	return nil, status.Error(codes.NotFound, "no such container")
}

func (f *fakeRuntime) ExecSync(ctx context.Context, q *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	f.calls <- fmt.Sprint("exec ", q.ContainerId, q.Cmd, q.Timeout)
	switch q.Cmd[0] {
	case "hang":
		close(f.hanging)
		<-ctx.Done()
		return nil, ctx.Err()
	case "slow":
		return nil, status.Error(codes.DeadlineExceeded, "command timed out")
	}
	return &cri.ExecSyncResponse{Stdout: []byte("out"), Stderr: []byte("unknown flag: --x"), ExitCode: 1}, nil
}

func (f *fakeRuntime) ImageFsInfo(context.Context, *cri.ImageFsInfoRequest) (*cri.ImageFsInfoResponse, error) {
	return &cri.ImageFsInfoResponse{ImageFilesystems: f.filesystems}, nil
}

func TestImagesAt(t *testing.T) {
	fake, _, _, r := connectRuntime(t)
	if at, err := r.ImagesAt(t.Context()); err == nil {
		t.Errorf("of a runtime that names none: %q", at)
	}
	fake.filesystems = []*cri.FilesystemUsage{{}, {FsId: &cri.FilesystemIdentifier{Mountpoint: "/var/lib/containerd/x"}}}
	if at, err := r.ImagesAt(t.Context()); err != nil || at != "/var/lib/containerd/x" {
		t.Errorf("%q, %v", at, err)
	}
}

func (f *fakeRuntime) StopContainer(_ context.Context, q *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	f.calls <- fmt.Sprint("stop ", q.ContainerId, " ", q.Timeout)
	if statuses[q.ContainerId] == nil {
		return nil, status.Error(codes.NotFound, "no such container")
	}
	return &cri.StopContainerResponse{}, nil
}

func serveRuntime(t *testing.T, register bool) (*fakeRuntime, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "runtime.sock")
	l, err := net.Listen("unix", socket)
	must(t, err)
	fake := &fakeRuntime{calls: make(chan string, 16), hanging: make(chan struct{})}
	server := grpc.NewServer()
	if register {
		cri.RegisterRuntimeServiceServer(server, fake)
		cri.RegisterImageServiceServer(server, fake)
	}
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return fake, socket
}

func connectRuntime(t *testing.T) (*fakeRuntime, *Root, string, *Runtime) {
	t.Helper()
	fake, socket := serveRuntime(t, true)
	r, dir := newRoot(t)
	r.Proc = t.TempDir()
	put(t, dir, "var/lib/kubelet/config.yaml", "containerRuntimeEndpoint: unix://"+socket+"\n")
	c, err := r.Runtime(t.Context(), "")
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return fake, r, dir, c
}

func TestContainers(t *testing.T) {
	_, _, _, c := connectRuntime(t)
	pod := Container{PodName: "kube-apiserver-cp1", PodNamespace: "kube-system"}
	with := func(id string, set func(*Container)) Container {
		c := pod
		c.ID, c.Annotations = id, map[string]string{"io.kubernetes.container.hash": id}
		set(&c)
		return c
	}
	past := with("old", func(c *Container) {
		c.State, c.LogPath = "exited", "/var/log/pods/p/kube-apiserver/0.log"
		c.Created, c.StartedAt, c.ExitCode, c.Reason = created, created, 137, "OOMKilled"
	})
	present := with("new", func(c *Container) {
		c.State, c.Created, c.StartedAt = "running", created.Add(time.Hour), created.Add(time.Hour)
	})
	etcd := with("etcd", func(c *Container) { c.State, c.Created = "created", created.Add(time.Minute) })
	for name, want := range map[string][]Container{"kube-apiserver": {present, past}, "": {present, etcd, past}, "kube": nil} {
		if got, err := c.Containers(t.Context(), name); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Containers(%q) = %+v, %v", name, got, err)
		}
	}
}

func TestSandboxes(t *testing.T) {
	_, _, _, c := connectRuntime(t)
	want := []Sandbox{
		{PodName: "kube-apiserver-cp1", Created: created.Add(time.Hour)},
		{PodName: "kube-apiserver-cp1", Created: created},
	}
	if got, err := c.Sandboxes(t.Context(), "kube-system"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestExecAndStop(t *testing.T) {
	fake, _, _, c := connectRuntime(t)
	out, errOut, code, err := c.ExecSync(t.Context(), "new", []string{"kube-apiserver", "--x", "--version"}, 1500*time.Millisecond)
	if string(out) != "out" || string(errOut) != "unknown flag: --x" || code != 1 || err != nil {
		t.Errorf("ExecSync = %q, %q, %d, %v", out, errOut, code, err)
	}
	if _, _, _, err = c.ExecSync(t.Context(), "new", []string{"slow"}, time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that takes too long: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-fake.hanging
		cancel()
	}()
	if _, _, _, err = c.ExecSync(ctx, "new", []string{"hang"}, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a runtime that hangs: %v", err)
	}
	must(t, c.StopContainer(t.Context(), "new", 0))
	if err := c.StopContainer(t.Context(), "removed", 30*time.Second); status.Code(err) != codes.NotFound {
		t.Errorf("stopping what is not there: %v", err)
	}
	want := []string{"exec new[kube-apiserver --x --version] 2", "exec new[slow] 1", "exec new[hang] 3600", "stop new 0", "stop removed 30"}
	if got := drain(fake.calls); !reflect.DeepEqual(got, want) {
		t.Errorf("the runtime was asked %q", got)
	}
}

func TestNoRuntime(t *testing.T) {
	r, dir := newRoot(t)
	if _, err := r.Runtime(t.Context(), ""); !errors.Is(err, ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	r.Proc = t.TempDir()
	if _, err := r.Runtime(t.Context(), ""); !errors.Is(err, ErrNoRuntime) {
		t.Errorf("no socket anywhere: %v", err)
	}
	if _, err := r.Runtime(t.Context(), "unix:///nonexistent/socket"); !errors.Is(err, ErrNoRuntime) {
		t.Errorf("a socket that does not exist: %v", err)
	}
	for _, endpoint := range []string{"tcp://127.0.0.1:1", "npipe:////./pipe/x", "containerd.sock"} {
		if _, err := r.Runtime(t.Context(), endpoint); err == nil || !strings.Contains(err.Error(), "is no unix socket") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	_, other := serveRuntime(t, false)
	if _, err := r.Runtime(t.Context(), other); status.Code(err) != codes.Unimplemented {
		t.Errorf("a server of something else: %v", err)
	}
	dead := filepath.Join(t.TempDir(), "dead.sock")
	must(t, unix.Mknod(dead, unix.S_IFSOCK|0o600, 0))
	if _, err := r.Runtime(t.Context(), dead); err == nil || errors.Is(err, ErrNoRuntime) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a socket that nobody serves: %v", err)
	}
	silent := filepath.Join(t.TempDir(), "silent.sock")
	l, err := net.Listen("unix", silent)
	must(t, err)
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Runtime(ctx, silent); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a socket that never answers: %v", err)
	}
	put(t, dir, "var/lib/kubelet/config.yaml", "a: [")
	if _, err := r.Runtime(t.Context(), ""); err == nil || errors.Is(err, ErrNoRuntime) {
		t.Errorf("an unreadable configuration: %v", err)
	}
}

func TestRuntimeEndpoints(t *testing.T) {
	const unset = "containerRuntimeEndpoint: \"\"\n"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"1.30: a flag", map[string]string{"var/lib/kubelet/config.yaml": unset, "var/lib/kubelet/kubeadm-flags.env": `KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/a.sock --hostname-override=cp1"`}, []string{"unix:///run/a.sock"}},
		{"1.37: the configuration", map[string]string{"var/lib/kubelet/config.yaml": "containerRuntimeEndpoint: unix:///run/b.sock\n", "var/lib/kubelet/kubeadm-flags.env": "KUBELET_KUBEADM_ARGS=\"\"\n"}, []string{"unix:///run/b.sock"}},
		{"the node's own part", map[string]string{"var/lib/kubelet/config.yaml": unset, "var/lib/kubelet/instance-config.yaml": "containerRuntimeEndpoint: \"/run/c.sock\"\n"}, []string{"/run/c.sock"}},
		{"extra arguments win, the last of them", map[string]string{"etc/default/kubelet": "KUBELET_EXTRA_ARGS='--container-runtime-endpoint /run/x --container-runtime-endpoint=\"/run/d.sock\"'", "var/lib/kubelet/config.yaml": "containerRuntimeEndpoint: /run/b\n"}, []string{"/run/d.sock"}},
		{"usual sockets", nil, []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock"}},
	} {
		r, dir := newRoot(t)
		for file, text := range tt.files {
			put(t, dir, file, text)
		}
		for _, socket := range []string{"run/containerd/containerd.sock", "run/crio/crio.sock"} {
			full := filepath.Join(dir, socket)
			must(t, os.MkdirAll(filepath.Dir(full), 0o755))
			must(t, unix.Mknod(full, unix.S_IFSOCK|0o600, 0))
		}
		put(t, dir, "run/cri-dockerd.sock", "a file")
		if got, err := r.runtimeEndpoints(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
}

func TestFixturesTellTheirRuntime(t *testing.T) {
	fixtures, err := filepath.Glob("sandbox/fixtures/kubeadm-*/root")
	must(t, err)
	if len(fixtures) == 0 {
		t.Fatal("no fixtures found")
	}
	for _, fixture := range fixtures {
		r, err := OpenRoot(fixture)
		must(t, err)
		if got, err := r.runtimeEndpoints(); err != nil || !reflect.DeepEqual(got, []string{"unix:///run/containerd/containerd.sock"}) {
			t.Errorf("%s: %q, %v", fixture, got, err)
		}
		r.Close()
	}
}

func TestLogTail(t *testing.T) {
	_, _, dir, c := connectRuntime(t)
	const at = "2026-11-23T10:00:00.000000001Z "
	put(t, dir, "var/log/pods/p/0.log", at+"stdout F one\n"+at+"stdout P be\n"+at+"stderr F between\n"+at+"stdout P gi\n"+at+"stdout F n\n"+
		at+"stderr F:x tagged \x1b[2J\n"+"no format\n"+at+"stdout F \n"+at+"stderr P cut")
	must(t, os.MkdirAll(filepath.Join(dir, "var/log/containers"), 0o755))
	must(t, os.Symlink("/var/log/pods/p/0.log", filepath.Join(dir, "var/log/containers/link.log")))
	all := []string{"one", "between", "begin", "tagged \x1b[2J", "no format", "", "cut"}
	for _, path := range []string{"/var/log/pods/p/0.log", "/var/log/containers/link.log"} {
		for _, n := range []int{0, 1, 3, 7, 100} {
			want := all[max(0, len(all)-n):]
			if got, err := c.LogTail(Container{LogPath: path}, n); err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("LogTail(%s, %d) = %q, %v", path, n, got, err)
			}
		}
	}
	big := put(t, dir, "var/log/big.log", "")
	f, err := os.OpenFile(big, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("\n"+at+"stdout F last\n"), 1<<30) // a hole of 1 GiB in front
	must(t, err)
	must(t, f.Close())
	if got, err := c.LogTail(Container{LogPath: "/var/log/big.log"}, 10); err != nil || !reflect.DeepEqual(got, []string{"last"}) {
		t.Errorf("the end of a large log: %d lines, %v", len(got), err)
	}
	must(t, unix.Mkfifo(filepath.Join(dir, "var/log/fifo"), 0o600))
	_, err = c.LogTail(Container{LogPath: "/var/log/fifo"}, 1)
	wantUnsafe(t, err, "a named pipe")
	if _, err := c.LogTail(Container{ID: "x"}, 1); err == nil {
		t.Error("a container without a log is no error")
	}
}
