package sandbox

import (
	_ "embed"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// The flags of the binaries of 1.37.2 and the kinds of their values, as --help lists them, and the hidden ones.
var (
	//go:embed flags/kube-apiserver.txt
	apiServerFlags string
	//go:embed flags/kubelet.txt
	kubeletFlags string
)

// flagSet has the flags of a table; values of a kind of which pflag has none are taken as they are.
func flagSet(name, table string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	for line := range strings.Lines(table) {
		name, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "bool":
			f.Bool(name, false, "")
		case "int":
			f.Int(name, 0, "")
		case "int32":
			f.Int32(name, 0, "")
		case "uint":
			f.Uint(name, 0, "")
		case "float", "float32":
			f.Float32(name, 0, "")
		case "duration":
			f.Duration(name, 0, "")
		case "ip":
			f.IP(name, nil, "")
		case "strings":
			f.StringSlice(name, nil, "")
		case "stringArray":
			f.StringArray(name, nil, "")
		case "Level":
			f.Uint32P(name, "v", 0, "")
		default:
			f.String(name, "", "")
		}
	}
	return f
}

// arguments are a parsed command line.
type arguments struct{ *pflag.FlagSet }

func (a arguments) text(name string) string { return a.Lookup(name).Value.String() }

func (a arguments) list(name string) []string {
	v, _ := a.Lookup(name).Value.(pflag.SliceValue)
	if v == nil {
		return nil
	}
	return v.GetSlice()
}

// is gives a switch, or what it is where it is not set.
func (a arguments) is(name string, unset bool) bool {
	if !a.Changed(name) {
		return unset
	}
	return a.text(name) == "true"
}
