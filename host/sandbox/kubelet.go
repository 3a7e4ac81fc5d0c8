package sandbox

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

const (
	kubeletUnit = "kubelet.service"
	// diesAfter is how long a program takes to find its configuration wrong.
	diesAfter = 300 * time.Millisecond
	// startsAgain is the unit's RestartSec.
	startsAgain = 10 * time.Second
	// kubeletBoot is when a new kubelet answers, and heartbeat how often it reports the node.
	kubeletBoot = time.Second
	heartbeat   = 10 * time.Second
)

// kubelet is the service as systemd sees it, and what it runs with.
type kubelet struct {
	pid      int // 0: between two lives
	since    time.Time
	dying    bool
	until    time.Time // when it dies, or is started again
	restarts int
	words    string // the last ones of the last one that died

	args   []string
	config map[string]any // as configz shows it
	dir    string         // of static pods
}

func (k *kubelet) up() bool { return k.pid != 0 && !k.dying }

// startKubelet is the unit's start: the process is there at once, and dies soon if it does not like what it finds.
func (n *Node) startKubelet(at time.Time) {
	k := &n.kubelet
	k.pid, k.since, k.dying = n.newPID(), at, false
	if err := n.configureKubelet(); err != nil {
		k.dying, k.until, k.words = true, at.Add(diesAfter), klog(at.Add(diesAfter), k.pid, err)
	}
}

func klog(at time.Time, pid int, err error) string {
	if strings.HasPrefix(err.Error(), "Error: ") {
		return err.Error()
	}
	return fmt.Sprintf("E%s %7d %s %s", at.Format("0102 15:04:05.000000"), pid, source(err), err)
}

// source is the line of code that components give in their logs.
func source(err error) string {
	if strings.HasPrefix(err.Error(), `"Failed to start ContainerManager"`) {
		return "kubelet.go:1850]"
	}
	return "run.go:72]"
}

// advanceKubelet is systemd's Restart=always.
func (n *Node) advanceKubelet(now time.Time) {
	k := &n.kubelet
	for !k.until.IsZero() && !now.Before(k.until) {
		switch at := k.until; {
		case k.dying:
			k.pid, k.dying, k.until = 0, false, at.Add(startsAgain)
		case k.pid == 0:
			k.restarts++
			k.until = time.Time{}
			n.startKubelet(at)
		default:
			return
		}
	}
}

// kubeletArgs are what the unit expands to (10-kubeadm.conf).
func (n *Node) kubeletArgs() []string {
	args := []string{
		"/usr/bin/kubelet", "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
		"--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=" + kubeletConfig,
	}
	vars := map[string]string{}
	for _, file := range []string{"/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet"} {
		s, err := n.files.State(file)
		if err != nil || !s.Exists {
			continue
		}
		for line := range strings.Lines(string(s.Data)) {
			if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				vars[key] = strings.Trim(value, `"'`)
			}
		}
	}
	return slices.Concat(args, strings.Fields(vars["KUBELET_KUBEADM_ARGS"]), strings.Fields(vars["KUBELET_EXTRA_ARGS"]))
}

const kubeletConfig = "/var/lib/kubelet/config.yaml"

// configureKubelet takes flags and file as the kubelet does when it starts, or gives its last words.
func (n *Node) configureKubelet() error {
	k := &n.kubelet
	k.args = n.kubeletArgs()
	a := arguments{flagSet("kubelet", kubeletFlags)}
	if err := a.Parse(k.args[1:]); err != nil {
		return failure(fmt.Errorf("failed to parse kubelet flag: %w", err))
	}
	if rest := a.Args(); len(rest) > 0 {
		return failure(fmt.Errorf("unknown command %+s", rest[0]))
	}
	c, err := n.loadKubelet(a.text("config"))
	if err != nil {
		return failure(err)
	}
	if err := n.judgeKubelet(c); err != nil {
		return err
	}
	if err := n.tuneKernel(c.ProtectKernelDefaults); err != nil {
		return fmt.Errorf(`"Failed to start ContainerManager" err=%s`, strconv.Quote(err.Error()))
	}
	k.dir = c.StaticPodPath
	k.config, err = effective(c)
	return err
}

// judgeKubelet is what the kubelet finds wrong with its configuration before it does anything.
func (n *Node) judgeKubelet(c *kubeletv1beta1.KubeletConfiguration) error {
	if err := checkKubelet(c); err != nil {
		return failure(fmt.Errorf("failed to validate kubelet configuration, error: %w, path: &TypeMeta{Kind:,APIVersion:,}", err))
	}
	if err := checkTLS(c.TLSMinVersion, c.TLSCipherSuites); err != nil {
		return failure(fmt.Errorf("failed to construct kubelet dependencies: %w", err))
	}
	if p := c.Authentication.X509.ClientCAFile; p != "" {
		if s, err := n.files.State(p); err != nil || !s.Exists {
			return failure(fmt.Errorf("failed to run Kubelet: %w", missing(p, errors.Join(err, fs.ErrNotExist))))
		}
	}
	if m := c.Authorization.Mode; m != "" && m != kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow && m != kubeletv1beta1.KubeletAuthorizationModeWebhook {
		return failure(fmt.Errorf("failed to run Kubelet: unknown authorization mode %s", m))
	}
	return nil
}

