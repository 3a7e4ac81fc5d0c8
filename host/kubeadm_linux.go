package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/host/apart"
)

const (
	kubernetesDir = "/etc/kubernetes"
	// renewWait is how long kubeadm may take: it asks the API for its configuration, for a minute where nobody answers.
	renewWait = 3 * time.Minute
)

// programDirs are where kubeadm is looked for, whatever PATH says.
var programDirs = []string{"/usr/bin", "/usr/local/bin", "/usr/sbin", "/opt/bin", "/usr/local/sbin"}

// RenewCertificates has the node's own kubeadm renew certificates, by its names for them, and gives the files below /etc/kubernetes
// that became other ones, by path. None of the node's files is touched: kubeadm sees copies, in memory, in a mount namespace that
// goes with this call. said are its last words where it gave up.
func (r *Root) RenewCertificates(ctx context.Context, names []string) (files map[string][]byte, said string, err error) {
	if r.Proc == "" {
		return nil, "", ErrOffline
	}
	program, err := kubeadmProgram()
	if err != nil {
		return nil, "", err
	}
	return renewCopies(ctx, program, kubernetesDir, names)
}

// renewCopies lets the program work on copies of what kubeadm reads below a directory.
func renewCopies(ctx context.Context, program, dir string, names []string) (files map[string][]byte, said string, err error) {
	before, err := readTree(dir, kubeadmReads)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	err = apart.Do(func() (err error) {
		files, said, err = renewIn(ctx, program, dir, names, before)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("letting kubeadm renew copies of the certificates: %w", err)
	}
	return files, said, nil
}

// kubeadmProgram refuses a program that others than root could have put there.
func kubeadmProgram() (string, error) {
	for _, dir := range programDirs {
		p := path.Join(dir, "kubeadm")
		real, err := filepath.EvalSymlinks(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("looking for kubeadm: %q: %w", p, cause(err))
		}
		var st unix.Stat_t
		if err := unix.Stat(real, &st); err != nil {
			return "", fmt.Errorf("looking for kubeadm: %q: %w", real, err)
		}
		if st.Uid != 0 || st.Mode&0o022 != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return "", fmt.Errorf("looking for kubeadm: %q: others than root can change it", real)
		}
		return real, nil
	}
	return "", fmt.Errorf("looking for kubeadm: it is not in %s", strings.Join(programDirs, ", "))
}

// kubeadmReads are the files that a renewal needs: certificates, keys, kubeconfigs, and the manifest by which kubeadm knows a
// control-plane node.
func kubeadmReads(name string) bool {
	dir, base := path.Split(name)
	switch {
	case dir == "pki/", dir == "pki/etcd/":
		return true
	case dir == "":
		return path.Ext(base) == ".conf"
	}
	return dir == "manifests/" && path.Ext(base) == ".yaml"
}

// readTree reads the files of a directory that are taken, by their names below it.
func readTree(dir string, take func(name string) bool) (map[string][]byte, error) {
	top, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", dir, cause(err))
	}
	out := map[string][]byte{}
	for _, sub := range []string{"", "pki", "pki/etcd", "manifests"} {
		entries, err := os.ReadDir(path.Join(top, sub))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading %q: %w", path.Join(dir, sub), cause(err))
		}
		for _, e := range entries {
			name := path.Join(sub, e.Name())
			info, err := os.Stat(path.Join(top, name))
			if err != nil || !take(name) || !info.Mode().IsRegular() || info.Size() > DefaultMaxFile {
				continue
			}
			if out[name], err = os.ReadFile(path.Join(top, name)); err != nil {
				return nil, fmt.Errorf("reading %q: %w", path.Join(dir, name), cause(err))
			}
		}
	}
	return out, nil
}

// renewIn covers the directory with a copy, for the calling thread and its children, and lets kubeadm work there.
func renewIn(ctx context.Context, program, dir string, names []string, before map[string][]byte) (map[string][]byte, string, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, "", fmt.Errorf("making a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, "", fmt.Errorf("making a mount namespace: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700,size=64m"); err != nil {
		return nil, "", fmt.Errorf("mounting a copy of %s: %w", dir, err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for name, data := range before {
		at := path.Join(dir, name)
		if err := os.MkdirAll(path.Dir(at), 0o700); err != nil {
			return nil, "", err
		}
		if err := os.WriteFile(at, data, 0o600); err != nil {
			return nil, "", err
		}
	}
	said, err := runKubeadm(ctx, program, names)
	if err != nil {
		return nil, "", err
	}
	after, err := readTree(dir, kubeadmReads)
	if err != nil {
		return nil, "", err
	}
	out := map[string][]byte{}
	for name, data := range after {
		if !bytes.Equal(data, before[name]) {
			out[path.Join(dir, name)] = data
		}
	}
	return out, said, nil
}

// runKubeadm renews all that it can at once. One that it cannot read ends that, so that the wanted ones are then renewed by name.
func runKubeadm(ctx context.Context, program string, names []string) (said string, err error) {
	if said, err = kubeadm(ctx, program, "all"); said == "" || err != nil {
		return said, err
	}
	var last string
	for _, name := range names {
		if said, err = kubeadm(ctx, program, name); err != nil {
			return "", err
		} else if said != "" {
			last = said
		}
	}
	return last, nil
}

// kubeadm renews by a name; said is why it did not.
func kubeadm(ctx context.Context, program, name string) (said string, err error) {
	cmd := exec.CommandContext(ctx, program, "certs", "renew", name)
	// No proxy: it asks this cluster's API alone.
	cmd.Env = []string{"PATH=" + strings.Join(programDirs, ":") + ":/bin:/sbin", "HOME=/root", "LC_ALL=C.UTF-8"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%q: %w", program+" certs renew "+name, ctx.Err())
	case errors.As(err, &exit):
		return lastLine(string(output)), nil
	case err != nil:
		return "", cause(err)
	}
	return "", nil
}

// lastLine is the last words of a program that say anything: kubeadm ends with a hint about its stack trace.
func lastLine(output string) string {
	said := "it failed and said nothing"
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "To see the stack trace") {
			said = line
		}
	}
	return strings.TrimPrefix(said, "error: ")
}
