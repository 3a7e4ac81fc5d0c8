package host

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// keeping lets an etcd keep values, of which it gives at most so many at once, and at most so many bytes.
func (d *etcdd) keeping(values map[string]string, most, bytes int) {
	d.store = func(w http.ResponseWriter, path string, body []byte) bool {
		if path != "/v3/kv/range" {
			return false
		}
		var ask struct {
			Key   []byte `json:"key"`
			End   []byte `json:"range_end"`
			Limit int    `json:"limit"`
		}
		_ = json.Unmarshal(body, &ask)
		var keys []string
		for k := range values {
			if k >= string(ask.Key) && k < string(ask.End) {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		type kv struct {
			Key   []byte `json:"key"`
			Value []byte `json:"value"`
		}
		kvs, size := []kv{}, 0
		for _, k := range keys[:min(len(keys), ask.Limit, most)] {
			kvs = append(kvs, kv{[]byte(k), []byte(values[k])})
			size += len(values[k])
		}
		if size > bytes {
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"code":8,"message":"grpc: received message larger than max"}`)
			return true
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"kvs": kvs, "more": len(kvs) < len(keys), "count": fmt.Sprint(len(keys))})
		return true
	}
}

func TestEtcdBeginnings(t *testing.T) {
	values := map[string]string{"/registry/secretsother/a": "not asked for", "/registry/configmaps/a/b": "nor this"}
	var want []string
	for i := range 40 {
		v := fmt.Sprintf("k8s:enc:secretbox:v1:key%02d:%s", i, strings.Repeat("x", 200*i))
		values[fmt.Sprintf("/registry/secrets/ns/s%02d", i)] = v
		want = append(want, v[:min(len(v), beginning)])
	}
	for name, most := range map[string]int{"whole pages": 1000, "pages cut short": 3} {
		for _, bytes := range []int{1 << 30, 9000} {
			d, e := newEtcd(t)
			d.keeping(values, most, bytes)
			var got []string
			if err := e.Beginnings(context.Background(), "/registry/secrets/", func(b string) { got = append(got, b) }); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s of %d bytes: %v: %d beginnings", name, bytes, err, len(got))
			}
		}
	}
	d, e := newEtcd(t)
	d.store = func(w http.ResponseWriter, path string, _ []byte) bool {
		fmt.Fprint(w, `{"kvs":[{"key":"a","value":"hunter2!"`)
		return path == "/v3/kv/range"
	}
	err := e.Beginnings(context.Background(), "/registry/secrets/", func(string) {})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a broken answer: %v", err)
	}
}

func TestEtcdSnapshot(t *testing.T) {
	database := []byte(strings.Repeat("the database ", 9000))
	sum := sha256.Sum256(database)
	whole := append(slices.Clone(database), sum[:]...)
	broken := slices.Clone(whole)
	broken[7]++
	for _, row := range []struct {
		name string
		sent []byte
		tail string
		err  string
	}{
		{"whole", whole, "", ""},
		{"changed on its way", broken, "", "not what its checksum says"},
		{"cut short", whole[:len(whole)-5], "", "not what its checksum says"},
		{"an error in the middle", whole[:900], `{"error":{"message":"leader changed"}}`, "cut short"},
		{"empty", nil, "", "not what its checksum says"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, e := newEtcd(t)
			d.store = func(w http.ResponseWriter, path string, _ []byte) bool {
				if path != "/v3/maintenance/snapshot" {
					return false
				}
				for chunk := range slices.Chunk(row.sent, 32<<10) {
					_ = json.NewEncoder(w).Encode(map[string]any{"result": map[string]any{"remaining_bytes": "1", "blob": chunk}})
				}
				fmt.Fprint(w, row.tail)
				return true
			}
			file := filepath.Join(t.TempDir(), "etcd.db")
			if err := os.WriteFile(file+".part", []byte("left by a killed one"), 0o644); err != nil {
				t.Fatal(err)
			}
			err := e.Snapshot(context.Background(), file)
			if row.err != "" {
				if _, there := os.Stat(file); err == nil || !strings.Contains(err.Error(), row.err) || there == nil {
					t.Errorf("%v, want %q", err, row.err)
				}
				return
			}
			got, read := os.ReadFile(file)
			info, stat := os.Stat(file)
			if err != nil || read != nil || stat != nil || string(got) != string(whole) || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v, %v: %d bytes", err, read, stat, len(got))
			}
		})
	}
	file := filepath.Join(t.TempDir(), "etcd.db")
	for _, left := range []string{"", ".part"} {
		if err := os.WriteFile(file+left, []byte("left by a killed one"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := DiscardSnapshot(file); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) > 0 {
		t.Errorf("%v, %v are left", err, left)
	}
	if d, e := newEtcd(t); d != nil {
		if n, err := e.Size(context.Background()); err != nil || n != 20480 {
			t.Errorf("size %d, %v", n, err)
		}
	}
}
