//go:build linux

package lab

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"time"
)

// image is a container image of one layer.
type image struct {
	name       string // with its tag
	entrypoint []string
	files      []imageFile
}

// imageFile is a file of an image, a copy of a source or a link to another path.
type imageFile struct {
	path, source, link string
}

// descriptor and the other types below are those of the OCI image layout, as far as they are needed.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

type imageConfig struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		Env        []string
		Entrypoint []string
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// writeImages writes images as one OCI layout in a tar archive, the form that containerd imports.
func writeImages(w io.Writer, images []image) error {
	tw := tar.NewWriter(w)
	written := map[string]bool{}
	blob := func(mediaType string, data []byte) (descriptor, error) {
		sum := sha256.Sum256(data)
		name := hex.EncodeToString(sum[:])
		d := descriptor{MediaType: mediaType, Digest: "sha256:" + name, Size: int64(len(data))}
		if written[name] {
			return d, nil
		}
		written[name] = true
		return d, writeTarFile(tw, "blobs/sha256/"+name, 0o644, data)
	}
	blobJSON := func(mediaType string, v any) (descriptor, error) {
		data, err := json.Marshal(v)
		if err != nil {
			return descriptor{}, err
		}
		return blob(mediaType, data)
	}

	all := index{SchemaVersion: 2, MediaType: "application/vnd.oci.image.index.v1+json"}
	for _, img := range images {
		data, err := img.layer()
		if err != nil {
			return fmt.Errorf("making image %s: %w", img.name, err)
		}
		layer, err := blob("application/vnd.oci.image.layer.v1.tar", data)
		if err != nil {
			return err
		}
		config := imageConfig{Architecture: runtime.GOARCH, OS: "linux"}
		config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		config.Config.Entrypoint = img.entrypoint
		config.RootFS.Type = "layers"
		config.RootFS.DiffIDs = []string{layer.Digest} // the layer is not compressed
		c, err := blobJSON("application/vnd.oci.image.config.v1+json", config)
		if err != nil {
			return err
		}
		const manifestType = "application/vnd.oci.image.manifest.v1+json"
		m, err := blobJSON(manifestType, manifest{SchemaVersion: 2, MediaType: manifestType, Config: c, Layers: []descriptor{layer}})
		if err != nil {
			return err
		}
		m.Annotations = map[string]string{"io.containerd.image.name": img.name}
		all.Manifests = append(all.Manifests, m)
	}
	data, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := writeTarFile(tw, "index.json", 0o644, data); err != nil {
		return err
	}
	if err := writeTarFile(tw, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	return tw.Close()
}

func (img image) layer() ([]byte, error) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	made := map[string]bool{"/": true}
	var mkdir func(dir string, mode int64) error
	mkdir = func(dir string, mode int64) error {
		if made[dir] {
			return nil
		}
		if err := mkdir(path.Dir(dir), 0o755); err != nil {
			return err
		}
		made[dir] = true
		return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: mode, ModTime: time.Unix(0, 0)})
	}
	if err := mkdir("/tmp", 0o1777); err != nil {
		return nil, err
	}
	if err := mkdir("/etc", 0o755); err != nil {
		return nil, err
	}
	if err := writeTarFile(tw, "etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/sbin/nologin\n")); err != nil {
		return nil, err
	}
	for _, f := range img.files {
		if err := mkdir(path.Dir(f.path), 0o755); err != nil {
			return nil, err
		}
		if f.link != "" {
			h := &tar.Header{Typeflag: tar.TypeSymlink, Name: f.path[1:], Linkname: f.link, ModTime: time.Unix(0, 0)}
			if err := tw.WriteHeader(h); err != nil {
				return nil, err
			}
			continue
		}
		data, err := os.ReadFile(f.source)
		if err != nil {
			return nil, err
		}
		if err := writeTarFile(tw, f.path[1:], 0o755, data); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), tw.Close()
}

func writeTarFile(tw *tar.Writer, name string, mode int64, data []byte) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data)), ModTime: time.Unix(0, 0)}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := tw.Write(data)
	return err
}
