package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ErrNoRuntime is returned where no container runtime listens. What runs can then still be told from [Root.Processes],
// by ContainerID; past containers, exit codes and logs cannot.
var ErrNoRuntime = errors.New("no container runtime listens on this node")

const (
	callTimeout = 10 * time.Second
	maxAnswer   = 40 << 20 // two outputs of 16 MiB and room for the rest
)

// Runtime is the container runtime of the running machine, asked over CRI.
type Runtime struct {
	root   *Root
	conn   *grpc.ClientConn
	client cri.RuntimeServiceClient
	images cri.ImageServiceClient
}

// Container is one container, past or present.
type Container struct {
	ID           string
	PodName      string
	PodNamespace string
	State        string // "created", "running", "exited" or "unknown"
	Created      time.Time
	StartedAt    time.Time // zero before it started
	ExitCode     int
	Reason       string
	LogPath      string
	Annotations  map[string]string
}

// Runtime connects to the container runtime: to the endpoint given (a path, or unix://path), or with "" to the one that
// the kubelet's configuration names, or to whichever listens where runtimes usually do. Close it after use.
func (r *Root) Runtime(ctx context.Context, endpoint string) (*Runtime, error) {
	if r.Proc == "" {
		return nil, ErrOffline
	}
	endpoints := []string{endpoint}
	if endpoint == "" {
		var err error
		if endpoints, err = r.runtimeEndpoints(); err != nil {
			return nil, fmt.Errorf("looking for the container runtime: %w", err)
		}
	}
	err := error(ErrNoRuntime)
	for _, endpoint := range endpoints {
		var runtime *Runtime
		if runtime, err = r.connect(ctx, endpoint); err == nil {
			return runtime, nil
		}
	}
	return nil, err
}

func (r *Root) connect(ctx context.Context, endpoint string) (*Runtime, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("connecting to the container runtime: %q is no unix socket", endpoint)
	}
	conn, err := grpc.NewClient("passthrough:///localhost",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}))
	if err != nil {
		return nil, fmt.Errorf("connecting to the container runtime at %q: %w", path, err)
	}
	runtime := &Runtime{root: r, conn: conn, client: cri.NewRuntimeServiceClient(conn), images: cri.NewImageServiceClient(conn)}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := runtime.client.Version(ctx, &cri.VersionRequest{}); err != nil {
		conn.Close()
		if err := listens(ctx, path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: there is no %q", ErrNoRuntime, path)
		}
		return nil, fmt.Errorf("connecting to the container runtime at %q: %w", path, rpc(ctx, err))
	}
	return runtime, nil
}

// listens tells why a connection failed: gRPC reports every reason as "unavailable".
func listens(ctx context.Context, path string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
	}
	return err
}

// Close ends the connection.
func (c *Runtime) Close() error { return c.conn.Close() }

// ImagesAt is a directory of the file system on which the runtime keeps its images.
func (c *Runtime) ImagesAt(ctx context.Context) (string, error) {
	const doing = "asking the container runtime for its images' file system"
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := c.images.ImageFsInfo(ctx, &cri.ImageFsInfoRequest{})
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, rpc(ctx, err))
	}
	for _, f := range answer.GetImageFilesystems() {
		if at := f.GetFsId().GetMountpoint(); at != "" {
			return at, nil // the kubelet goes by the first one too
		}
	}
	return "", fmt.Errorf("%s: it names none", doing)
}

// Containers lists the containers of that name in their pod, or all with "", the newest first.
func (c *Runtime) Containers(ctx context.Context, name string) ([]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := c.client.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", rpc(ctx, err))
	}
	var found []Container
	for _, item := range list.Containers {
		if name != "" && item.GetMetadata().GetName() != name {
			continue
		}
		answer, err := c.client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: item.Id})
		if status.Code(err) == codes.NotFound {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, fmt.Errorf("asking for container %q: %w", item.Id, rpc(ctx, err))
		}
		found = append(found, container(item, answer.GetStatus()))
	}
	slices.SortStableFunc(found, func(a, b Container) int { return b.Created.Compare(a.Created) })
	return found, nil
}

func container(item *cri.Container, s *cri.ContainerStatus) Container {
	at := func(nanos int64) time.Time {
		if nanos <= 0 {
			return time.Time{}
		}
		return time.Unix(0, nanos)
	}
	state := strings.TrimPrefix(s.GetState().String(), "CONTAINER_")
	return Container{
		ID:           item.Id,
		PodName:      item.Labels["io.kubernetes.pod.name"],
		PodNamespace: item.Labels["io.kubernetes.pod.namespace"],
		State:        strings.ToLower(state),
		Created:      at(item.CreatedAt),
		StartedAt:    at(s.GetStartedAt()),
		ExitCode:     int(s.GetExitCode()),
		Reason:       s.GetReason(),
		LogPath:      s.GetLogPath(),
		Annotations:  item.Annotations,
	}
}

// Sandbox is what a pod's containers run in.
type Sandbox struct {
	PodName string
	Created time.Time
}

// Sandboxes lists those of a namespace's pods, the newest first.
func (c *Runtime) Sandboxes(ctx context.Context, namespace string) ([]Sandbox, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := c.client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{
		LabelSelector: map[string]string{"io.kubernetes.pod.namespace": namespace},
	}})
	if err != nil {
		return nil, fmt.Errorf("listing pod sandboxes: %w", rpc(ctx, err))
	}
	var found []Sandbox
	for _, item := range list.Items {
		found = append(found, Sandbox{PodName: item.GetMetadata().GetName(), Created: time.Unix(0, item.CreatedAt)})
	}
	slices.SortStableFunc(found, func(a, b Sandbox) int { return b.Created.Compare(a.Created) })
	return found, nil
}

// ExecSync runs a command in a running container and waits for its end. That the command failed is told by code, not by
// err.
func (c *Runtime) ExecSync(ctx context.Context, id string, argv []string, timeout time.Duration) (stdout, stderr []byte, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout+callTimeout)
	defer cancel()
	answer, err := c.client.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: argv, Timeout: seconds(timeout)})
	if err != nil {
		return nil, nil, 0, fmt.Errorf("running a command in container %q: %w", id, rpc(ctx, err))
	}
	return answer.Stdout, answer.Stderr, int(answer.ExitCode), nil
}

// StopContainer ends a container, by force once grace is over. Its pod may have it started again.
func (c *Runtime) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+callTimeout)
	defer cancel()
	if _, err := c.client.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: id, Timeout: seconds(grace)}); err != nil {
		return fmt.Errorf("stopping container %q: %w", id, rpc(ctx, err))
	}
	return nil
}

// seconds rounds up: to CRI, no seconds at all can mean no limit.
func seconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// rpc makes an ended context recognisable in what gRPC returns.
func rpc(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s, ok := status.FromError(err); ok && s.Code() == codes.DeadlineExceeded {
		return fmt.Errorf("%w: %s", context.DeadlineExceeded, s.Message())
	}
	return err
}
