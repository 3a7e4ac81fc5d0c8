package harden

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"syscall"
)

// home is where asks are rendered to.
type home struct {
	id        string
	kind      StepKind
	path      string
	object    *ObjectRef
	component ComponentID
	container string
	asks      []Ask
}

// homes groups the asks by target, in the order of first mention.
func (p *planner) homes() ([]*home, refusals) {
	var out []*home
	var not refusals
	at := map[string]*home{}
	for _, a := range p.asks {
		h, err := p.homeOf(a.Intent)
		if err != nil {
			not = append(not, refusal{controls: []string{a.Control}, err: err})
			continue
		}
		if known := at[h.id]; known != nil {
			h = known
		} else {
			at[h.id] = h
			out = append(out, h)
		}
		if a.Intent.Restarts != "" {
			h.component = a.Intent.Restarts
		}
		h.asks = append(h.asks, a)
	}
	return out, not
}

func (p *planner) homeOf(i Intent) (*home, error) {
	if i.Kind == IntentMakeDir {
		return &home{id: i.Path, kind: StepDir, path: i.Path}, nil
	}
	if i.Object != nil {
		return &home{id: i.Object.String(), kind: StepObject, object: i.Object}, nil
	}
	if i.Component == "" {
		if !path.IsAbs(i.Path) || path.Clean(i.Path) != i.Path {
			return nil, fmt.Errorf("%q is not a clean absolute path", i.Path)
		}
		// A manifest is one target, whether its component or its path is named.
		for _, c := range p.in.Facts.Components {
			if c != nil && c.Manifest.Path == i.Path {
				return manifestHome(c), nil
			}
		}
		h := &home{id: i.Path, kind: StepFile, path: i.Path}
		if i.Dir {
			h.kind = StepDir
		}
		return h, nil
	}
	c := p.in.Facts.Component(i.Component)
	if c == nil || c.Manifest.Path == "" {
		return nil, fmt.Errorf("%s has no manifest on this node", i.Component)
	}
	return manifestHome(c), nil
}

func manifestHome(c *ComponentFacts) *home {
	return &home{id: c.Manifest.Path, kind: StepFile, path: c.Manifest.Path, component: c.ID, container: c.Container}
}

// steps renders all asks. Targets that stay as they are make no step; all that targets do not take is told at once, as refusals.
func (p *planner) steps() ([]Step, error) {
	homes, not := p.homes()
	homes, more, err := p.addParents(homes)
	if err != nil {
		return nil, err
	}
	not = append(not, more...)
	steps, more, err := p.renderHomes(homes, func(h *home) bool { return h.container == "" })
	if err != nil {
		return nil, err
	}
	not = append(not, more...)
	// A changed file that a static pod reads at its start restarts nothing by itself: the pod's own text must change.
	for _, c := range Components {
		var files []Step
		for _, s := range steps {
			if c.StaticPod() && s.Component == c.ID {
				files = append(files, s)
			}
		}
		if len(files) == 0 {
			continue
		}
		facts := p.in.Facts.Component(c.ID)
		if facts == nil {
			err := fmt.Errorf("%s: %s reads it, and has no manifest on this node", files[0].ID, c.ID)
			not = append(not, refusal{controls: files[0].Controls(), err: err})
			continue
		}
		for _, ask := range restartAsks(facts, files) {
			homes = addAsk(homes, manifestHome(facts), ask)
		}
	}
	manifests, more, err := p.renderHomes(homes, func(h *home) bool { return h.container != "" })
	if err != nil {
		return nil, err
	}
	steps = append(steps, manifests...)
	if not = append(not, more...); not != nil {
		return nil, not
	}
	// Files of a static pod are written before its manifest and need no restart of their own.
	for i := range steps {
		if p.in.Facts.readsAlong(steps[i].Component, steps[i].Path) {
			steps[i].Component = ""
		}
	}
	order(steps)
	return steps, nil
}

// renderHomes renders the homes that are taken.
func (p *planner) renderHomes(homes []*home, take func(*home) bool) (steps []Step, not refusals, err error) {
	for _, h := range homes {
		if !take(h) {
			continue
		}
		s, err := p.render(h)
		if more, ok := refused(err); ok {
			not = append(not, more...)
		} else if err != nil {
			return nil, nil, err
		} else if s != nil {
			steps = append(steps, *s)
		}
	}
	return steps, not, nil
}

