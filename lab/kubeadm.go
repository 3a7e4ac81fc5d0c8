//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// bundle is everything that a node is made of.
type bundle struct {
	rootfs, kubernetes, containerd, coredns, netcheck, netpolicy string
	images                                                       []image
	pauseImage                                                   string
}

// NetcheckImage is in every node: the program cmd/netcheck, for pods of tests.
const NetcheckImage = "kubectl-harden.io/lab/netcheck:1"

// ensureBundle builds or fetches what is missing.
func (c *Cluster) ensureBundle(ctx context.Context) (bundle, error) {
	var b bundle
	var err error
	if b.kubernetes, err = c.release.part().build(ctx, c.cfg); err != nil {
		return b, err
	}
	if b.containerd, err = containerdPart.build(ctx, c.cfg); err != nil {
		return b, err
	}
	if b.coredns, err = corednsPart.build(ctx, c.cfg); err != nil {
		return b, err
	}
	if b.netcheck, err = netcheckPart.build(ctx, c.cfg); err != nil {
		return b, err
	}
	if b.netpolicy, err = netpolicyPart.build(ctx, c.cfg); err != nil {
		return b, err
	}
	if b.rootfs, err = ensureRootfs(ctx, c.cfg); err != nil {
		return b, err
	}
	tools, err := packetFilterTools(ctx, b.rootfs)
	if err != nil {
		return b, fmt.Errorf("collecting the packet filter tools: %w", err)
	}
	// kubeadm knows the names and tags of the images it will ask for.
	cmd := exec.CommandContext(ctx, filepath.Join(b.kubernetes, "kubeadm"), "config", "images", "list",
		"--kubernetes-version", c.release.version)
	out, err := cmd.Output()
	if err != nil {
		return b, fmt.Errorf("listing the images of %s: %w", c.release.version, err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		base, _, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
		switch base {
		case "pause":
			b.pauseImage = name
			b.images = append(b.images, singleProgram(name, filepath.Join(b.netcheck, "netcheck"), "/pause"))
		case "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd":
			b.images = append(b.images, singleProgram(name, filepath.Join(b.kubernetes, base), "/usr/local/bin/"+base))
		case "kube-proxy":
			img := singleProgram(name, filepath.Join(b.kubernetes, base), "/usr/local/bin/"+base)
			img.files = append(img.files, tools...)
			b.images = append(b.images, img)
		case "coredns":
			b.images = append(b.images, singleProgram(name, filepath.Join(b.coredns, "coredns"), "/coredns"))
		default:
			return b, fmt.Errorf("kubeadm %s wants an image that the lab cannot make: %s", c.release.version, name)
		}
	}
	b.images = append(b.images, singleProgram(NetcheckImage, filepath.Join(b.netcheck, "netcheck"), "/netcheck"))
	enforcer := singleProgram(netpolicyImage, filepath.Join(b.netpolicy, "netpolicy"), "/netpolicy")
	enforcer.files = append(enforcer.files, tools...)
	b.images = append(b.images, enforcer)
	return b, nil
}

func singleProgram(name, source, path string) image {
	return image{name: name, entrypoint: []string{path}, files: []imageFile{{path: path, source: source}}}
}

// packetFilterTools returns what kube-proxy and the enforcer of policies run, from the distribution, with the libraries of it.
func packetFilterTools(ctx context.Context, rootfs string) ([]imageFile, error) {
	paths := []string{"/usr/sbin/xtables-nft-multi", "/usr/sbin/nft", "/usr/sbin/conntrack"}
	extensions, err := filepath.Glob(filepath.Join(rootfs, "usr/lib/*/xtables/*.so"))
	if err != nil {
		return nil, err
	}
	for _, e := range extensions {
		paths = append(paths, strings.TrimPrefix(e, rootfs))
	}
	out, err := exec.CommandContext(ctx, "chroot", append([]string{rootfs, "ldd"}, paths...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("listing libraries: %w", err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") && !strings.HasSuffix(word, ":") {
			paths = append(paths, word)
		}
	}
	slices.Sort(paths)
	var files []imageFile
	for _, p := range slices.Compact(paths) {
		files = append(files, imageFile{path: p, source: filepath.Join(rootfs, p)})
	}
	for _, name := range []string{"iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"} {
		files = append(files, imageFile{path: "/usr/sbin/" + name, link: "xtables-nft-multi"})
	}
	return files, nil
}

// importImages loads images into the node's container runtime.
func (n *Node) importImages(ctx context.Context, images []image) error {
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeImages(w, images)) }()
	_, err := n.RunInput(ctx, r, "ctr", "-n", "k8s.io", "images", "import", "--local", "--discard-unpacked-layers", "-")
	r.Close()
	return err
}

// initialize makes a cluster of the nodes.
func (c *Cluster) initialize(ctx context.Context) error {
	first := c.nodes[0]
	err := c.step("kubeadm init on "+first.name, func() error {
		args := []string{"init", "--config=/root/kubeadm.yaml", "--ignore-preflight-errors=all"}
		if len(c.controlPlane()) > 1 {
			args = append(args, "--upload-certs")
		}
		_, err := first.Run(ctx, "kubeadm", args...)
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range c.nodes[1:] {
		err := c.step("kubeadm join on "+n.name, func() error {
			_, err := n.Run(ctx, "kubeadm", "join", "--config=/root/kubeadm.yaml", "--ignore-preflight-errors=all")
			return err
		})
		if err != nil {
			return err
		}
	}
	// Workloads run everywhere: there may be no worker.
	for _, n := range c.controlPlane() {
		if _, err := n.RunInput(ctx, strings.NewReader(n.hosts(n)), "sh", "-c", "cat >/etc/hosts"); err != nil {
			return err
		}
		if _, err := first.Run(ctx, "kubectl", "taint", "nodes", n.name, "node-role.kubernetes.io/control-plane-"); err != nil {
			return err
		}
	}
	return nil
}
