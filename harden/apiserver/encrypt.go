package apiserver

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// phase is how far the encryption of what is stored has come, by the configuration that the API server reads. A remedy takes one
// step of the way in each run: between two of them the operator copies the key.
type phase int

const (
	phaseOff      phase = iota // no configuration
	phaseReady                 // a key can be read with, and plain text is written
	phaseOn                    // the only key is written with
	phaseNewKey                // a newer key can be read with, and the older one is written with
	phaseOldKey                // the newer key is written with, and the older one is still there
	phaseNotKnown              // somebody else's
)

func phaseOf(f *harden.Facts) phase {
	c := f.Component(harden.APIServer)
	if !c.Flag(encryptionFlag).Set && !c.FileFlag(encryptionFlag).Set {
		return phaseOff
	}
	if f.Encryption == nil || f.Encryption.Ours == nil {
		return phaseNotKnown
	}
	switch c := f.Encryption.Ours; {
	case len(c.Keys) == 1 && c.Plain:
		return phaseReady
	case len(c.Keys) == 1:
		return phaseOn
	case len(c.Keys) != 2 || c.Plain:
		return phaseNotKnown
	case keyNumber(c.Keys[0].Name) < keyNumber(c.Keys[1].Name):
		return phaseNewKey
	}
	return phaseOldKey
}

// Keys are named by number, so that which is the newer one shows.
func keyName(n int) string { return "key" + strconv.Itoa(n) }

func keyNumber(name string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(name, "key"))
	return n
}

var errForeignConfig = errors.New("the encryption configuration is not as this program writes it: edit it by hand, as https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/ says")

var encrypt = harden.Remedy{
	ID:     "secretbox",
	Title:  harden.Msg("Encrypt Secrets in etcd with a new key, in two runs"),
	Impact: harden.Msg("The first run makes a key that only reads, and restarts the API server of this node once. The second one, when you have kept a copy of the key elsewhere, restarts it again, saves a snapshot of etcd, writes every Secret anew and looks in etcd that none is left in plain text."),
	Breaks: []harden.Message{
		harden.Msg("Whoever loses the file with the key loses every Secret, and a backup of etcd is worth nothing without it."),
		harden.Msg("It cannot be undone by bringing a manifest back: an undo writes every Secret in plain text again before the key goes. Restoring /etc/kubernetes from a backup that is older makes Secrets unreadable."),
		harden.Msg("Snapshots of etcd from before, and the one that the second run makes, hold Secrets in plain text: decide what becomes of them. history --prune removes its own."),
		harden.Msg("Another control-plane node needs the same file before it joins: kubeadm does not copy it."),
	},
	Risk: harden.RiskOneWay,
	Options: []harden.Option{
		{Name: "provider", Title: harden.Msg("What encrypts; aescbc does not notice what was tampered with"), Kind: harden.OptionOneOf, Default: "secretbox", Choices: harden.EncryptionProviders},
		{Name: "resources", Title: harden.Msg("What is encrypted: secrets, or secrets,configmaps"), Kind: harden.OptionList, Default: "secrets", Check: checkEncryptable},
	},
	Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
		return encryptionPreconditions(f, phaseOff)
	},
	Intents: func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
		switch phaseOf(f) {
		case phaseOff:
			file := []harden.Intent{harden.NewEncryptionKey(harden.EncryptionFile, v["provider"], keyName(1), strings.Split(v["resources"], ","))}
			if incoming(f) != nil {
				file = adopt(f, harden.EncryptionFile)
			}
			return append(file,
				harden.MakeDir(harden.EncryptionDir, 0o700),
				harden.MountPath(harden.APIServer, patches.Mount{
					Name: "encryption", HostPath: harden.EncryptionDir, MountPath: harden.EncryptionDir, ReadOnly: true, Type: "Directory",
				}),
				harden.SetFlag(harden.APIServer, encryptionFlag, harden.EncryptionFile),
			), nil
		case phaseReady:
			return []harden.Intent{harden.WriteWithKey(f.Encryption.Path, f.Encryption.Ours.Keys[0].Name)}, nil
		case phaseNotKnown:
			return nil, errForeignConfig
		}
		if others := writingOtherwise(f); others != "" {
			return nil, fmt.Errorf("this node writes with its key already: run it on %s", others)
		}
		return nil, errors.New("they are written with a key already; for another key, and to write everything anew once more, take the remedy rotate-key")
	},
	Next: func(f *harden.Facts, _ harden.Values) harden.Message {
		switch p := phaseOf(f); {
		case p == phaseOff && len(otherControlPlanes(f)) > 0:
			return harden.Msg("nothing is encrypted by the first run: copy %s off this node, where it is safe, and for each other control plane to %s there, and run it there; when all of them have read it, run it again on each, with --accept %s",
				harden.EncryptionFile, harden.EncryptionIncoming, encryptionID)
		case p == phaseOff:
			return harden.Msg("nothing is encrypted by the first run: copy %s off this node, where it is safe, then run it again, with --accept %s",
				harden.EncryptionFile, encryptionID)
		case p == phaseReady:
			return followers(f)
		}
		return harden.Message{}
	},
}