// loadKubelet decodes strictly, and where only that fails, once more without minding unknown fields, as the kubelet does.
func (n *Node) loadKubelet(p string) (*kubeletv1beta1.KubeletConfiguration, error) {
	wrap := func(err error) error {
		return fmt.Errorf("failed to load kubelet config file, path: %s, error: failed to load Kubelet config file %s, error %w", p, p, err)
	}
	s, err := n.files.State(p)
	switch {
	case err != nil || !s.Exists:
		return nil, wrap(fmt.Errorf("failed to read kubelet config file %q, error: %w", p, missing(p, errors.Join(err, fs.ErrNotExist))))
	case len(s.Data) == 0:
		return nil, wrap(fmt.Errorf("kubelet config file %q was empty", p))
	}
	c, err := decodeKubeletConfig(s.Data)
	if err != nil {
		return nil, wrap(err)
	}
	return c, nil
}

func decodeKubeletConfig(data []byte) (*kubeletv1beta1.KubeletConfiguration, error) {
	o, err := decodeKubeletStrict(data)
	if err != nil {
		if o, err = decodeKubelet(data); err != nil {
			return nil, fmt.Errorf("failed to decode: %w", err)
		}
	}
	c, ok := o.(*kubeletv1beta1.KubeletConfiguration)
	if !ok {
		return nil, fmt.Errorf("failed to cast object to KubeletConfiguration, unexpected type: %T", o)
	}
	return c, nil
}

func checkKubelet(c *kubeletv1beta1.KubeletConfiguration) error {
	var errs []error
	refuse := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("invalid configuration: "+format, args...))
	}
	if q := c.EventRecordQPS; q != nil && *q < 0 {
		refuse("eventRecordQPS (--event-qps) %v must not be a negative number", *q)
	}
	if p := c.HealthzPort; p != nil && (*p < 1 || *p > 65535) {
		refuse("healthzPort (--healthz-port) %v must be between 1 and 65535, inclusive", *p)
	}
	if p := c.ReadOnlyPort; p < 0 || p > 65535 {
		refuse("readOnlyPort (--read-only-port) %v must be between 0 and 65535, inclusive", p)
	}
	if agg := utilerrors.NewAggregate(errs); agg != nil {
		return agg
	}
	return nil
}

// kernel is what the kubelet wants of it: it sets this, or with protectKernelDefaults only looks.
var kernel = []struct{ key, value string }{
	{"vm.overcommit_memory", "1"}, {"vm.panic_on_oom", "0"}, {"kernel.panic", "10"}, {"kernel.panic_on_oops", "1"},
	{"kernel.keys.root_maxkeys", "1000000"}, {"kernel.keys.root_maxbytes", "25000000"},
}

func (n *Node) tuneKernel(protect bool) error {
	var errs []error
	for _, want := range kernel {
		live := n.sysctls[want.key]
		if live != want.value && protect {
			flag := strings.Replace(want.key, ".", "/", strings.Count(want.key, "."))
			errs = append(errs, fmt.Errorf("invalid kernel flag: %s, expected value: %s, actual value: %s", flag, want.value, live))
		}
		if !protect {
			n.sysctls[want.key] = want.value
		}
	}
	if agg := utilerrors.NewAggregate(errs); agg != nil {
		return agg
	}
	return nil
}

// kubeletDefaults is configz of a kubelet 1.37.2 that was given no values.
//
//go:embed kubelet-defaults.json
var kubeletDefaults []byte

// effective is the configuration with defaults, as configz shows it.
func effective(c *kubeletv1beta1.KubeletConfiguration) (map[string]any, error) {
	out := map[string]any{}
	if err := json.Unmarshal(kubeletDefaults, &out); err != nil {
		return nil, err
	}
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	given := map[string]any{}
	if err := json.Unmarshal(data, &given); err != nil {
		return nil, err
	}
	overlay(out, given)
	return out, nil
}

// overlay lays values over defaults; durations of nothing are none.
func overlay(on, values map[string]any) {
	for k, v := range values {
		if m, ok := v.(map[string]any); ok {
			below, ok := on[k].(map[string]any)
			if !ok {
				below = map[string]any{}
			}
			overlay(below, m)
			if len(below) > 0 {
				on[k] = below
			}
			continue
		}
		if _, has := on[k]; has && v == "0s" {
			continue
		}
		on[k] = v
	}
}

// staticPodDir is where the running kubelet looks for static pods.
func (k *kubelet) staticPodDir() string { return path.Clean(k.dir) }
