package backups

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Entry is one line of a journal.
type Entry struct {
	Seq    int             `json:"seq"` // from 1, without gaps
	Time   time.Time       `json:"time"`
	Kind   string          `json:"kind"`
	Target string          `json:"target,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
	Sum    string          `json:"-"` // over the line and the sum of the line before
}

// The kinds that the store writes itself. Tx.Log takes any other.
const (
	KindBegin    = "begin"    // Data: what the transaction is
	KindPut      = "put"      // the target is about to be changed
	KindDone     = "done"     // the target is changed, durably
	KindFailed   = "failed"   // a put failed before it touched the target
	KindRevert   = "revert"   // the target is about to be brought back
	KindReverted = "reverted" // the target is back, durably
	KindKept     = "kept"     // a directory that we made stays, for what others put there
	KindRebase   = "rebase"   // others have changed the target since. Data: what it is taken for, and brought back to
	KindResume   = "resume"   // a later process took an interrupted transaction over
	KindEnd      = "end"      // Data: {"outcome": ...}
)

// Outcomes of a transaction.
const (
	Committed  = "committed"
	RolledBack = "rolled back"
	Mixed      = "mixed" // not everything could be brought back: it can be resumed, and is never pruned
	Aborted    = "aborted"
)

type endData struct {
	Outcome string `json:"outcome"`
}

const (
	sumOpen  = `,"sum":"`
	sumClose = `"}`
	sumLen   = 32
)

// lineSum covers the previous sum, so that a line fits only where it was written: seed is the transaction's id for
// the first one.
func lineSum(prev string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(prev))
	h.Write([]byte{'\n'})
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))[:sumLen]
}

// encode returns e as a journal line and its sum.
func encode(e Entry, prev string) (line []byte, sum string, err error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, "", err
	}
	body = body[:len(body)-1] // the closing brace comes after the sum
	sum = lineSum(prev, body)
	return append(body, sumOpen+sum+sumClose+"\n"...), sum, nil
}

// split cuts a line, without its newline, into the part that is summed and the sum.
func split(line []byte) (body []byte, sum string, ok bool) {
	cut := len(line) - len(sumOpen) - sumLen - len(sumClose)
	if cut < 1 || string(line[cut:cut+len(sumOpen)]) != sumOpen || !bytes.HasSuffix(line, []byte(sumClose)) {
		return nil, "", false
	}
	return line[:cut], string(line[cut+len(sumOpen) : len(line)-len(sumClose)]), true
}

func decodeLine(line []byte, prev string) (Entry, error) {
	body, sum, ok := split(line)
	if !ok {
		return Entry{}, errors.New("not a journal line")
	}
	if lineSum(prev, body) != sum {
		return Entry{}, errors.New("checksum does not match")
	}
	var e Entry
	if err := json.Unmarshal(append(body[:len(body):len(body)], '}'), &e); err != nil {
		return Entry{}, err
	}
	e.Sum = sum
	return e, nil
}

// torn reports whether a bad last line can be what a crash leaves of a line that was never acknowledged: its end is
// missing, or blocks of it were never written. Anything else was damaged later.
func torn(line []byte, terminated bool) bool {
	return !terminated || bytes.IndexByte(line, 0) >= 0
}

// decoded is a journal as far as it can be trusted.
type decoded struct {
	entries []Entry
	ends    []int64 // ends[i] is the offset behind entries[i]
	outcome string
	ended   time.Time
}

func (d *decoded) size() int64 {
	if len(d.ends) == 0 {
		return 0
	}
	return d.ends[len(d.ends)-1]
}

// decode reads a journal. A torn last line is left out; everything else that is not as it was written is an error,
// with what was good before it.
func decode(data []byte, id, file string) (decoded, error) {
	var d decoded
	prev := id
	bad := func(cause error) (decoded, error) {
		return d, &JournalError{File: file, Line: len(d.entries) + 1, Err: cause}
	}
	for at := 0; at < len(data); {
		line, terminated := data[at:], false
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, terminated = line[:i], true
		}
		next := at + len(line)
		if terminated {
			next++
		}
		e, err := decodeLine(line, prev)
		if (err != nil || !terminated) && next == len(data) && torn(line, terminated) {
			return d, nil
		}
		if err != nil {
			return bad(err)
		}
		if e.Seq != len(d.entries)+1 {
			return bad(fmt.Errorf("number %d is out of order", e.Seq))
		}
		if (e.Kind == KindBegin) != (e.Seq == 1) {
			return bad(fmt.Errorf("%q is out of place", e.Kind))
		}
		if d.outcome != "" && d.outcome != Mixed {
			return bad(fmt.Errorf("%q follows the end", e.Kind))
		}
		d.outcome, d.ended = "", time.Time{}
		if e.Kind == KindEnd {
			if d.outcome, err = outcomeOf(e); err != nil {
				return bad(err)
			}
			d.ended = e.Time
		}
		d.entries = append(d.entries, e)
		d.ends = append(d.ends, int64(next))
		prev, at = e.Sum, next
	}
	return d, nil
}

func outcomeOf(e Entry) (string, error) {
	var end endData
	if err := json.Unmarshal(e.Data, &end); err != nil {
		return "", err
	}
	if !isOutcome(end.Outcome) {
		return "", fmt.Errorf("unknown outcome %q", end.Outcome)
	}
	return end.Outcome, nil
}

func isOutcome(s string) bool {
	return s == Committed || s == RolledBack || s == Mixed || s == Aborted
}

// lastOutcome finds the outcome of a journal that is damaged further up: the last line is good when it continues
// the one before it.
func lastOutcome(data []byte) string {
	lines := bytes.Split(data, []byte{'\n'})
	if len(lines) < 3 || len(lines[len(lines)-1]) != 0 {
		return ""
	}
	_, prev, ok := split(lines[len(lines)-3])
	if !ok {
		return ""
	}
	e, err := decodeLine(lines[len(lines)-2], prev)
	if err != nil || e.Kind != KindEnd {
		return ""
	}
	outcome, err := outcomeOf(e)
	if err != nil {
		return ""
	}
	return outcome
}
