//go:build linux

package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// What a cluster of one node takes, with the binaries still to be built.
const (
	spaceWanted  = 5 << 30
	memoryWanted = 2 << 30
)

// probes try what a node is made of, each in namespaces of its own that end with it. Their own words are the reasons.
var probes = []struct{ what, script string }{
	{"mounts in a mount namespace", `unshare --mount --propagation private sh -c 'mount -t tmpfs none /mnt'`},
	{"a process namespace with a /proc of its own", `unshare --mount --pid --fork --mount-proc true`},
	{"a network namespace with a bridge and a cable", `unshare --net sh -ec 'ip link add lan0 type bridge; ip link add cable0 type veth peer name cable1; ip link set cable0 master lan0'`},
	{"overlay file systems", `unshare --mount --propagation private sh -ec 'mount -t tmpfs none "$1"; cd "$1"; mkdir l u w m; mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none m' sh "$1"`},
	{"/dev/kmsg, which the kubelet reads", `test -c /dev/kmsg`},
}

// Check tries what Start will need, and says what this machine lacks: none means that a lab can be had here. It installs the
// packages that Start would install.
func Check(ctx context.Context, cfg Config) (lacks []string, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return []string{fmt.Sprintf("root: it makes namespaces, mounts and cgroups, and runs as user %d", os.Geteuid())}, nil
	}
	if err := installHostPackages(ctx, cfg); err != nil {
		return []string{fmt.Sprintf("packages: %v", err)}, nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp(cfg.Dir, "check-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	for _, p := range probes {
		out, err := exec.CommandContext(ctx, "sh", "-c", p.script, "sh", scratch).CombinedOutput()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			lacks = append(lacks, fmt.Sprintf("%s: %v: %s", p.what, err, strings.TrimSpace(string(out))))
		}
	}
	for _, check := range []func(context.Context, Config) error{checkCgroups, checkSpace, checkMemory, checkMirror} {
		if err := check(ctx, cfg); err != nil {
			lacks = append(lacks, err.Error())
		}
	}
	return lacks, nil
}

func checkCgroups(ctx context.Context, _ Config) error {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return nil // systemd gives them
	}
	groups, err := createCgroups(fmt.Sprintf("khlab-check-%d", os.Getpid()))
	if err != nil {
		return fmt.Errorf("cgroups of its own: %w", err)
	}
	if len(groups) == 0 {
		return fmt.Errorf("cgroups of its own: nothing is mounted below /sys/fs/cgroup")
	}
	return removeCgroups(ctx, groups)
}

func checkSpace(_ context.Context, cfg Config) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(cfg.Dir, &fs); err != nil {
		return fmt.Errorf("space: %s: %w", cfg.Dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < spaceWanted {
		return fmt.Errorf("space: %d MB are free in %s, and %d MB are wanted", free>>20, cfg.Dir, spaceWanted>>20)
	}
	return nil
}

func checkMemory(context.Context, Config) error {
	info, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(info)) {
		var kb uint64
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kb); err == nil && kb<<10 < memoryWanted {
			return fmt.Errorf("memory: %d MB are available, and %d MB are wanted", kb>>10, memoryWanted>>20)
		}
	}
	return nil
}

// checkMirror asks for what debootstrap asks first, unless it has been.
func checkMirror(ctx context.Context, cfg Config) error {
	dir, err := rootfsDir(cfg)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	url := strings.TrimSuffix(debianMirror(), "/") + "/dists/" + debianSuite + "/Release"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("a mirror of Debian's packages: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("a mirror of Debian's packages: %w (DEBIAN_MIRROR=URL names another)", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("a mirror of Debian's packages: %s: %s (DEBIAN_MIRROR=URL names another)", url, res.Status)
	}
	return nil
}
