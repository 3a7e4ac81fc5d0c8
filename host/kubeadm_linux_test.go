package host

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeKubeadm is a program that renews as kubeadm does, in the directory that kubeadm's is for the test.
func fakeKubeadm(t *testing.T, dir, script string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "kubeadm")
	text := "#!/bin/sh\ncd " + dir + " || exit 1\n[ \"$1 $2\" = 'certs renew' ] || exit 1\n" + script
	if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}

// kubernetesTree is a directory as /etc/kubernetes is.
func kubernetesTree(t *testing.T) (dir string, state func() map[string]string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"pki/ca.key": "ca", "pki/apiserver.crt": "old", "pki/apiserver.key": "old", "pki/etcd/server.crt": "old", "admin.conf": "old",
		"manifests/kube-apiserver.yaml": "kind: Pod", "tmp/kubeadm-backup-etcd/db": "much",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, func() map[string]string {
		out := map[string]string{}
		err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			out[p] = string(data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func TestKubeadmRenewsCopiesOnly(t *testing.T) {
	asRoot(t)
	dir, state := kubernetesTree(t)
	before := state()
	program := fakeKubeadm(t, dir, `
[ "$(cat pki/ca.key)" = ca ] && [ -f manifests/kube-apiserver.yaml ] && [ ! -e tmp ] || exit 1
[ "$HTTPS_PROXY" = "" ] || exit 1
[ "$(stat -f -c %T .)" = tmpfs ] && [ "$(stat -c %a .)" = 700 ] || exit 1
[ "$3" = all ] || exit 1
echo new > pki/apiserver.crt; echo new > pki/apiserver.key; echo new > admin.conf
echo 'certificate renewed'
`)
	t.Setenv("HTTPS_PROXY", "http://192.0.2.1:3128")
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	files, said, err := renewCopies(t.Context(), program, dir, []string{"apiserver"})
	if err != nil || said != "" {
		t.Fatal(err, said)
	}
	names := slices.Sorted(maps.Keys(files))
	if want := []string{dir + "/admin.conf", dir + "/pki/apiserver.crt", dir + "/pki/apiserver.key"}; !slices.Equal(names, want) || string(files[want[0]]) != "new\n" {
		t.Errorf("%q", names)
	}
	if !maps.Equal(state(), before) {
		t.Error("the files themselves have changed")
	}
	if now, _ := os.ReadFile("/proc/self/mountinfo"); string(now) != string(mounts) {
		t.Error("something stays mounted")
	}
}

// One certificate that kubeadm cannot read ends the renewal of all: the wanted ones are renewed by name then.
func TestOneThatCannotBeRenewedKeepsNoOther(t *testing.T) {
	asRoot(t)
	dir, _ := kubernetesTree(t)
	program := fakeKubeadm(t, dir, `
case $3 in
all | admin.conf) echo 'error: failed to load kubeConfig file' >&2; echo 'To see the stack trace of this error execute with --v=5 or higher' >&2; exit 1;;
esac
echo "$3" > pki/$3.crt
`)
	files, said, err := renewCopies(t.Context(), program, dir, []string{"admin.conf", "apiserver"})
	if err != nil || said != "failed to load kubeConfig file" || string(files[dir+"/pki/apiserver.crt"]) != "apiserver\n" || len(files) != 1 {
		t.Errorf("%q, %q, %v", files, said, err)
	}
}

func TestKubeadmThatHangsIsEnded(t *testing.T) {
	asRoot(t)
	dir, _ := kubernetesTree(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, err := renewCopies(ctx, fakeKubeadm(t, dir, "exec tail -f /dev/null\n"), dir, []string{"apiserver"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestServedIsWhatAServerShows(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12} // as etcd, which ends the connection
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	got, err := Served(t.Context(), strings.TrimPrefix(s.URL, "https://"))
	if err != nil || string(got) != string(s.Certificate().Raw) {
		t.Error(err)
	}
	s.Close()
	if _, err := Served(t.Context(), strings.TrimPrefix(s.URL, "https://")); err == nil {
		t.Error("nobody listens there")
	}
}
