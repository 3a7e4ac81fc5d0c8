package harden

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"
)

// Where remedies put the API server's encryption configuration. Its directory is mounted, so that it can be replaced in one step.
const (
	EncryptionDir  = "/etc/kubernetes/enc"
	EncryptionFile = EncryptionDir + "/enc.yaml"
	// EncryptionIncoming is where the operator puts another control plane's file, to be taken over.
	EncryptionIncoming = EncryptionDir + "/incoming.yaml"
)

// EncryptionFlag gives the API server its encryption configuration.
const EncryptionFlag = "encryption-provider-config"

// EncryptionKeySize is the bytes of a key.
const EncryptionKeySize = 32

// EncryptionConfig is an encryption configuration of the one shape that this program writes: some resources, one provider with
// keys, and identity before or behind it, so that what is there in plain text can be read. It has no exported field for a key's
// bytes: they are in the file only.
type EncryptionConfig struct {
	Resources []string        `json:"resources"`
	Provider  string          `json:"provider"` // secretbox or aescbc
	Keys      []EncryptionKey `json:"keys"`
	// Plain: identity comes first, so that what is written is written in plain text, and what is encrypted can be read.
	Plain bool `json:"plain"`
}

// EncryptionKey is a key and its name, which is in front of everything that it has encrypted.
type EncryptionKey struct {
	Name   string `json:"name"`
	secret string // base64
}

// WithoutSecrets is the configuration for facts: its keys have names only.
func (c EncryptionConfig) WithoutSecrets() EncryptionConfig {
	c.Keys = slices.Clone(c.Keys)
	for i := range c.Keys {
		c.Keys[i].secret = ""
	}
	return c
}

// EncryptionProviders are the ones that remedies can set up.
var EncryptionProviders = []string{"secretbox", "aescbc"}

// ParseEncryption reads a configuration that this program has written; false for any other one, which is somebody else's to edit.
func ParseEncryption(data []byte) (EncryptionConfig, bool) {
	var in apiserverv1.EncryptionConfiguration
	if yaml.UnmarshalStrict(data, &in) != nil || len(in.Resources) != 1 || len(in.Resources[0].Providers) != 2 {
		return EncryptionConfig{}, false
	}
	rule := in.Resources[0]
	c := EncryptionConfig{Resources: rule.Resources, Plain: rule.Providers[0].Identity != nil}
	for _, p := range rule.Providers {
		var keys []apiserverv1.Key
		switch {
		case p.Secretbox != nil:
			c.Provider, keys = "secretbox", p.Secretbox.Keys
		case p.AESCBC != nil:
			c.Provider, keys = "aescbc", p.AESCBC.Keys
		}
		for _, k := range keys {
			c.Keys = append(c.Keys, EncryptionKey{k.Name, k.Secret})
		}
	}
	return c, len(c.Keys) > 0 && string(c.render()) == string(data)
}

func (c EncryptionConfig) render() []byte {
	var b strings.Builder
	b.WriteString("# Whoever has this file can read what it protects, and without it nobody can. kubectl-harden edits it only as it is.\n" +
		"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources:\n")
	for _, r := range c.Resources {
		fmt.Fprintf(&b, "  - %s\n", r)
	}
	b.WriteString("  providers:\n")
	if c.Plain {
		b.WriteString("  - identity: {}\n")
	}
	fmt.Fprintf(&b, "  - %s:\n      keys:\n", c.Provider)
	for _, k := range c.Keys {
		fmt.Fprintf(&b, "      - name: %s\n        secret: %s\n", k.Name, k.secret)
	}
	if !c.Plain {
		b.WriteString("  - identity: {}\n")
	}
	return []byte(b.String())
}

// Writes is how every value begins that an API server with this configuration writes; "" for plain text.
func (c EncryptionConfig) Writes() string {
	if c.Plain {
		return ""
	}
	return c.begins(c.Keys[0])
}

// Encrypted is how everything begins that any provider has encrypted.
const Encrypted = "k8s:enc:"

func (c EncryptionConfig) begins(k EncryptionKey) string {
	return Encrypted + c.Provider + ":v1:" + k.Name + ":"
}

func (c EncryptionConfig) has(name string) bool {
	return slices.ContainsFunc(c.Keys, func(k EncryptionKey) bool { return k.Name == name })
}

// NewEncryptionKey asks for a key behind those that are there, so that it can be read with and nothing is written with it; where
// there is no configuration yet, for one that writes plain text. The key itself is made when the plan is.
func NewEncryptionKey(path, provider, name string, resources []string) Intent {
	return Intent{Kind: IntentNewKey, Path: path, Key: provider, Variable: name, Add: resources, Restarts: APIServer}
}

// WriteWithKey asks that a key which is there is the one that is written with, and that plain text can still be read.
func WriteWithKey(path, name string) Intent {
	return Intent{Kind: IntentFirstKey, Path: path, Variable: name, Restarts: APIServer}
}

