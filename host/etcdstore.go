package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// rangePage is how many values are asked for at once; each may be as large as etcd takes, 1.5 MiB.
	rangePage      = 16
	maxRangeAnswer = 64 << 20
	rangeTimeout   = 30 * time.Second
	// beginning is how much of a value is told.
	beginning = 96
)

// Size is how many bytes the database of the member that answers has.
func (e *Etcd) Size(ctx context.Context) (uint64, error) {
	const doing = "asking etcd for its size"
	client, err := e.client()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	defer client.CloseIdleConnections()
	var status struct {
		Size string `json:"dbSize"` // int64 is a string in protobuf's JSON
	}
	if err := anyOf(ctx, client, e.Endpoints, "/v3/maintenance/status", "{}", &status); err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	n, err := strconv.ParseUint(status.Size, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: the answer names none", doing)
	}
	return n, nil
}

// Beginnings gives the first bytes of every value whose key begins so. Values are secret: nothing else of them is kept.
func (e *Etcd) Beginnings(ctx context.Context, prefix string, see func(begins string)) error {
	const doing = "reading from etcd"
	client, err := e.client()
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer client.CloseIdleConnections()
	if prefix == "" {
		return fmt.Errorf("%s: which keys is not said", doing)
	}
	last := []byte(prefix)
	last[len(last)-1]++
	limit := rangePage
	for from := []byte(prefix); ; {
		body, err := json.Marshal(map[string]any{"key": from, "range_end": last, "limit": limit})
		if err != nil {
			return err
		}
		var page struct {
			More bool `json:"more"`
			KVs  []struct {
				Key   []byte `json:"key"`
				Value string `json:"value"` // base64, of which the beginning is decoded
			} `json:"kvs"`
		}
		if err := anyRange(ctx, client, e.Endpoints, string(body), &page); err != nil {
			if limit > 1 && ctx.Err() == nil {
				limit = 1 // a page may be too large for who passes it on; a single value is not
				continue
			}
			return fmt.Errorf("%s: %w", doing, err)
		}
		for _, kv := range page.KVs {
			head := kv.Value[:min(len(kv.Value), beginning/3*4)]
			text, err := base64.StdEncoding.DecodeString(head)
			if err != nil {
				return fmt.Errorf("%s: a value is not base64", doing)
			}
			see(string(text))
		}
		if !page.More || len(page.KVs) == 0 {
			return nil
		}
		from = append(page.KVs[len(page.KVs)-1].Key, 0)
	}
}

// anyRange asks one address after the other. No error quotes an answer, which is secret here.
func anyRange(ctx context.Context, client *http.Client, urls []string, body string, out any) error {
	var errs []error
	for _, u := range urls {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, rangeTimeout)
			defer cancel()
			response, at, err := post(ctx, client, u, "/v3/kv/range", body)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if json.NewDecoder(io.LimitReader(response.Body, maxRangeAnswer)).Decode(out) != nil {
				return fmt.Errorf("%q: the answer cannot be decoded", at)
			}
			return nil
		}()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return errors.New("no address is known")
	}
	return errors.Join(errs...)
}

// post sends a question; the answer is one of success.
func post(ctx context.Context, client *http.Client, base, path, body string) (*http.Response, string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, "", fmt.Errorf("%q is not the address of an etcd", base)
	}
	at := u.Scheme + "://" + u.Host
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at+path, strings.NewReader(body))
	if err != nil {
		return nil, at, fmt.Errorf("%q: %w", at, err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, at, fmt.Errorf("%q: %w", at, reason(ctx, err))
	}
	if response.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
		response.Body.Close()
		return nil, at, fmt.Errorf("%q: answered %d: %s", at, response.StatusCode, said(data))
	}
	return response, at, nil
}

// Snapshot saves the database of the first member that gives it, as etcdctl does, in a file that only its owner can read. The
// file appears when it is complete and durable. What an earlier try has left is replaced.
func (e *Etcd) Snapshot(ctx context.Context, file string) error {
	client, err := e.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	part := partOf(file)
	if err := remove(part); err != nil {
		return err
	}
	errs := []error{errors.New("no member gives it")}
	for _, u := range e.Endpoints {
		if err = snapshot(ctx, client, u, part); err == nil {
			if err = os.Rename(part, file); err == nil {
				return syncDir(filepath.Dir(file))
			}
		}
		_ = os.Remove(part)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// DiscardSnapshot removes a snapshot, and what a process that died in the middle has left of one.
func DiscardSnapshot(file string) error { return errors.Join(remove(partOf(file)), remove(file)) }

func partOf(file string) string { return file + ".part" }

func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func snapshot(ctx context.Context, client *http.Client, base, part string) (err error) {
	response, at, err := post(ctx, client, base, "/v3/maintenance/snapshot", "{}")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := &tailSum{hash: sha256.New()}
	answers := json.NewDecoder(response.Body)
	for {
		var answer struct {
			Result struct {
				Blob []byte `json:"blob"`
			} `json:"result"`
			Error *struct{} `json:"error"`
		}
		err := answers.Decode(&answer)
		if err == io.EOF {
			break
		}
		if err != nil || answer.Error != nil {
			return fmt.Errorf("%q: the snapshot is cut short", at)
		}
		if _, err := io.MultiWriter(f, sum).Write(answer.Result.Blob); err != nil {
			return err
		}
	}
	if !sum.right() {
		return fmt.Errorf("%q: the snapshot is not what its checksum says", at)
	}
	return f.Sync()
}

// tailSum checks a stream that ends with the sha256 of what comes before, as etcd's snapshots do.
type tailSum struct {
	hash hash.Hash
	tail []byte
}

func (t *tailSum) Write(p []byte) (int, error) {
	t.tail = append(t.tail, p...)
	if more := len(t.tail) - sha256.Size; more > 0 {
		t.hash.Write(t.tail[:more])
		t.tail = append([]byte{}, t.tail[more:]...)
	}
	return len(p), nil
}

func (t *tailSum) right() bool {
	return len(t.tail) == sha256.Size && bytes.Equal(t.hash.Sum(nil), t.tail)
}
