//go:build linux

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// What an impostor is: an API that answers for everything as the node's own does, with the same objects and the same rights, and
// is another cluster's by its CA, or has another machine as the node of that name.
const (
	otherCA      = "ca"
	otherMachine = "machine"
)

// impostorAt is where it listens in the node, and impostorConfig the kubeconfig that trusts it.
const (
	impostorAt     = "127.0.0.1:26443"
	impostorConfig = "/root/elsewhere.conf"
)

// request is one that an impostor was asked.
type request struct{ Method, Path string }

// impostor passes requests on to a server, with the administrator's credentials, until its input ends. It prints each.
func impostor(kind, server string) error {
	cert, err := administrator()
	if err != nil {
		return err
	}
	ca, key, err := impostorCA(kind)
	if err != nil {
		return err
	}
	serving, err := servingCertificate(ca, key)
	if err != nil {
		return err
	}
	target, err := url.Parse(server)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Accept-Encoding")
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}},
		ModifyResponse: func(r *http.Response) error {
			return pretend(kind, r, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
		},
	}
	l, err := net.Listen("tcp", impostorAt)
	if err != nil {
		return err
	}
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			out.Encode(request{r.Method, r.URL.Path})
			mu.Unlock()
			proxy.ServeHTTP(w, r)
		}),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{serving}},
	}
	ended := make(chan error, 1)
	go func() { ended <- s.ServeTLS(l, "", "") }()
	if err := writeImpostorConfig(ca); err != nil {
		return err
	}
	told := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(told)
	}()
	select {
	case err := <-ended:
		return err
	case <-told:
		return nil
	}
}

// pretend puts what is another's into an answer.
func pretend(kind string, r *http.Response, ca []byte) error {
	var change func(object map[string]any)
	path := r.Request.URL.Path
	switch {
	case kind == otherCA && strings.HasSuffix(path, "/configmaps/kube-root-ca.crt"):
		change = func(o map[string]any) { o["data"] = map[string]any{"ca.crt": string(ca)} }
	case kind == otherMachine && strings.HasPrefix(path, "/api/v1/nodes/"):
		change = func(o map[string]any) {
			status, _ := o["status"].(map[string]any)
			info, _ := status["nodeInfo"].(map[string]any)
			info["machineID"] = strings.Repeat("0", 32)
		}
	}
	if change == nil || r.StatusCode != http.StatusOK {
		return nil
	}
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		return err
	}
	r.Body.Close()
	change(object)
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	r.Header.Set("Content-Length", fmt.Sprint(len(text)))
	return nil
}

// impostorCA is a CA of its own, or the node's, whose key lies on a control-plane node.
func impostorCA(kind string) (*x509.Certificate, any, error) {
	if kind == otherMachine {
		pair, err := tls.LoadX509KeyPair("/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/pki/ca.key")
		if err != nil {
			return nil, nil, err
		}
		return pair.Leaf, pair.PrivateKey, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func servingCertificate(ca *x509.Certificate, caKey any) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kube-apiserver"}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// writeImpostorConfig is the administrator's kubeconfig for an impostor: whoever goes by it has no reason to doubt.
func writeImpostorConfig(ca *x509.Certificate) error {
	text, err := os.ReadFile("/etc/kubernetes/admin.conf")
	if err != nil {
		return err
	}
	bundle := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if before, _, ok := strings.Cut(line, "certificate-authority-data: "); ok {
			lines[i] = before + "certificate-authority-data: " + bundle
		}
		if before, _, ok := strings.Cut(line, "server: "); ok {
			lines[i] = before + "server: https://" + impostorAt
		}
	}
	tmp := impostorConfig + ".new"
	if err := os.WriteFile(tmp, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, impostorConfig)
}

// elsewhereScenarios are about whom the credentials lead to.
var elsewhereScenarios = []scenario{{
	name:   "11-elsewhere",
	proves: "credentials for another cluster are refused although all is well with them: another CA, another machine of the same name",
	run:    elsewhere,
}}

func elsewhere(t *T) {
	before := t.wholePicture()
	const control = "networkpolicy-default-deny-ingress"
	change := []string{"--kubeconfig", impostorConfig, "apply", "--control", control, "--accept", control, "--yes"}

	t.step("the right cluster, and a kubeconfig that trusts another CA")
	t.shell(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kubernetes -days 1 -keyout /root/other.key -out /root/other.crt 2>/dev/null
ca=$(base64 -w0 /root/other.crt)
sed "s|certificate-authority-data: .*|certificate-authority-data: $ca|" /etc/kubernetes/admin.conf >` + impostorConfig)
	t.expect("a CA that is not trusted", t.harden(change...), 8, "its certificate is not from the CA that the kubeconfig trusts")
	t.same(before, "a CA that is not trusted")

	for _, row := range []struct{ kind, says string }{
		{otherCA, "it is another cluster: its CA is"}, {otherMachine, "is another machine: its machine id is"},
	} {
		t.step("an API of another %s", row.kind)
		t.shell("rm -f " + impostorConfig)
		cmd, err := t.node.Command(t.ctx, agentPath, "agent", "impostor", row.kind, readyzServer(t.node))
		t.need(err)
		b := t.background(cmd)
		t.within(20*time.Second, "it answers", func() (bool, string) {
			out, err := t.node.Run(t.ctx, "kubectl", "--kubeconfig", impostorConfig, "get", "namespaces", "-o", "name")
			return err == nil && strings.Contains(string(out), "namespace/kube-system"), fmt.Sprint(err)
		})
		t.expect("another "+row.kind+": apply", t.harden(change...), 8, row.says)
		seen := t.harden("--kubeconfig", impostorConfig, "assess", "-o", "json")
		var a assessment
		t.need(json.Unmarshal([]byte(seen.stdout), &a))
		for _, f := range a.Findings {
			if f.Area == "networkpolicy" && f.Status != "unknown" {
				t.errorf("another %s: %s is %s, of which nothing can be known", row.kind, f.Control, f.Status)
			}
		}
		asked := 0
		b.stop(func(raw json.RawMessage) error {
			var r request
			if err := json.Unmarshal(raw, &r); err != nil {
				return err
			}
			if asked++; r.Method != http.MethodGet {
				t.errorf("another %s was asked to %s %s", row.kind, r.Method, r.Path)
			}
			return nil
		})
		// Kubectl's own requests are a few.
		t.figure("another "+row.kind, "%d requests", asked)
		t.same(before, "another "+row.kind)
	}
	t.clean("at the end")
}
