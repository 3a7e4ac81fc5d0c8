package apiserver

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	encryptionFlag = harden.EncryptionFlag
	encryptionID   = "apiserver-encryption-at-rest"
)

var encryption = harden.Control{
	ID:    encryptionID,
	Title: "Secrets are encrypted in etcd",
	Why: harden.Msg("Without encryption every Secret lies in etcd in plain text, and so it does in each snapshot and on each disk that is thrown away. " +
		"What writes is the first provider of the configuration: identity there means plain text, whatever comes behind it. " +
		"Several control planes share one key: each has to read it before any of them writes with it, and each has to write with it before everything is written anew. " +
		"Before Kubernetes 1.34 several do that by hand, as no API server tells what it has read: make the same configuration with identity first on each of them, then the key first, then write every Secret anew; keep a copy of the key elsewhere before."),
	Refs: harden.Refs{
		CIS: []string{"1.2.27", "1.2.28"}, STIG: []string{"V-274882"}, NSA: []string{"Secrets"},
		Docs: []string{"https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/"},
	},
	Severity: harden.High, Component: harden.APIServer, Flags: []string{encryptionFlag},
	Needs: needs, Applies: applies, Assess: assessEncryption,
	Remedies: []harden.Remedy{encrypt, rotateKey},
}

func assessEncryption(f *harden.Facts) harden.Verdict {
	flag := f.Component(harden.APIServer).Flag(encryptionFlag)
	seen := flag.Evidence(encryptionFlag)
	fact := f.Encryption
	switch {
	case flag.Last() == "":
		return harden.Failed(harden.Msg("nothing is encrypted: --%s is not set", encryptionFlag), seen)
	case fact == nil || !fact.Unread.IsZero():
		why := harden.Msg("the configuration was not read")
		if fact != nil {
			why = fact.Unread
		}
		return harden.NeedsPerson(harden.Msg("which providers are used is not known: %s", why), seen)
	}
	for _, r := range fact.Rules {
		if !slices.ContainsFunc(r.Resources, func(name string) bool { return name == "secrets" || name == "*." || name == "*.*" }) {
			continue
		}
		if fact.Secrets != nil {
			return judgeStored(fact.Secrets, assessRule(f, r, seen), r)
		}
		return assessRule(f, r, seen)
	}
	return harden.Failed(harden.Msg("no rule of %s is about Secrets", fact.Path), seen)
}

// assessRule goes by what writes.
func assessRule(f *harden.Facts, r harden.EncryptionRule, seen harden.Evidence) harden.Verdict {
	order := harden.Evidence{Source: f.Encryption.Path, Value: strings.Join(r.Resources, ", ") + ": " + strings.Join(r.Providers, ", ")}
	switch first := append(r.Providers, "")[0]; first {
	case "secretbox", "kms", "aescbc":
		if others := writingOtherwise(f); others != "" {
			return harden.Failed(harden.Msg("new Secrets are written by %s here, and %s with another encryption configuration", first, others), seen, order)
		}
		return harden.Passed(harden.Msg("new Secrets are written by %s; whether old ones were written anew cannot be seen here", first), seen, order)
	case "aesgcm":
		return harden.NeedsPerson(harden.Msg("Secrets are written by aesgcm, whose keys must be changed often; decide whether they are"), seen, order)
	case "identity":
		return harden.Failed(harden.Msg("Secrets are written in plain text: identity is the first provider"), seen, order)
	}
	return harden.Failed(harden.Msg("no provider writes Secrets"), seen, order)
}

// judgeStored adds what lies in etcd, where something writes encrypted: what was written before stays as it was.
func judgeStored(s *harden.StoredFact, v harden.Verdict, r harden.EncryptionRule) harden.Verdict {
	v.Evidence = append(slices.Clip(v.Evidence), s.Evidence("Secrets"))
	if v.Status == harden.StatusFail || !s.Unread.IsZero() {
		return v
	}
	first := r.Providers[0]
	switch {
	case s.Plain > 0 && s.More:
		return harden.Failed(harden.Msg("new Secrets are written by %s, and %d of the first %d in etcd are in plain text still: write all of them anew", first, s.Plain, s.Looked), v.Evidence...).ByHand(rewriteAll)
	case s.Plain > 0:
		return harden.Failed(harden.Msg("new Secrets are written by %s, and %d of %d in etcd are in plain text still: write all of them anew", first, s.Plain, s.Looked), v.Evidence...).ByHand(rewriteAll)
	case v.Status != harden.StatusPass:
	case s.Looked == 0:
		v.Message = harden.Msg("new Secrets are written by %s, and etcd has none so far", first)
	case s.More:
		v.Message = harden.Msg("new Secrets are written by %s, and the first %d in etcd are encrypted; the rest was not looked at", first, s.Looked)
	default:
		v.Message = harden.Msg("new Secrets are written by %s, and all %d in etcd are encrypted", first, s.Looked)
	}
	return v
}

// rewriteAll is what the documentation of encryption at rest says; a Secret that changes meanwhile is refused, not overwritten.
const rewriteAll = "kubectl get secrets --all-namespaces -o json | kubectl replace -f -"