var rotateKey = harden.Remedy{
	ID:     "rotate-key",
	Title:  harden.Msg("Encrypt with a new key, in three runs"),
	Impact: harden.Msg("The first run adds a key that only reads. The second one, when you have kept a copy of it elsewhere, writes every Secret anew with it and looks in etcd that none needs the old one. The third one takes the old key away. Each restarts the API server of this node once."),
	Breaks: []harden.Message{
		harden.Msg("Backups of etcd from before need the old key: keep its copy as long as them."),
	},
	Risk: harden.RiskOneWay,
	Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
		return encryptionPreconditions(f, phaseOn)
	},
	Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
		at := f.Encryption
		switch phaseOf(f) {
		case phaseOn:
			c := at.Ours
			if incoming(f) != nil {
				return adopt(f, at.Path), nil
			}
			return []harden.Intent{harden.NewEncryptionKey(at.Path, c.Provider, keyName(keyNumber(c.Keys[0].Name)+1), c.Resources)}, nil
		case phaseNewKey:
			return []harden.Intent{harden.WriteWithKey(at.Path, at.Ours.Keys[1].Name)}, nil
		case phaseOldKey:
			return []harden.Intent{harden.DropEncryptionKey(at.Path, at.Ours.Keys[1].Name)}, nil
		case phaseNotKnown:
			return nil, errForeignConfig
		}
		return nil, errors.New("there is no key that is written with yet: take the remedy secretbox first")
	},
	Next: func(f *harden.Facts, _ harden.Values) harden.Message {
		switch p := phaseOf(f); {
		case p == phaseOn && len(otherControlPlanes(f)) > 0:
			return harden.Msg("nothing is written with the new key yet: copy %s off this node, where it is safe, and for each other control plane to %s there, and run it there; when all of them have read it, run it again on each, with --accept %s",
				f.Encryption.Path, harden.EncryptionIncoming, encryptionID)
		case p == phaseOn:
			return harden.Msg("nothing is written with the new key yet: copy %s off this node, where it is safe, then run it again, with --accept %s",
				f.Encryption.Path, encryptionID)
		case p == phaseNewKey && !followers(f).IsZero():
			return followers(f)
		case p == phaseNewKey:
			return harden.Msg("the old key is still there: run it a third time to take that away")
		}
		return harden.Message{}
	},
}

// checkEncryptable takes what is known to lie in etcd under its own name.
func checkEncryptable(list string) error {
	names := strings.Split(list, ",")
	if !slices.Contains(names, "secrets") {
		return errors.New("secrets have to be among them")
	}
	for i, name := range names {
		if name != "secrets" && name != "configmaps" || slices.Contains(names[:i], name) {
			return fmt.Errorf("%q is neither secrets nor configmaps, or there twice", name)
		}
	}
	return nil
}

