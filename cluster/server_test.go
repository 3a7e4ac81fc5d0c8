package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// pki is a cluster's CA with a serving and an administrator's certificate.
type pki struct {
	caPEM  []byte
	digest string
	server tls.Certificate
	admin  tls.Certificate
	pool   *x509.CertPool
}

type pkiOptions struct {
	serverName string    // 127.0.0.1 if empty
	serverEnd  time.Time // in a year if zero
	adminEnd   time.Time
}

func newPKI(t testing.TB, o pkiOptions) pki {
	t.Helper()
	if o.serverEnd.IsZero() {
		o.serverEnd = time.Now().AddDate(1, 0, 0)
	}
	if o.adminEnd.IsZero() {
		o.adminEnd = time.Now().AddDate(1, 0, 0)
	}
	key := newKey(t)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der := sign(t, ca, ca, key, key)
	parent, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	serving := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"},
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: o.serverEnd, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if o.serverName == "" {
		serving.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		serving.DNSNames = []string{o.serverName}
	}
	admin := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "kubernetes-admin"},
		NotBefore: time.Now().AddDate(-2, 0, 0), NotAfter: o.adminEnd, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	p := pki{caPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pool: x509.NewCertPool()}
	p.pool.AddCert(parent)
	sum := sha256.Sum256(der)
	p.digest = hex.EncodeToString(sum[:])
	for template, out := range map[*x509.Certificate]*tls.Certificate{serving: &p.server, admin: &p.admin} {
		k := newKey(t)
		*out = tls.Certificate{Certificate: [][]byte{sign(t, template, parent, k, key)}, PrivateKey: k}
	}
	return p
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// asked is a request that the API server got.
type asked struct {
	method, path, query, body, media, agent string
}

// apiServer answers by path; what no handler is for is a 404 as the API server writes it.
type apiServer struct {
	*httptest.Server
	pki

	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	requests []asked
}

func newAPI(t testing.TB, o pkiOptions) *apiServer {
	t.Helper()
	a := &apiServer{pki: newPKI(t, o), handlers: map[string]http.HandlerFunc{}}
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.EnableHTTP2 = true
	// The client's certificate is asked for and not checked, as the API server does.
	a.TLS = &tls.Config{Certificates: []tls.Certificate{a.server}, ClientAuth: tls.RequestClientCert, ClientCAs: a.pool}
	a.StartTLS()
	t.Cleanup(a.Close)
	a.json("/version", `{"gitVersion": "v1.37.2"}`)
	a.json("/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt", fmt.Sprintf(`{"data": {"ca.crt": %q}}`, a.caPEM))
	return a
}

func (a *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.requests = append(a.requests, asked{r.Method, r.URL.Path, r.URL.RawQuery, string(body), r.Header.Get("Content-Type"), r.UserAgent()})
	h := a.handlers[r.Method+" "+r.URL.Path]
	if h == nil {
		h = a.handlers[r.URL.Path]
	}
	a.mu.Unlock()
	if h == nil {
		status(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
		return
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	h(w, r)
}

func (a *apiServer) handle(path string, h http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handlers[path] = h
}

func (a *apiServer) json(path, body string) {
	a.handle(path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, body) })
}

func (a *apiServer) fails(path string, code int, reason, message string) {
	a.handle(path, func(w http.ResponseWriter, _ *http.Request) { status(w, code, reason, message) })
}

func (a *apiServer) got() []asked {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]asked{}, a.requests...)
}

func answer(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body)
}

func status(w http.ResponseWriter, code int, reason, message string) {
	text, _ := json.Marshal(message)
	answer(w, code, fmt.Sprintf(`{"apiVersion":"v1","kind":"Status","status":"Failure","code":%d,"reason":%q,"message":%s}`, code, reason, text))
}

// kubeconfig writes the administrator's credentials for the server.
func (a *apiServer) kubeconfig(t testing.TB, change func(*clientcmdapi.Config)) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(a.admin.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters["test"] = &clientcmdapi.Cluster{Server: a.URL, CertificateAuthorityData: a.caPEM}
	cfg.AuthInfos["admin"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.admin.Certificate[0]}),
		ClientKeyData:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
	cfg.Contexts["admin@test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin"}
	cfg.CurrentContext = "admin@test"
	if change != nil {
		change(cfg)
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func (a *apiServer) client(t testing.TB) *Client {
	t.Helper()
	c, err := Connect(Options{Kubeconfig: a.kubeconfig(t, nil), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, path, data string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