// DropEncryptionKey asks that a key is not there any more.
func DropEncryptionKey(path, name string) Intent {
	return Intent{Kind: IntentDropKey, Path: path, Variable: name, Restarts: APIServer}
}

// AdoptKeys asks for the configuration that lies at another path and has this digest: another control plane's, with a key that is not
// here yet.
func AdoptKeys(path, from, sha256 string) Intent {
	return Intent{Kind: IntentAdoptKeys, Path: path, Key: from, Value: sha256, Restarts: APIServer}
}

// ofKeys says that the intent's target is the encryption configuration.
func (i Intent) ofKeys() bool {
	switch i.Kind {
	case IntentNewKey, IntentFirstKey, IntentDropKey, IntentAdoptKeys:
		return true
	}
	return false
}

// secret says that the intent's target holds what must never be shown.
func (i Intent) secret() bool {
	switch {
	case i.ofKeys():
		return true
	case i.Kind == IntentRenew:
		return path.Ext(i.Path) != certificateFile
	case i.Kind == IntentRemoveFile:
		return i.Path == EncryptionIncoming
	}
	return false
}

func secretAsks(asks []Ask) bool {
	return slices.ContainsFunc(asks, func(a Ask) bool { return a.Intent.secret() })
}

var errForeignEncryption = errors.New("it is not as this program writes it, so it is left alone; edit it by hand")

// renderEncryption never quotes what it reads.
func (i Intent) renderEncryption(s State) (State, error) {
	if i.Kind == IntentNewKey && len(i.Data) != EncryptionKeySize {
		return s, errors.New("no key was made for it")
	}
	if !s.Exists {
		if i.Kind != IntentNewKey {
			return s, fmt.Errorf("%s: it does not exist", i.Path)
		}
		c := EncryptionConfig{Resources: i.Add, Provider: i.Key, Plain: true, Keys: []EncryptionKey{i.newKey()}}
		return State{Exists: true, Data: c.render(), Mode: 0o600}, nil
	}
	c, ours := ParseEncryption(s.Data)
	if !ours || s.Dir {
		return s, fmt.Errorf("%s: %w", i.Path, errForeignEncryption)
	}
	if i.Kind == IntentNewKey && c.has(i.Variable) {
		return s, fmt.Errorf("%s: it has a key %s already", i.Path, i.Variable)
	}
	if i.Kind != IntentNewKey && !c.has(i.Variable) {
		return s, fmt.Errorf("%s: it has no key %s", i.Path, i.Variable)
	}
	others := slices.DeleteFunc(slices.Clone(c.Keys), func(k EncryptionKey) bool { return k.Name == i.Variable })
	switch i.Kind {
	case IntentNewKey:
		c.Keys = append(c.Keys, i.newKey())
	case IntentFirstKey:
		at := slices.IndexFunc(c.Keys, func(k EncryptionKey) bool { return k.Name == i.Variable })
		c.Keys, c.Plain = append([]EncryptionKey{c.Keys[at]}, others...), false
	case IntentDropKey:
		if len(others) == 0 || !c.Plain && c.Keys[0].Name == i.Variable {
			return s, fmt.Errorf("%s: key %s is written with", i.Path, i.Variable)
		}
		c.Keys = others
	}
	s.Data = c.render()
	return s, nil
}

func (i Intent) newKey() EncryptionKey {
	return EncryptionKey{i.Variable, base64.StdEncoding.EncodeToString(i.Data)}
}

var errNotAdopted = errors.New("the file to take over has not what is here and one key more behind it")

// renderAdopted takes over a configuration that reads all that the one which is there reads, and writes as that does.
func (i Intent) renderAdopted(s State) (State, error) {
	sum, _ := i.Value.(string)
	adopted, ours := ParseEncryption(i.Data)
	switch {
	case !ours || s.Dir:
		return s, fmt.Errorf("%s: %w", i.Key, errForeignEncryption)
	case (State{Exists: true, Data: i.Data}).Digest() != sum:
		return s, fmt.Errorf("%s: it is not the file of that digest", i.Key)
	case !s.Exists:
		return State{Exists: true, Data: i.Data, Mode: 0o600}, nil
	}
	now, ours := ParseEncryption(s.Data)
	if !ours {
		return s, fmt.Errorf("%s: %w", i.Path, errForeignEncryption)
	}
	if n := len(now.Keys); len(adopted.Keys) != n+1 || !slices.Equal(adopted.Keys[:n], now.Keys) ||
		adopted.Plain != now.Plain || adopted.Provider != now.Provider || !slices.Equal(adopted.Resources, now.Resources) {
		return s, fmt.Errorf("%s: %w", i.Key, errNotAdopted)
	}
	s.Data = i.Data
	return s, nil
}
