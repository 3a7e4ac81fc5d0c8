package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

const defaultStateDir = "/var/lib/kubectl-harden"

// whereFlags say on which node and cluster.
type whereFlags struct {
	root, kubeconfig, context, stateDir string
	offline, noCluster                  bool
	sandbox                             bool // there is no other process that could act on this node
}

func (w *whereFlags) add(f *pflag.FlagSet) {
	f.StringVar(&w.root, "root", "/", "the node's file system")
	f.BoolVar(&w.offline, "offline", false, "no kubelet runs from this root: files change, nothing restarts")
	f.BoolVar(&w.noCluster, "no-cluster", false, "do not ask the cluster's API")
	f.StringVar(&w.kubeconfig, "kubeconfig", "", "credentials for the cluster (default: the node's admin.conf)")
	f.StringVar(&w.context, "context", "", "context of the kubeconfig")
	f.StringVar(&w.stateDir, "state-dir", defaultStateDir, "transactions and backups, below the root")
}

// check refuses flags that contradict each other or lead somewhere by mistake.
func (w *whereFlags) check() error {
	switch {
	case w.root == "":
		return usagef("--root is empty")
	case w.noCluster && (w.kubeconfig != "" || w.context != ""):
		return usagef("--no-cluster contradicts --kubeconfig and --context")
	case !path.IsAbs(w.stateDir):
		return usagef("--state-dir wants an absolute path below the root, not %q", w.stateDir)
	}
	w.stateDir = path.Clean(w.stateDir)
	if w.stateDir == "/" || w.stateDir == harden.StaticPodDir || strings.HasPrefix(w.stateDir, harden.StaticPodDir+"/") {
		return usagef("--state-dir cannot be %s: it wants a directory of its own", w.stateDir)
	}
	return nil
}

// lookFlags say how the output looks.
type lookFlags struct {
	plain, ascii, mouse bool
	color               string
}

func (l *lookFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&l.plain, "plain", false, "lines and prompts instead of the full-screen UI")
	f.StringVar(&l.color, "color", "auto", "auto, always or never")
	f.BoolVar(&l.ascii, "ascii", false, "ASCII signs only")
	f.BoolVar(&l.mouse, "mouse", false, "use the mouse")
}

func (l lookFlags) check() error {
	switch l.color {
	case "auto", "always", "never":
		return nil
	}
	return usagef("--color is auto, always or never, not %q", l.color)
}

// selectFlags say which controls, remedies and options.
type selectFlags struct {
	all                                    bool
	controls, areas, remedies, set, accept []string
	file, reason, profile                  string
	yes, dryRun                            bool
	soak, confirmWithin                    time.Duration
	handover                               bool
}

func (s *selectFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&s.all, "all", false, "every failing control whose default remedy risks this node's components only")
	f.StringSliceVar(&s.controls, "control", nil, "controls, by id")
	f.StringSliceVar(&s.areas, "area", nil, "areas, by id")
	f.StringVar(&s.profile, "profile", "", "what this recommendation asks, as --all does: "+profileWords)
	f.StringArrayVar(&s.remedies, "remedy", nil, "CONTROL=REMEDY: take this remedy")
	f.StringArrayVar(&s.set, "set", nil, "CONTROL.OPTION=VALUE: take the control with this option of its remedy")
	f.StringVar(&s.file, "file", "", "choices file, as the UI saves it")
	f.DurationVar(&s.confirmWithin, "confirm-within", 0,
		"how long there is to confirm what can lock you out, once it is proven; then it is undone (default "+harden.DefaultConfirmWithin.String()+")")
	f.StringSliceVar(&s.accept, "accept", nil, "take on your word: a control's unknown preconditions, or a component that cannot be rehearsed")
}

// given says that something was said about what is selected.
func (s *selectFlags) given() bool {
	return s.all || s.file != "" || s.profile != "" || len(s.controls)+len(s.areas)+len(s.remedies)+len(s.set)+len(s.accept) > 0
}

