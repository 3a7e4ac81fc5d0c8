package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

const (
	// AdminKubeconfig is where kubeadm puts the administrator's credentials on a control-plane node.
	AdminKubeconfig = "/etc/kubernetes/admin.conf"
	// FieldManager owns the fields that are written.
	FieldManager = "kubectl-harden"

	defaultTimeout = 10 * time.Second
)

// Options say which cluster, and as whom.
type Options struct {
	// NodeRoot is the root of the control-plane node that this runs on, empty on a workstation. On a node the default is
	// its admin.conf, whatever KUBECONFIG says, and no proxy is used that the kubeconfig does not name; on a workstation
	// kubectl's rules hold.
	NodeRoot string
	// Kubeconfig and Context are the operator's choice; empty: the default.
	Kubeconfig string
	Context    string
	// Timeout of each request; 10 seconds if 0.
	Timeout time.Duration
	// UserAgent by which the API's audit log knows us; FieldManager if empty.
	UserAgent string
}

// Client asks one cluster's API. It is safe for concurrent use.
type Client struct {
	config  *rest.Config
	server  *url.URL
	rest    *rest.RESTClient
	http    *http.Client
	timeout time.Duration
	context string
	// clientCert is the administrator's certificate in PEM, to explain a refusal; empty with other credentials.
	clientCert []byte
	insecure   bool
	onNode     bool
}

// quiet keeps the log that client-go writes to stderr from running through the screen; what matters is in the errors.
var quiet = sync.OnceFunc(func() { klog.SetLogger(klog.Logger{}) })

// Connect reads the credentials. It sends nothing.
func Connect(opts Options) (*Client, error) {
	quiet()
	const doing = "reading the kubeconfig"
	raw, subject, err := load(opts)
	if err != nil {
		return nil, &objects.Error{Doing: doing, Subject: subject, Reason: objects.Credentials, Cause: err}
	}
	c, err := newClient(raw, opts)
	if err != nil {
		return nil, &objects.Error{Doing: doing, Subject: subject, Reason: objects.Credentials, Cause: err}
	}
	return c, nil
}

// Context is the kubeconfig's context that is used.
func (c *Client) Context() string { return c.context }

// Server is the API's address.
func (c *Client) Server() string { return c.server.Redacted() }

func load(opts Options) (raw *clientcmdapi.Config, subject string, err error) {
	rules := &clientcmd.ClientConfigLoadingRules{}
	switch {
	case opts.Kubeconfig != "":
		rules.ExplicitPath, subject = opts.Kubeconfig, opts.Kubeconfig
	case opts.NodeRoot != "":
		rules.ExplicitPath = filepath.Join(opts.NodeRoot, AdminKubeconfig)
		subject = rules.ExplicitPath
		if root := filepath.Clean(opts.NodeRoot); root != string(filepath.Separator) {
			if err := inside(root); err != nil {
				return nil, subject, plain(err)
			}
		}
	default:
		rules = clientcmd.NewDefaultClientConfigLoadingRules()
		rules.MigrationRules = nil
		subject = strings.Join(rules.Precedence, string(filepath.ListSeparator))
	}
	rules.WarnIfAllMissing = false
	if raw, err = rules.Load(); err != nil {
		if closed := unreadable(rules); closed != nil {
			err = closed
		}
		return nil, subject, plain(err)
	}
	if clientcmdapi.IsConfigEmpty(raw) {
		return nil, subject, errors.New("there are no clusters in it")
	}
	return raw, subject, nil
}

