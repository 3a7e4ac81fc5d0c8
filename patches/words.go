package patches

import (
	"unicode"
	"unicode/utf8"

	"github.com/sergi/go-diff/diffmatchpatch"
)

// Words are marked in pairs of lines that are short and similar; in others the marks would hide more than they show.
const (
	maxWordRunes  = 240
	minSimilarity = 0.4
	maxPairLines  = 32 // of a run of changed lines, in which pairs are searched
)

// markWords sets the spans of lines that were replaced by similar ones.
func markWords(hunks []Hunk) {
	for _, h := range hunks {
		for i := 0; i < len(h.Lines); {
			removed := i
			for i < len(h.Lines) && h.Lines[i].Op == Remove {
				i++
			}
			added := i
			for i < len(h.Lines) && h.Lines[i].Op == Add {
				i++
			}
			if removed == i {
				i++
				continue
			}
			pairWords(h.Lines[removed:added], h.Lines[added:i])
		}
	}
}

// pairWords finds the pairs of similar lines, in order, that are most alike together.
func pairWords(removed, added []Line) {
	if len(removed) > maxPairLines || len(added) > maxPairLines {
		return
	}
	pairs := make([][]wordPair, len(removed))
	best := make([][]float64, len(removed)+1)
	best[len(removed)] = make([]float64, len(added)+1)
	for i := len(removed) - 1; i >= 0; i-- {
		pairs[i], best[i] = make([]wordPair, len(added)), make([]float64, len(added)+1)
		for j := len(added) - 1; j >= 0; j-- {
			pairs[i][j] = compareWords(removed[i].Text, added[j].Text)
			best[i][j] = max(best[i+1][j], best[i][j+1], best[i+1][j+1]+pairs[i][j].similarity)
		}
	}
	for i, j := 0, 0; i < len(removed) && j < len(added); {
		switch p := pairs[i][j]; {
		case p.similarity > 0 && best[i][j] == best[i+1][j+1]+p.similarity:
			removed[i].Spans, added[j].Spans = p.old, p.new
			i, j = i+1, j+1
		case best[i][j] == best[i+1][j]:
			i++
		default:
			j++
		}
	}
}

// wordPair is what differs between two lines; the similarity is 0 when it is too little to be shown.
type wordPair struct {
	old, new   []Span
	similarity float64
}

// compareWords compares two lines word by word.
func compareWords(old, new string) (p wordPair) {
	oldRunes, newRunes := utf8.RuneCountInString(old), utf8.RuneCountInString(new)
	if oldRunes == 0 || newRunes == 0 || oldRunes > maxWordRunes || newRunes > maxWordRunes {
		return p
	}
	oldWords, newWords := words(old), words(new)
	ids := map[string]rune{}
	dmp := diffmatchpatch.New()
	dmp.DiffTimeout = 0
	diffs := dmp.DiffMainRunes(wordRunes(oldWords, ids), wordRunes(newWords, ids), false)
	equal, o, n := 0, 0, 0
	oldAt, newAt := 0, 0
	for _, diff := range diffs {
		for range []rune(diff.Text) {
			switch diff.Type {
			case diffmatchpatch.DiffEqual:
				equal += utf8.RuneCountInString(oldWords[o])
				oldAt, newAt = oldAt+len(oldWords[o]), newAt+len(newWords[n])
				o, n = o+1, n+1
			case diffmatchpatch.DiffDelete:
				p.old = extend(p.old, oldAt, len(oldWords[o]))
				oldAt, o = oldAt+len(oldWords[o]), o+1
			case diffmatchpatch.DiffInsert:
				p.new = extend(p.new, newAt, len(newWords[n]))
				newAt, n = newAt+len(newWords[n]), n+1
			}
		}
	}
	if similarity := float64(2*equal) / float64(oldRunes+newRunes); similarity >= minSimilarity {
		p.similarity = similarity
	}
	return p
}

func extend(spans []Span, at, length int) []Span {
	if len(spans) > 0 && spans[len(spans)-1].End == at {
		spans[len(spans)-1].End += length
		return spans
	}
	return append(spans, Span{at, at + length})
}

// words cuts a line into runs of letters and digits, runs of spaces, and single other signs.
func words(line string) []string {
	kind := func(r rune) int {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), r == '_':
			return 1
		case unicode.IsSpace(r):
			return 2
		}
		return 0
	}
	var all []string
	start, last := 0, -1
	for i, r := range line {
		k := kind(r)
		if i > 0 && (k != last || k == 0) {
			all = append(all, line[start:i])
			start = i
		}
		last = k
	}
	return append(all, line[start:])
}

func wordRunes(words []string, ids map[string]rune) []rune {
	runes := make([]rune, len(words))
	for i, word := range words {
		if ids[word] == 0 {
			ids[word] = rune(len(ids) + 1)
		}
		runes[i] = ids[word]
	}
	return runes
}