func (p *planner) render(h *home) (*Step, error) {
	s := &Step{ID: h.id, Kind: h.kind, Path: h.path, Object: h.object, Component: h.component, Asks: h.asks, Secret: secretAsks(h.asks)}
	if h.kind == StepObject && h.asks[0].Intent.edits() {
		if err := p.renderObjectEdit(s); err != nil {
			return nil, err
		}
	} else if h.kind == StepObject {
		ws, err := wishes(h.asks)
		if err != nil {
			return nil, err
		}
		seen, err := p.in.Preview(*h.object, ws[0].intent.Data)
		if err != nil {
			return nil, fmt.Errorf("previewing %s: %w", h.object, err)
		}
		s.Before, s.After, s.UID, s.ResourceVersion = seen.Before, seen.After, seen.UID, seen.ResourceVersion
		tracker := newAttribution(s.Before.Data)
		if err := tracker.advance(s.Before.Data, s.After.Data, ws[0].controls); err != nil {
			return nil, err
		}
		s.Marks = tracker.marks()
	} else if err := p.renderFile(h, s); err != nil {
		return nil, err
	}
	if s.Before.Equal(s.After) {
		return nil, nil
	}
	return s, nil
}

// renderFile also looks whether the file may be written to.
func (p *planner) renderFile(h *home, s *Step) (err error) {
	if s.Before, err = p.in.Read(h.path); err != nil {
		return p.unsafe(s, err)
	}
	if s.After, s.Marks, err = renderAll(s.Before, h.asks, h.container); err != nil {
		if not, ok := refused(err); ok {
			return not.of(h.path)
		}
		return fmt.Errorf("planning: %s: %w", h.path, err)
	}
	if p.in.Writes == nil || s.Before.Equal(s.After) {
		return nil
	}
	err = s.CheckWrite(p.in.Writes)
	if err == nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return nil // a whole file system is for the preflight
	}
	return p.unsafe(s, err)
}

// unsafe is a target that is not read or written as it is. What whoever plans may not do is no fact of the target: planning does
// not need root.
func (p *planner) unsafe(s *Step, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("planning: %w", err)
	}
	return refusals{{controls: s.Controls(), err: err, hints: looks(p.in.Facts, s.Path, s.Before.Exists)}}
}

// addParents asks for the missing directories above what is made, for the controls that make it.
func (p *planner) addParents(homes []*home) (all []*home, not refusals, err error) {
	planned := map[string]bool{}
	for _, h := range homes {
		planned[h.path] = h.kind == StepDir
	}
	for _, h := range slices.Clone(homes) {
		if h.kind == StepObject {
			continue
		}
		for dir := path.Dir(h.path); dir != "/" && !planned[dir]; dir = path.Dir(dir) {
			s, err := p.in.Read(dir)
			if err != nil {
				err = p.unsafe(&Step{Path: dir, Asks: h.asks}, err)
				more, ok := refused(err)
				if !ok {
					return nil, nil, err
				}
				not = append(not, more...)
				break
			}
			if s.Exists {
				break
			}
			planned[dir] = true
			made := &home{id: dir, kind: StepDir, path: dir}
			for _, a := range h.asks {
				made.asks = append(made.asks, Ask{Control: a.Control, Intent: MakeDir(dir, 0o755)})
			}
			homes = append(homes, made)
		}
	}
	return homes, not, nil
}

// addAsk adds an ask to the home of that id, which may be a new one.
func addAsk(homes []*home, h *home, a Ask) []*home {
	for _, known := range homes {
		if known.id == h.id {
			known.asks = append(known.asks, a)
			return homes
		}
	}
	h.asks = []Ask{a}
	return append(homes, h)
}

// FilesAnnotation changes whenever a file that a static pod reads at its start changes, so that the kubelet restarts it.
const FilesAnnotation = "kubectl-harden.io/files-sha256"

// restartAsks change the annotation for certain: what was in the files counts too, and the annotation that is there.
func restartAsks(c *ComponentFacts, files []Step) []Ask {
	var all State
	if c.Pod != nil {
		all.Data = append(all.Data, c.Pod.Annotations[FilesAnnotation]+"\n"...)
	}
	var controls []string
	for _, s := range files {
		all.Data = append(all.Data, s.Path+" "+s.Before.Digest()+" "+s.After.Digest()+"\n"...)
		controls = union(controls, s.Controls())
	}
	all.Exists = true
	var out []Ask
	for _, control := range controls {
		out = append(out, Ask{
			Control: control,
			Intent:  Intent{Kind: IntentAnnotate, Component: c.ID, Key: FilesAnnotation, Value: all.Digest()},
		})
	}
	return out
}