// encryptionPreconditions are of a remedy that begins in a phase.
func encryptionPreconditions(f *harden.Facts, begins phase) []harden.Precondition {
	out := []harden.Precondition{servesHere(f), sharedKey(f, begins), oneEtcd(f)}
	switch p := phaseOf(f); p {
	case phaseOff:
		out = append(out, noneLeft(f))
	case phaseReady, phaseNewKey:
		keys := f.Encryption.Ours.Keys
		out = append(out, keptByKubeadm(f), keyIsStored(f, keys[len(keys)-1].Name))
	}
	return out
}

func servesHere(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "api-serves", Title: harden.Msg("the API server runs, so that Secrets can be written anew"), State: harden.Met}
	if f.Identity.Offline {
		p.State, p.Message = harden.Unmet, harden.Msg("no kubelet runs from this root")
	}
	return p
}

func oneEtcd(f *harden.Facts) harden.Precondition {
	const flag = "etcd-servers-overrides"
	p := harden.Precondition{ID: "one-etcd", Title: harden.Msg("everything is stored in the one etcd"), State: harden.Met}
	if fact := f.Component(harden.APIServer).Flag(flag); fact.Set {
		p.State, p.Message, p.Evidence = harden.Unmet, harden.Msg("--%s is set, and in another etcd is not looked", flag), []harden.Evidence{fact.Evidence(flag)}
	}
	return p
}

func noneLeft(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "no-old-key", Title: harden.Msg("no other encryption configuration lies there"), State: harden.Met}
	if f.UnusedEncryption != "" {
		p.State = harden.Unmet
		p.Message = harden.Msg("%s is there, and no API server reads it: if anything was ever encrypted with its key, it is needed; keep a copy, then move it away", f.UnusedEncryption)
	}
	return p
}

// keptByKubeadm: after an upgrade an API server without the flag could read no Secret.
func keptByKubeadm(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "kept-by-kubeadm", Title: harden.Msg("the next kubeadm upgrade keeps the flag"), State: harden.PreconditionUnknown}
	if f.Cluster == nil || f.Cluster.Kubeadm == nil {
		p.Message = harden.Msg("kubeadm's own configuration was not read")
		return p
	}
	kept, _ := f.Cluster.Kubeadm.Flag(harden.APIServer, encryptionFlag)
	live := f.Component(harden.APIServer).FileFlag(encryptionFlag)
	mounted := slices.ContainsFunc(f.Cluster.Kubeadm.ExtraVolumes[harden.APIServer], func(v harden.KubeadmVolume) bool {
		return strings.HasPrefix(f.Encryption.Path, strings.TrimSuffix(v.HostPath, "/")+"/")
	})
	if kept.Last() == live.Last() && mounted {
		p.State = harden.Met
		return p
	}
	p.State = harden.Unmet
	if without := harden.MembersWithout(f, []harden.Intent{harden.SetFlag(harden.APIServer, encryptionFlag, live.Last())}); len(without) > 0 {
		p.Message = harden.Msg("%s have not read the key yet: take it over there first; the last one keeps the flag in kubeadm's configuration", strings.Join(without, ", "))
		return p
	}
	p.Message = harden.Msg("kubeadm would write a manifest without it, and that API server could read no Secret; keep it first, with --control upgrade-static-pods")
	return p
}

// keyIsStored is never known here: the operator says so by accepting it.
func keyIsStored(f *harden.Facts, key string) harden.Precondition {
	return harden.Precondition{
		ID: "key-is-stored", Title: harden.Msg("a copy of the key is kept off this node"), State: harden.PreconditionUnknown,
		Message: harden.Msg("copy %s (key %s, sha256 of the file %s) to where it is safe: without it no Secret can be read, from no backup either", f.Encryption.Path, key, f.Encryption.SHA256),
	}
}
