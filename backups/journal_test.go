package backups

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// journalOf encodes a small journal.
func journalOf(id string) []byte {
	var out []byte
	prev := id
	for i, e := range []Entry{
		{Kind: KindBegin, Data: json.RawMessage(`{"format":1}`)},
		{Kind: KindPut, Target: "a"},
		{Kind: KindDone, Target: "a"},
		{Kind: "gate", Data: json.RawMessage(`{"waits":"for <b>&\"c\""}`)},
		{Kind: KindEnd, Data: json.RawMessage(`{"outcome":"mixed"}`)},
		{Kind: KindResume},
		{Kind: KindEnd, Data: json.RawMessage(`{"outcome":"rolled back"}`)},
	} {
		e.Seq, e.Time = i+1, time.Date(2026, 11, 23, 1, 2, 3, i, time.UTC)
		line, sum, err := encode(e, prev)
		if err != nil {
			panic(err)
		}
		out, prev = append(out, line...), sum
	}
	return out
}

// TestDecodeTorn cuts a journal at every byte: what is left is a prefix of its entries, never an error.
func TestDecodeTorn(t *testing.T) {
	whole := journalOf("id")
	full, err := decode(whole, "id", "f")
	if err != nil || len(full.entries) != 7 || full.outcome != RolledBack {
		t.Fatalf("%+v, %v", full, err)
	}
	for cut := range whole {
		d, err := decode(whole[:cut], "id", "f")
		if err != nil || len(d.entries) > 7 || int(d.size()) > cut || len(d.entries) != bytes.Count(whole[:cut], []byte("\n")) {
			t.Fatalf("cut at %d: %d entries, size %d, %v", cut, len(d.entries), d.size(), err)
		}
		// The same with the size of the whole line, and zeros for what was not written.
		end := cut + bytes.IndexByte(whole[cut:], '\n') + 1
		zeros := append(bytes.Clone(whole[:cut]), make([]byte, end-cut)...)
		if z, err := decode(zeros, "id", "f"); err != nil || !reflect.DeepEqual(z.entries, d.entries) {
			t.Fatalf("zeros from %d: %d entries, %v", cut, len(z.entries), err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole := journalOf("id")
	line := func(e Entry, prev string) []byte {
		l, _, err := encode(e, prev)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	all, err := decode(whole, "id", "f")
	if err != nil {
		t.Fatal(err)
	}
	last := all.entries[6].Sum
	for name, data := range map[string][]byte{
		"another id":         journalOf("other"),
		"twice":              append(bytes.Clone(whole), whole...),
		"after the end":      append(bytes.Clone(whole), line(Entry{Seq: 8, Kind: "x"}, last)...),
		"not begun":          line(Entry{Seq: 1, Kind: "x"}, "id"),
		"begun twice":        append(bytes.Clone(whole[:all.ends[0]]), line(Entry{Seq: 2, Kind: KindBegin}, all.entries[0].Sum)...),
		"a gap":              append(bytes.Clone(whole[:all.ends[0]]), line(Entry{Seq: 3, Kind: "x"}, all.entries[0].Sum)...),
		"an unknown outcome": append(bytes.Clone(whole[:all.ends[0]]), line(Entry{Seq: 2, Kind: KindEnd, Data: []byte(`{"outcome":"?"}`)}, all.entries[0].Sum)...),
		"no outcome":         append(bytes.Clone(whole[:all.ends[0]]), line(Entry{Seq: 2, Kind: KindEnd}, all.entries[0].Sum)...),
		"an empty line":      append([]byte("\n"), whole...),
		"zeros in between":   append(append(bytes.Clone(whole[:all.ends[2]]), "\x00\x00\n"...), whole[all.ends[2]:]...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(data, "id", "journal.jsonl")
			var bad *JournalError
			if !errors.Is(err, ErrDamaged) || !errors.As(err, &bad) || bad.File != "journal.jsonl" || bad.Line < 1 {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzDecode decodes anything: it never panics, and each entry that it accepts carries the checksum of its bytes.
func FuzzDecode(f *testing.F) {
	whole := journalOf("id")
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(bytes.Replace(whole, []byte("gate"), []byte("GATE"), 1))
	f.Add([]byte(`{"seq":1,"sum":"00000000000000000000000000000000"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decode(data, "id", "f")
		prev, at := "id", int64(0)
		for i, e := range d.entries {
			line := data[at:d.ends[i]]
			body := line[:len(line)-1-len(sumClose)-sumLen-len(sumOpen)]
			if sum := lineSum(prev, body); e.Sum != sum || !bytes.Equal(line, fmt.Appendf(nil, "%s%s%s%s\n", body, sumOpen, sum, sumClose)) {
				t.Fatalf("accepted %q", line)
			}
			prev, at = e.Sum, d.ends[i]
		}
		rest := data[at:]
		if err == nil && len(rest) > 0 && bytes.IndexByte(rest, '\n') >= 0 && bytes.IndexByte(rest, 0) < 0 {
			t.Fatalf("passed over %q", rest)
		}
		_ = lastOutcome(data)
	})
}

// FuzzDamage changes one byte of a good journal, or cuts it: every entry that is accepted is one of the original's.
func FuzzDamage(f *testing.F) {
	whole := journalOf("id")
	good, err := decode(whole, "id", "f")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(10, byte('x'), 5)
	f.Add(300, byte(0), 0)
	f.Add(len(whole)-1, byte(' '), 0)
	f.Fuzz(func(t *testing.T, at int, b byte, cut int) {
		data := bytes.Clone(whole)
		if at < 0 || at >= len(data) || cut < 0 || cut > len(data) {
			return
		}
		data[at] = b
		data = data[:len(data)-cut]
		d, err := decode(data, "id", "f")
		if len(d.entries) > len(good.entries) || !reflect.DeepEqual(d.entries, good.entries[:len(d.entries)]) && len(d.entries) > 0 {
			t.Fatalf("other entries: %+v", d.entries)
		}
		changed := at < len(data) && whole[at] != b
		if changed && int64(at) < d.size() {
			t.Fatalf("a changed byte at %d was accepted", at)
		}
		if !changed && err != nil {
			t.Fatalf("a cut is no damage: %v", err)
		}
	})
}