// unreadable is why a file cannot be opened, where that is so: loading it says that in words alone.
func unreadable(rules *clientcmd.ClientConfigLoadingRules) error {
	for _, file := range append([]string{rules.ExplicitPath}, rules.Precedence...) {
		f, err := os.Open(file)
		if err == nil {
			f.Close()
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// inside refuses an admin.conf that leads out of a root that is not the running machine's own.
func inside(root string) error {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := dir.Open(strings.TrimPrefix(AdminKubeconfig, "/"))
	if err != nil {
		return err
	}
	return f.Close()
}

var lineNumber = regexp.MustCompile(`line \d+`)

// plain says what is wrong with a kubeconfig without quoting from it, as a parser's error may quote a credential.
func plain(err error) error {
	var pathErr *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("it does not exist")
	case errors.As(err, &pathErr):
		return pathErr.Err
	}
	if at := lineNumber.FindString(err.Error()); at != "" {
		return fmt.Errorf("it is not a kubeconfig: %s cannot be read", at)
	}
	return errors.New("it is not a kubeconfig")
}

func newClient(raw *clientcmdapi.Config, opts Options) (*Client, error) {
	name := raw.CurrentContext
	if opts.Context != "" {
		name = opts.Context
	}
	if _, ok := raw.Contexts[name]; !ok {
		if name == "" {
			return nil, errors.New("it has no current context")
		}
		return nil, fmt.Errorf("it has no context %q", name)
	}
	cfg, err := clientcmd.NewNonInteractiveClientConfig(*raw, name, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return nil, err
	}
	if cfg.AuthProvider != nil {
		return nil, fmt.Errorf("the user of context %q logs in by the built-in provider %q, which is not supported here; "+
			"use an exec plugin, or a kubeconfig with a token or a certificate", name, cfg.AuthProvider.Name)
	}
	if cfg.ExecProvider != nil {
		cfg.ExecProvider.StdinUnavailable = true
		cfg.ExecProvider.StdinUnavailableMessage = "the terminal is in use"
	}
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, errors.New("the server's address cannot be parsed")
	}
	if server.Scheme != "https" {
		return nil, fmt.Errorf("the server's address is %s, and only https is trusted with credentials", server.Redacted())
	}
	if opts.NodeRoot != "" && cfg.Proxy == nil {
		cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	cfg.UserAgent = opts.UserAgent
	if cfg.UserAgent == "" {
		cfg.UserAgent = FieldManager
	}
	// The server's own priority and fairness is enough, and warnings on stderr would run through the screen.
	cfg.QPS = -1
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return &limited{rt} })
	cfg.NegotiatedSerializer = statusOnly()
	cfg.ContentType, cfg.AcceptContentTypes = "application/json", "application/json"
	cfg.GroupVersion = &schema.GroupVersion{}

	c := &Client{config: cfg, timeout: opts.Timeout, context: name, clientCert: cfg.CertData, insecure: cfg.Insecure, onNode: opts.NodeRoot != ""}
	if err := c.dial(cfg); err != nil {
		return nil, err
	}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	if len(c.clientCert) == 0 && cfg.CertFile != "" {
		if c.clientCert, err = os.ReadFile(cfg.CertFile); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// dial makes the client's connections of a configuration. It sends nothing.
func (c *Client) dial(cfg *rest.Config) error {
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return errors.New("the server's address cannot be parsed")
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	restClient, err := rest.RESTClientForConfigAndClient(cfg, client)
	if err != nil {
		return err
	}
	c.server, c.rest, c.http = server, restClient, client
	return nil
}

// At asks the API server at another address, with the same credentials. It has to prove itself by the name of the usual one.
func (c *Client) At(host string, port int) (*Client, error) {
	cfg := rest.CopyConfig(c.config)
	cfg.Host = "https://" + net.JoinHostPort(host, strconv.Itoa(port))
	if cfg.ServerName == "" {
		cfg.ServerName = c.server.Hostname()
	}
	there := &Client{config: cfg, timeout: c.timeout, context: c.context, clientCert: c.clientCert, insecure: c.insecure, onNode: c.onNode}
	if err := there.dial(cfg); err != nil {
		return nil, &objects.Error{Doing: "connecting to another address", Subject: cfg.Host, Reason: objects.Credentials, Cause: err}
	}
	return there, nil
}

// statusOnly decodes nothing but the API's errors: objects are decoded by what needs them, so that no scheme of all types
// has to be built at every start.
func statusOnly() runtime.NegotiatedSerializer {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme).WithoutConversion()
}
