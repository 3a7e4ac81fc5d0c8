package kubelet

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// like brings a value from YAML, JSON or a flag to the type of the preset. It refuses what the kubelet's decoder
// refuses: a quoted number is right for a flag and wrong in a file.
func like(preset, raw any, flag bool) (any, bool) {
	text, isText := raw.(string)
	switch preset.(type) {
	case bool:
		if b, ok := raw.(bool); ok {
			return b, true
		}
		if flag && isText {
			b, err := strconv.ParseBool(text)
			return b, err == nil
		}
	case int64:
		if flag && isText {
			n, err := strconv.ParseInt(text, 0, 64)
			return n, err == nil
		}
		return integer(raw)
	case string:
		return text, isText
	case time.Duration:
		if d, ok := raw.(time.Duration); ok {
			return d, true
		}
		if isText {
			d, err := time.ParseDuration(text)
			return d, err == nil
		}
	case []string:
		if flag && isText {
			return entries(text), true
		}
		return texts(raw)
	}
	return nil, false
}

func integer(raw any) (any, bool) {
	switch n := raw.(type) {
	case int:
		return int64(n), true
	case int32:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), n <= math.MaxInt64
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<53
	}
	return nil, false
}

func texts(raw any) (any, bool) {
	switch list := raw.(type) {
	case []string:
		return list, true
	case []any:
		out := make([]string, len(list))
		for i, e := range list {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			out[i] = s
		}
		return out, true
	}
	return nil, false
}

// entries splits a comma separated list.
func entries(text string) []string {
	var out []string
	for _, e := range strings.Split(text, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

func isZero(v any) bool {
	switch v := v.(type) {
	case int64:
		return v == 0
	case string:
		return v == ""
	case time.Duration:
		return v == 0
	case []string:
		return len(v) == 0
	}
	return false
}

// show writes a value for people.
func show(v any) string {
	switch v := v.(type) {
	case []string:
		if len(v) == 0 {
			return "none"
		}
		return strings.Join(v, ",")
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			out[i] = fmt.Sprint(e)
		}
		return strings.Join(out, ",")
	case string:
		if v == "" {
			return `""`
		}
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
