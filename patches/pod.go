package patches

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// SetFlag makes flag (without dashes) of a container be value. Repeats of it are removed.
func SetFlag(pod []byte, container, flag, value string) ([]byte, error) {
	if err := checkFlag(flag, value); err != nil {
		return nil, err
	}
	out, err := editArgs(pod, container, flag, func(args []string, flags []argFlag) argEdit {
		return setFlag(args, flags, flagName(flag), value)
	})
	return out, byHand(err, "set --%s=%s in container %s", flag, value, container)
}

// RemoveFlag removes all occurrences of a flag, with their values.
func RemoveFlag(pod []byte, container, flag string) ([]byte, error) {
	if err := checkFlag(flag, ""); err != nil {
		return nil, err
	}
	out, err := editArgs(pod, container, flag, func(args []string, flags []argFlag) argEdit {
		return removeFlag(flags, flagName(flag))
	})
	return out, byHand(err, "remove --%s from container %s", flag, container)
}

// MergeList adds entries to and removes entries from a comma separated list. The entries of all repeats of the flag
// are put together in the first one, in their order, new ones last; a list without entries loses its flag. An entry
// that is in both add and remove is removed.
func MergeList(pod []byte, container, flag string, add, remove []string) ([]byte, error) {
	for _, entry := range slices.Concat(add, remove) {
		if entry == "" || strings.TrimSpace(entry) != entry || strings.Contains(entry, ",") {
			return nil, fmt.Errorf("merging the list --%s: %q is not one entry", flag, entry)
		}
		if err := checkFlag(flag, entry); err != nil {
			return nil, err
		}
	}
	out, err := editArgs(pod, container, flag, func(args []string, flags []argFlag) argEdit {
		return mergeList(args, flags, flagName(flag), add, remove)
	})
	return out, byHand(err, "make --%s of container %s have [%s] and not [%s]",
		flag, container, strings.Join(add, ","), strings.Join(remove, ","))
}

