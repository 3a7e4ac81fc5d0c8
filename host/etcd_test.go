package host

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// etcdd answers as an etcd does on its client port.
type etcdd struct {
	*httptest.Server
	members string // of the list; %s is its own address
	status  string
	code    int // of the list
	store   func(w http.ResponseWriter, path string, body []byte) (ours bool)
}

func newEtcd(t *testing.T) (*etcdd, *Etcd) {
	d := &etcdd{
		code:    200,
		members: `{"header":{"member_id":"1"},"members":[{"ID":"1","name":"cp1","peerURLs":["https://192.0.2.11:2380"],"clientURLs":[%q]}]}`,
		status:  `{"header":{},"version":"3.7.0","dbSize":"20480","leader":"1","raftTerm":"2"}`,
	}
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case d.store != nil && d.store(w, r.URL.Path, body):
		case r.Method != http.MethodPost || len(r.TLS.PeerCertificates) == 0:
			w.WriteHeader(http.StatusForbidden)
		case r.URL.Path == "/v3/cluster/member/list" && string(body) == `{"linearizable":true}`:
			w.WriteHeader(d.code)
			fmt.Fprint(w, strings.ReplaceAll(d.members, "%q", fmt.Sprintf("%q", d.URL)))
		case r.URL.Path == "/v3/maintenance/status":
			fmt.Fprint(w, d.status)
		default:
			http.NotFound(w, r)
		}
	}))
	d.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	d.StartTLS()
	t.Cleanup(d.Close)
	pair := d.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	return d, &Etcd{
		Endpoints: []string{"https://127.0.0.1:1", d.URL}, CA: cert, Cert: cert,
		Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}
}

func TestEtcdMembers(t *testing.T) {
	list := func(members string) func(*etcdd, *Etcd) { return func(d *etcdd, _ *Etcd) { d.members = members } }
	status := func(s string) func(*etcdd, *Etcd) { return func(d *etcdd, _ *Etcd) { d.status = s } }
	for _, row := range []struct {
		name    string
		arrange func(*etcdd, *Etcd)
		want    string // members with their errors
		err     string
	}{
		{name: "one that is well", want: "cp1"},
		{name: "no leader", arrange: status(`{"errors":["etcdserver: no leader"]}`), want: "cp1: etcdserver: no leader"},
		{name: "an alarm", arrange: status(`{"leader":"1","errors":["memberID:1 alarm:NOSPACE "]}`), want: "cp1: memberID:1 alarm:NOSPACE "},
		{name: "a status that says nothing", arrange: status(`{}`), want: "cp1: it has no leader"},
		{name: "one is down", arrange: list(`{"members":[{"ID":"1","name":"cp1","clientURLs":[%q]},{"ID":"2","name":"cp2","clientURLs":["https://127.0.0.1:1"]}]}`),
			want: `cp1, cp2: "https://127.0.0.1:1": `},
		{name: "one has not started, and learns", arrange: list(`{"members":[{"ID":"1","name":"cp1","clientURLs":[%q]},{"ID":"2","isLearner":true}]}`),
			want: `cp1, learner : it has not started`},
		{name: "no quorum", arrange: func(d *etcdd, _ *Etcd) {
			d.code, d.members = 503, `{"code":14,"message":"etcdserver: request timed out"}`
		}, err: `answered 503: "etcdserver: request timed out"`},
		{name: "the JSON form is turned off", arrange: func(d *etcdd, _ *Etcd) { d.code, d.members = 404, "404 page not found\nmore" },
			err: `answered 404: "404 page not found"`},
		{name: "an empty answer", arrange: list(`{}`), err: "the answer names none"},
		{name: "an answer that is none", arrange: list(`<html>`), err: "the answer cannot be decoded"},
		{name: "hostile words", arrange: func(d *etcdd, _ *Etcd) { d.code, d.members = 500, "\x1b[2J" }, err: `answered 500: "\x1b[2J"`},
		{name: "another CA", arrange: func(_ *etcdd, e *Etcd) { e.CA = nil }, err: "certificate signed by unknown authority"},
		{name: "no certificate of ours", arrange: func(_ *etcdd, e *Etcd) { e.Cert = nil }, err: "certificate required"},
		{name: "a CA that is none", arrange: func(_ *etcdd, e *Etcd) { e.CA = []byte("x") }, err: "there is no certificate in etcd's CA"},
		{name: "a key that is none", arrange: func(_ *etcdd, e *Etcd) { e.Key = nil }, err: "do not make a pair"},
		{name: "no address", arrange: func(_ *etcdd, e *Etcd) { e.Endpoints = nil }, err: "no address is known"},
		{name: "an address that is none", arrange: func(_ *etcdd, e *Etcd) { e.Endpoints = []string{"unix:///x"} }, err: `"unix:///x" is not the address of an etcd`},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, e := newEtcd(t)
			if row.arrange != nil {
				row.arrange(d, e)
			}
			members, err := e.Members(t.Context())
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("%v, want %s", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range members {
				s := m.Name
				if m.Learner {
					s = "learner " + s
				}
				if m.Err != nil {
					s += ": " + m.Err.Error()
				}
				got = append(got, s)
			}
			if text := strings.Join(got, ", "); !strings.HasPrefix(text, row.want) || !strings.HasPrefix(row.want, text) && !strings.Contains(row.want, "127.0.0.1:1") {
				t.Errorf("%q, want %q", text, row.want)
			}
		})
	}
}