// selection parses the flags; names are checked against the catalogue later.
func (s *selectFlags) selection() (harden.Selection, error) {
	out := harden.Selection{
		All: s.all, Controls: s.controls, Areas: s.areas, Accept: s.accept,
		Remedies: map[string]string{}, Set: map[string]harden.Values{},
	}
	if s.profile != "" {
		p, err := catalog.Profile(s.profile)
		if err != nil {
			return out, err
		}
		out.Profile = &p
	}
	for _, r := range s.remedies {
		control, remedy, ok := strings.Cut(r, "=")
		if !ok || control == "" || remedy == "" {
			return out, usagef("--remedy wants CONTROL=REMEDY, not %q", r)
		}
		if other, twice := out.Remedies[control]; twice && other != remedy {
			return out, usagef("--remedy names two remedies of %s: %s and %s", control, other, remedy)
		}
		out.Remedies[control] = remedy
	}
	for _, v := range s.set {
		key, value, ok := strings.Cut(v, "=")
		control, option, dotted := strings.Cut(key, ".")
		if !ok || !dotted || control == "" || option == "" {
			return out, usagef("--set wants CONTROL.OPTION=VALUE, not %q", v)
		}
		if other, twice := out.Set[control][option]; twice && other != value {
			return out, usagef("--set gives %s two values: %q and %q", key, other, value)
		}
		if out.Set[control] == nil {
			out.Set[control] = harden.Values{}
			out.Controls = append(slices.Clone(out.Controls), control)
		}
		out.Set[control][option] = value
	}
	if s.file != "" {
		choices, err := readChoices(s.file)
		if err != nil {
			return out, err
		}
		out.Choices = choices
		if len(choices) == 0 && out.Empty() {
			return out, fmt.Errorf("reading %s: there are no choices in it", s.file)
		}
	}
	if out.Empty() {
		return out, &hintedError{err: usagef("nothing is selected"), hints: []string{program + " plan --all", program + " assess"}}
	}
	return out, nil
}

// acceptable refuses an --accept that can reach nothing: the operator has misspelt what they mean.
func acceptable(s harden.Selection) error {
	components := s.AcceptedComponents()
	for _, id := range s.Accept {
		if slices.Contains(components, harden.ComponentID(id)) {
			continue
		}
		_, remedy := s.Remedies[id]
		chosen := slices.ContainsFunc(s.Choices, func(c harden.Choice) bool { return c.Control == id })
		if !s.All && s.Profile == nil && len(s.Areas) == 0 && !remedy && !chosen && !slices.Contains(s.Controls, id) {
			return usagef("--accept %s: the control is not selected", id)
		}
	}
	return nil
}

// choicesFile is the file that the UI saves and --file reads.
type choicesFile struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Choices    []harden.Choice `json:"choices"`
}

const maxInput = 16 << 20 // a choices or plan file beyond this is a mistake

func readChoices(file string) ([]harden.Choice, error) {
	var c choicesFile
	if err := readJSON(file, "choices", &c); err != nil {
		return nil, err
	}
	if c.Kind != "Choices" || c.APIVersion != "harden/v1" {
		return nil, fmt.Errorf("reading %s: it is no choices file (apiVersion harden/v1, kind Choices)", file)
	}
	seen := map[string]bool{}
	for _, choice := range c.Choices {
		if seen[choice.Control] {
			return nil, fmt.Errorf("reading %s: it has two choices for %s", file, choice.Control)
		}
		seen[choice.Control] = true
	}
	return c.Choices, nil
}

func writeChoices(file string, choices []harden.Choice) error {
	if choices == nil {
		choices = []harden.Choice{}
	}
	data, err := json.MarshalIndent(choicesFile{"harden/v1", "Choices", choices}, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return writeNew(file, append(data, '\n'), 0o644)
}

func readJSON(file, what string, into any) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, cause(err))
	}
	if !info.Mode().IsRegular() || info.Size() > maxInput {
		return fmt.Errorf("reading %s: it is not a file of at most %d MiB", file, maxInput>>20)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, cause(err))
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err = dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("something follows the JSON object")
		}
	}
	if err != nil {
		return fmt.Errorf("reading %s: it is no %s file: %w", file, what, err)
	}
	return nil
}

// writeNew makes a file that is not there yet, whole or not at all.
func writeNew(file string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(filepath.Clean(file), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, cause(err))
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("writing %s: %w", file, cause(err))
	}
	return nil
}