var plainFlag = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]*$`)

func checkFlag(flag, value string) error {
	if !plainFlag.MatchString(flag) {
		return fmt.Errorf("editing flags: %q is not the name of a flag", flag)
	}
	if strings.ContainsFunc(value, func(r rune) bool { return !isVisible(r) }) {
		return fmt.Errorf("editing flags: --%s: the value %q is not visible text", flag, value)
	}
	return nil
}

// podContainer is a container of a pod and its arguments, those of command before those of args.
type podContainer struct {
	trail   []spot // from the root to the container
	lists   map[string][]spot
	command int // how many items are of command
	items   []*yaml.Node
	args    []string
	flags   []argFlag
}

func (d *document) container(name string) (*podContainer, error) {
	at, err := d.containerPath(name)
	if err != nil {
		return nil, err
	}
	c := &podContainer{lists: map[string][]spot{}}
	if c.trail, _, err = d.walk(at); err != nil {
		return nil, err
	}
	for _, key := range []string{"command", "args"} {
		trail, rest, err := d.walk(at.with(key))
		if err != nil {
			return nil, err
		}
		if len(rest) > 0 || isNull(trail[len(trail)-1].node) {
			continue
		}
		list := trail[len(trail)-1].node
		if list.Kind == yaml.AliasNode {
			return nil, editable(list)
		}
		if list.Kind != yaml.SequenceNode {
			return nil, refuse(list.Line, "", "%s of container %s is expected to be a list, but is not", key, name)
		}
		c.lists[key] = trail
		for _, item := range list.Content {
			if item.Kind == yaml.AliasNode {
				item = item.Alias
			}
			if item.Kind != yaml.ScalarNode {
				return nil, refuse(item.Line, "", "%s of container %s has an item that is not text", key, name)
			}
			c.items = append(c.items, item)
			c.args = append(c.args, item.Value)
		}
		if key == "command" {
			c.command = len(c.items)
		}
	}
	if len(c.args) > 0 && isShell(c.args[0]) {
		return nil, refuse(c.items[0].Line, "start the program without a shell",
			"container %s is started through a shell (%s), so its flags are inside a script", name, c.args[0])
	}
	c.flags = scanFlags(c.args)
	return c, nil
}

func isShell(program string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "ash", "busybox"}, path.Base(program))
}

// containerPath finds a container by name, an init container only if no other has the name.
func (d *document) containerPath(name string) (Path, error) {
	if d.root == nil {
		return nil, refuse(0, "", "the file is empty")
	}
	for _, kind := range []string{"containers", "initContainers"} {
		list := lookup(d.root, Path{"spec", kind})
		if list == nil || list.Kind != yaml.SequenceNode {
			continue
		}
		var found []int
		for i, item := range list.Content {
			if n := lookup(item, Path{"name"}); n != nil && n.Value == name {
				found = append(found, i)
			}
		}
		switch len(found) {
		case 0:
		case 1:
			return Path{"spec", kind, found[0]}, nil
		default:
			return nil, refuse(list.Content[found[1]].Line, "rename or remove one", "there are two containers named %s", name)
		}
	}
	return nil, refuse(0, "", "there is no container named %s in this file", name)
}

// editArgs changes the arguments of a container and verifies the result.
func editArgs(pod []byte, name, flag string, plan func(args []string, flags []argFlag) argEdit) ([]byte, error) {
	return edit(pod, func(d *document) (change, error) {
		c, err := d.container(name)
		if err != nil {
			return change{}, err
		}
		e := plan(c.args, c.flags)
		if e.isEmpty() {
			return change{}, nil
		}
		if !slices.Equal(others(c.flags, flag), others(scanFlags(e.apply(c.args)), flag)) {
			return change{}, refuse(c.items[0].Line, "", misread)
		}
		return d.changeArgs(c, e)
	})
}

const misread = "an edit here would change how other flags are read"

// others are the names and values of the flags but one.
func others(flags []argFlag, but string) []Flag {
	var all []Flag
	for _, f := range flags {
		if f.Name != flagName(but) {
			all = append(all, Flag{Name: f.Name, Value: f.Value, HasValue: f.HasValue})
		}
	}
	return all
}

// target is the list that a new argument goes into: the one where the flags are.
func (c *podContainer) target(e argEdit) string {
	if len(c.flags) > 0 {
		first, last := c.flags[0].first, c.flags[len(c.flags)-1].last
		switch {
		case last < c.command:
			return "command"
		case first >= c.command || e.addAt > c.command:
			return "args"
		case e.addAt < c.command:
			return "command"
		}
	}
	if _, found := c.lists["args"]; found {
		return "args"
	}
	return "command"
}

func (d *document) changeArgs(c *podContainer, e argEdit) (change, error) {
	where := c.target(e)
	if e.adds && c.lists[where] == nil {
		return change{}, refuse(c.trail[len(c.trail)-1].node.Line, "", "the container has neither command nor args")
	}
	var all []splice
	container := c.trail[len(c.trail)-1].node
	base := 0
	for _, key := range []string{"command", "args"} {
		trail := c.lists[key]
		if trail == nil {
			continue
		}
		list := trail[len(trail)-1].node
		part := e.between(base, base+len(list.Content), e.adds && key == where)
		base += len(list.Content)
		if part.isEmpty() {
			continue
		}
		splices, node, err := d.changeList(trail, part)
		if err != nil {
			return change{}, err
		}
		all = append(all, splices...)
		at := find(container, key) + 1
		container = grafted([]spot{{}, {parent: container, key: container.Content[at-1], index: at}}, node)
	}
	return change{all, grafted(c.trail, container)}, nil
}

// between is the part of the edit that concerns the arguments from..to, counted from there.
func (e argEdit) between(from, to int, adds bool) argEdit {
	part := argEdit{replace: map[int]string{}, drop: map[int]bool{}, add: e.add, adds: adds}
	for i := from; i < to; i++ {
		if text, found := e.replace[i]; found {
			part.replace[i-from] = text
		}
		if e.drop[i] {
			part.drop[i-from] = true
		}
	}
	part.addAt = min(max(e.addAt-from, 0), to-from)
	return part
}

// changeList edits one list; the node is nil when its last item is gone, and its key with it.
func (d *document) changeList(trail []spot, e argEdit) ([]splice, *yaml.Node, error) {
	s := trail[len(trail)-1]
	if err := editable(s.node); err != nil {
		return nil, nil, err
	}
	l := d.layout(trail)
	if !e.adds && len(e.drop) == len(s.node.Content) {
		if line, found := d.commentWithin(s); found {
			return nil, nil, refuse(line, "move the comment out of the list", "a comment stands in a list that would be left with nothing else")
		}
		splices, err := d.remove(trail, l)
		return splices, nil, err
	}
	if len(s.node.Content) == 0 {
		splices, err := d.replace(s, []any{e.add}, l)
		return splices, encode([]any{e.add}), err
	}
	var all []splice
	node := *s.node
	node.Content = nil
	for i := 0; i <= len(s.node.Content); i++ {
		if e.adds && e.addAt == i {
			splices, err := d.addItems(s, i-1, []any{e.add}, l)
			if err != nil {
				return nil, nil, err
			}
			all = append(all, splices...)
			node.Content = append(node.Content, encode(e.add))
		}
		if i == len(s.node.Content) {
			break
		}
		item := spot{node: s.node.Content[i], parent: s.node, index: i}
		text, replaced := e.replace[i]
		var splices []splice
		var err error
		switch {
		case e.drop[i]:
			splices, err = d.remove([]spot{s, item}, l)
		case replaced:
			splices, err = d.assign(item, text, l)
			node.Content = append(node.Content, encode(text))
		default:
			node.Content = append(node.Content, item.node)
		}
		if err != nil {
			return nil, nil, err
		}
		all = append(all, splices...)
	}
	return all, &node, nil
}

// commentWithin finds a comment that has a line of its own between a key and the end of its value.
func (d *document) commentWithin(s spot) (line int, found bool) {
	end, err := d.end(s.node)
	if err != nil {
		return 0, false
	}
	for line := s.key.Line + 1; line <= d.line(end); line++ {
		if bytes.HasPrefix(bytes.TrimLeft(d.text(line), " "), []byte("#")) {
			return line, true
		}
	}
	return 0, false
}
