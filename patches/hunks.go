package patches

// hunks cuts out the changes with their context; those whose contexts touch become one.
func hunks(lines []Line, context int) []Hunk {
	var all []Hunk
	for i := 0; i < len(lines); {
		if lines[i].Op == Equal {
			i++
			continue
		}
		from := max(0, i-context)
		last := i
		for j := i; j < len(lines) && j <= last+2*context+1; j++ {
			if lines[j].Op != Equal {
				last = j
			}
		}
		to := min(len(lines), last+context+1)
		all = append(all, newHunk(lines, from, to))
		i = to
	}
	return all
}

func newHunk(lines []Line, from, to int) Hunk {
	h := Hunk{Lines: lines[from:to:to]}
	oldBefore, newBefore := 0, 0
	if from > 0 {
		oldBefore, newBefore = numbersAt(lines, from-1)
	}
	for _, line := range h.Lines {
		if line.Op != Add {
			h.OldLines++
		}
		if line.Op != Remove {
			h.NewLines++
		}
	}
	// A side without lines is named by the line before it.
	h.OldStart, h.NewStart = oldBefore+1, newBefore+1
	if h.OldLines == 0 {
		h.OldStart--
	}
	if h.NewLines == 0 {
		h.NewStart--
	}
	return h
}

// numbersAt says how many lines of both sides lie up to and with lines[at].
func numbersAt(lines []Line, at int) (old, new int) {
	for ; at >= 0 && (old == 0 || new == 0); at-- {
		if old == 0 {
			old = lines[at].OldNo
		}
		if new == 0 {
			new = lines[at].NewNo
		}
	}
	return old, new
}

// markSections names each hunk by where in the YAML document its first change lies.
func markSections(hunks []Hunk, before, after []byte) {
	if len(hunks) == 0 {
		return
	}
	old, oldErr := read(before)
	new, newErr := read(after)
	for i := range hunks {
		for _, line := range hunks[i].Lines {
			if line.Op == Equal {
				continue
			}
			var path Path
			var found bool
			if line.Op == Add && newErr == nil {
				path, found = new.locate(line.NewNo)
			}
			if line.Op == Remove && oldErr == nil {
				path, found = old.locate(line.OldNo)
			}
			if found {
				hunks[i].Section = path.String()
			}
			break
		}
	}
}
