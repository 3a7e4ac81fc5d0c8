package host

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// maxTail is how much of the end of a log is read.
const maxTail = 1 << 20

// LogTail returns the last n lines, or fewer, that a container wrote, as far as they are in the last MiB of its log.
// They may hold anything.
func (c *Runtime) LogTail(of Container, n int) ([]string, error) {
	if of.LogPath == "" {
		return nil, fmt.Errorf("reading the log of container %q: the runtime keeps none", of.ID)
	}
	data, whole, err := c.root.Tail(of.LogPath, maxTail)
	if err != nil {
		return nil, err
	}
	if !whole { // the first line has lost its beginning
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			data = data[i+1:]
		}
	}
	lines := parseLog(string(data))
	return lines[max(0, len(lines)-n):], nil
}

// parseLog undoes the format of CRI logs: "time stream tag text", where the tag P marks a part of a line that goes on
// in the next entry of that stream. What is not in the format is a line as it is.
func parseLog(data string) []string {
	var lines []string
	parts := make(map[string]string)
	for entry := range strings.Lines(data) {
		entry = strings.TrimSuffix(entry, "\n")
		stream, tag, text, ok := parseLogEntry(entry)
		switch {
		case !ok:
			lines = append(lines, entry)
		case tag == "P":
			parts[stream] += text
		default:
			lines = append(lines, parts[stream]+text)
			delete(parts, stream)
		}
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if rest, ok := parts[stream]; ok {
			lines = append(lines, rest)
		}
	}
	return lines
}

func parseLogEntry(entry string) (stream, tag, text string, ok bool) {
	fields := strings.SplitN(entry, " ", 4)
	if len(fields) < 4 || fields[1] != "stdout" && fields[1] != "stderr" {
		return "", "", "", false
	}
	if _, err := time.Parse(time.RFC3339Nano, fields[0]); err != nil {
		return "", "", "", false
	}
	tag, _, _ = strings.Cut(fields[2], ":")
	return fields[1], tag, fields[3], true
}
