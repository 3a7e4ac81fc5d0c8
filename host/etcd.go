package host

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Etcd is an etcd cluster as one of its clients reaches it: over the JSON form of its own API, which etcd serves on the client
// port beside gRPC unless it was told not to.
type Etcd struct {
	Endpoints []string // https://127.0.0.1:2379
	// CA, Cert and Key are PEM: who may answer, and who asks.
	CA, Cert, Key []byte
}

// EtcdMember is one member of an etcd cluster.
type EtcdMember struct {
	Name    string // empty until it has started for the first time
	Learner bool
	// Err is nil of a member that answers, has a leader and no alarm.
	Err error
}

const (
	etcdTimeout   = 5 * time.Second
	maxEtcdAnswer = 1 << 20
)

// Members lists the members and asks each one for its health. The list is read through the leader: that it comes is proof of
// a quorum.
func (e *Etcd) Members(ctx context.Context) ([]EtcdMember, error) {
	const doing = "asking etcd for its members"
	client, err := e.client()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	defer client.CloseIdleConnections()
	var list struct {
		Members []struct {
			Name       string   `json:"name"`
			ClientURLs []string `json:"clientURLs"`
			IsLearner  bool     `json:"isLearner"`
		} `json:"members"`
	}
	if err := anyOf(ctx, client, e.Endpoints, "/v3/cluster/member/list", `{"linearizable":true}`, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	if len(list.Members) == 0 {
		return nil, fmt.Errorf("%s: the answer names none", doing)
	}
	members := make([]EtcdMember, len(list.Members))
	var wg sync.WaitGroup
	for i, m := range list.Members {
		members[i] = EtcdMember{Name: m.Name, Learner: m.IsLearner}
		wg.Go(func() { members[i].Err = health(ctx, client, m.ClientURLs) })
	}
	wg.Wait()
	return members, nil
}

// health asks a member itself.
func health(ctx context.Context, client *http.Client, urls []string) error {
	if len(urls) == 0 {
		return errors.New("it has not started")
	}
	var status struct {
		Leader string   `json:"leader"`
		Errors []string `json:"errors"`
	}
	if err := anyOf(ctx, client, urls, "/v3/maintenance/status", "{}", &status); err != nil {
		return err
	}
	switch {
	case len(status.Errors) > 0:
		return errors.New(strings.Join(status.Errors, "; "))
	case status.Leader == "" || status.Leader == "0":
		return errors.New("it has no leader")
	}
	return nil
}

// anyOf asks one URL after the other until one answers.
func anyOf(ctx context.Context, client *http.Client, urls []string, path, body string, out any) error {
	if len(urls) == 0 {
		return errors.New("no address is known")
	}
	var errs []error
	for _, u := range urls {
		err := ask(ctx, client, u, path, body, out)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func ask(ctx context.Context, client *http.Client, base, path, body string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	response, at, err := post(ctx, client, base, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxEtcdAnswer))
	if err != nil {
		return fmt.Errorf("%q: %w", at, reason(ctx, err))
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%q: the answer cannot be decoded: %w", at, err)
	}
	return nil
}

// said is the message of an error of etcd's.
func said(data []byte) string {
	var answer struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(data, &answer) == nil && answer.Message != "" {
		return fmt.Sprintf("%q", answer.Message)
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return fmt.Sprintf("%q", line[:min(len(line), 200)])
}

func (e *Etcd) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if len(e.CA) > 0 && !config.RootCAs.AppendCertsFromPEM(e.CA) {
		return nil, errors.New("there is no certificate in etcd's CA")
	}
	if len(e.Cert) > 0 {
		pair, err := tls.X509KeyPair(e.Cert, e.Key)
		if err != nil {
			return nil, errors.New("the client's certificate and key for etcd do not make a pair")
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{
		// No proxy, whatever the environment says.
		Transport:     &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}
