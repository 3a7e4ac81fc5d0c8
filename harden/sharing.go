package harden

import (
	"slices"
	"strings"
)

// NeedKeys are the encryption configurations that the API servers of all control planes have read.
const NeedKeys Need = "encryption-configurations"

// KeyFact is the encryption configuration that the API server of one control plane has read.
type KeyFact struct {
	Node string `json:"node"`
	// SHA256 of the file, as the process itself tells it; "": it has read none.
	SHA256 string `json:"sha256,omitempty"`
	// Unread says why it could not be asked, or does not tell.
	Unread Message `json:"unread,omitzero"`
}

// Sharing are the other control planes of a change of the encryption configuration: what one of them writes each has to read.
type Sharing struct {
	Nodes []string `json:"nodes"`
	// Behind are those that have still read what is here before the change. While there are any, nothing is written anew.
	Behind []string `json:"behind,omitempty"`
}

// KeyFile is the digest of the encryption configuration before and after these steps, "" for none. ok is false where it stays as it is.
func KeyFile(steps []Step) (was, now string, ok bool) {
	for _, s := range steps {
		if s.ofKeys() {
			was, now = s.Before.Digest(), s.After.Digest()
			return was, now, was != now
		}
	}
	return "", "", false
}

// ofKeys says that the step's target is the encryption configuration.
func (s Step) ofKeys() bool {
	return s.Kind == StepFile && slices.ContainsFunc(s.Asks, func(a Ask) bool { return a.Intent.ofKeys() })
}

// sharingOf compares what the other control planes have read with what these steps find and leave here; each has to have read one
// of the two, so that no two are more than one change apart. One that does not tell holds back everything but an undo that
// changes nothing of what is written: etcd is looked at for that one. Nil where nothing is shared, or where the cluster was not asked.
func sharingOf(steps []Step, self string, keys []KeyFact, undo bool) (*Sharing, []Check) {
	was, now, ok := KeyFile(steps)
	if !ok {
		return nil, nil
	}
	var out Sharing
	var checks []Check
	for _, k := range keys {
		if k.Node == self {
			if k.Unread.IsZero() && k.SHA256 != was {
				checks = append(checks, Check{Component: APIServer, Blocks: !undo, Precondition: Precondition{
					ID: "own-key", Title: Msg("the API server of this node has read the encryption configuration that lies here"), State: Unmet,
					Message: Msg("it has read %s, and %s lies here: let it start again, or put back what it has read", keysWord(k.SHA256), keysWord(was)),
				}})
			}
			continue
		}
		out.Nodes = append(out.Nodes, k.Node)
		check := Check{Component: APIServer, Blocks: true, Precondition: Precondition{
			ID: "same-key", Title: Msg("the API server of %s can read what is written here", k.Node), State: Met,
		}}
		switch {
		case !k.Unread.IsZero():
			check.State, check.Message = Unmet, Msg("which encryption configuration it has read is not known: %s; should it never come back: kubectl delete node %s", k.Unread.String(), k.Node)
			if undo && keyChangeOf(steps).now == nil {
				check.State, check.Blocks = PreconditionUnknown, false
			}
		case k.SHA256 == now:
		case k.SHA256 == was:
			out.Behind = append(out.Behind, k.Node)
		default:
			check.State, check.Message = Unmet, otherKeys(k, was, now)
		}
		checks = append(checks, check)
	}
	if out.Nodes == nil {
		return nil, nil
	}
	return &out, checks
}

func otherKeys(k KeyFact, was, now string) Message {
	return Msg("it has read %s, and here it is %s and would be %s: bring every control plane to the same first, one run after the other",
		keysWord(k.SHA256), keysWord(was), keysWord(now))
}

// keysWord names an encryption configuration by the beginning of its digest.
func keysWord(sum string) string {
	if sum == "" {
		return "no encryption configuration"
	}
	return "the one of sha256 " + sum[:min(12, len(sum))]
}

// whole says that nobody has to follow, so that everything can be written anew.
func (s *Sharing) whole() bool { return s == nil || len(s.Behind) == 0 }

// Words say who has to follow; zero for nobody.
func (s *Sharing) Words() Message {
	if s.whole() {
		return Message{}
	}
	return Msg("%s have to follow, each by a run of its own; until then nothing is written anew", strings.Join(s.Behind, ", "))
}
