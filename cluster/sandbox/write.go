package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// Object gives an object in its normal form, or that it does not exist.
func (c *Cluster) Object(ctx context.Context, ref harden.ObjectRef) (s harden.State, uid, resourceVersion string, err error) {
	if err := c.enter(ctx, "reading"); err != nil {
		return harden.State{}, "", "", err
	}
	defer c.mu.Unlock()
	return c.object(ref)
}

func (c *Cluster) object(ref harden.ObjectRef) (s harden.State, uid, resourceVersion string, err error) {
	r, ok := c.records[ref]
	if !ok {
		return harden.State{}, "", "", nil
	}
	data, err := r.Object.Normal().YAML()
	if err != nil {
		return harden.State{}, "", "", err
	}
	return harden.State{Exists: true, Data: data}, r.Object.Meta("uid"), r.Object.Meta("resourceVersion"), nil
}

// DryRun gives what a server-side apply would make of the YAML, writing nothing.
func (c *Cluster) DryRun(ctx context.Context, yaml []byte) (after []byte, uid, resourceVersion string, err error) {
	if err := c.enter(ctx, "trying to apply"); err != nil {
		return nil, "", "", err
	}
	defer c.mu.Unlock()
	return c.dryRun(yaml)
}

func (c *Cluster) dryRun(yaml []byte) (after []byte, uid, resourceVersion string, err error) {
	want, err := c.admit("trying to apply", yaml)
	if err != nil {
		return nil, "", "", err
	}
	got, err := c.merged("trying to apply", want)
	if err != nil {
		return nil, "", "", err
	}
	after, err = got.Normal().YAML()
	return after, got.Meta("uid"), got.Meta("resourceVersion"), err
}

// Preview gives an object as it is and as the server would make it.
func (c *Cluster) Preview(ctx context.Context, ref harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error) {
	const doing = "trying to apply"
	if err := c.enter(ctx, doing); err != nil {
		return harden.ObjectPreview{}, err
	}
	defer c.mu.Unlock()
	if _, err := objects.Expect(ref, yaml); err != nil {
		return harden.ObjectPreview{}, refused(doing, ref, err)
	}
	before, _, _, err := c.object(ref)
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	after, uid, version, err := c.dryRun(yaml)
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	return harden.ObjectPreview{
		Before: before, After: harden.State{Exists: true, Data: after}, UID: uid, ResourceVersion: version,
	}, nil
}

// Edited gives an object as it is and as replacing it by what edit makes of it would leave it.
func (c *Cluster) Edited(ctx context.Context, ref harden.ObjectRef, edit func(harden.State) (harden.State, error)) (harden.ObjectPreview, error) {
	const doing = "trying to replace"
	before, uid, version, err := c.Object(ctx, ref)
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	if !before.Exists {
		return harden.ObjectPreview{}, notFound(doing, ref)
	}
	seen := harden.ObjectPreview{Before: before, UID: uid, ResourceVersion: version}
	if seen.After, err = edit(before); err != nil || seen.After.Equal(before) {
		return seen, err
	}
	want, err := c.enterWith(ctx, doing, ref, seen.After.Data)
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	defer c.mu.Unlock()
	seen.After.Data, err = want.Normal().YAML()
	return seen, err
}

// Create makes an object that must not exist.
func (c *Cluster) Create(ctx context.Context, ref harden.ObjectRef, yaml []byte) (uid, resourceVersion string, err error) {
	const doing = "creating"
	want, err := c.enterWith(ctx, doing, ref, yaml)
	if err != nil {
		return "", "", err
	}
	defer c.mu.Unlock()
	if _, exists := c.records[ref]; exists {
		return "", "", &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Exists, Cause: errors.New("it exists already")}
	}
	stored := c.store(want, slices.Sorted(maps.Keys(fields(want))))
	return stored.Meta("uid"), stored.Meta("resourceVersion"), nil
}

// Replace gives the object that has this UID and resource version the content of the YAML, exactly.
func (c *Cluster) Replace(ctx context.Context, ref harden.ObjectRef, yaml []byte, uid, resourceVersion string) (newVersion string, err error) {
	const doing = "replacing"
	want, err := c.enterWith(ctx, doing, ref, yaml)
	if err != nil {
		return "", err
	}
	defer c.mu.Unlock()
	if err := c.check(doing, ref, uid, resourceVersion); err != nil {
		return "", err
	}
	live := c.records[ref]
	before, after := fields(live.Object), fields(want)
	var ours []string
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if slices.Contains(live.Ours, path) || !reflect.DeepEqual(before[path], after[path]) {
			ours = append(ours, path)
		}
	}
	return c.store(live.Object.With(want), ours).Meta("resourceVersion"), nil
}

// Delete removes the object that has this UID and resource version.
func (c *Cluster) Delete(ctx context.Context, ref harden.ObjectRef, uid, resourceVersion string) error {
	const doing = "deleting"
	if err := c.enter(ctx, doing); err != nil {
		return err
	}
	defer c.mu.Unlock()
	if err := c.check(doing, ref, uid, resourceVersion); err != nil {
		return err
	}
	delete(c.records, ref)
	c.version++
	return nil
}

// enterWith takes the lock if the YAML is an object that the server takes.
func (c *Cluster) enterWith(ctx context.Context, doing string, ref harden.ObjectRef, yaml []byte) (objects.Object, error) {
	if err := c.enter(ctx, doing); err != nil {
		return nil, err
	}
	_, err := objects.Expect(ref, yaml)
	if err != nil {
		c.mu.Unlock()
		return nil, refused(doing, ref, err)
	}
	want, err := c.admit(doing, yaml)
	if err != nil {
		c.mu.Unlock()
	}
	return want, err
}

func (c *Cluster) check(doing string, ref harden.ObjectRef, uid, version string) error {
	live, ok := c.records[ref]
	if !ok {
		return notFound(doing, ref)
	}
	if uid != live.Object.Meta("uid") || version != live.Object.Meta("resourceVersion") {
		return &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Changed, Cause: errors.New("it has changed since")}
	}
	return nil
}

// merged is server-side apply: our fields become those that are wanted, others' stay; a value that somebody else holds
// and that is wanted otherwise is a conflict.
func (c *Cluster) merged(doing string, want objects.Object) (objects.Object, error) {
	ref := want.Ref()
	live, exists := c.records[ref]
	if !exists {
		return want, nil
	}
	wanted, now := fields(want), fields(live.Object)
	for _, path := range slices.Sorted(maps.Keys(wanted)) {
		held, there := now[path]
		if there && !slices.Contains(live.Ours, path) && !reflect.DeepEqual(held, wanted[path]) {
			return nil, &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Contested,
				Cause: fmt.Errorf("somebody else has set %s", path)}
		}
	}
	for _, path := range live.Ours {
		delete(now, path)
	}
	maps.Copy(now, wanted)
	return live.Object.With(fromFields(ref, now)), nil
}

// store keeps an object as its newest version.
func (c *Cluster) store(o objects.Object, ours []string) objects.Object {
	c.version++
	server := map[string]any{"resourceVersion": strconv.Itoa(c.version)}
	if o.Meta("uid") == "" {
		server["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012d", c.version)
	}
	o = o.WithMeta(server)
	c.records[o.Ref()] = record{Object: o, Ours: ours}
	return o
}

func (c *Cluster) refs() []harden.ObjectRef {
	return slices.SortedFunc(maps.Keys(c.records), func(a, b harden.ObjectRef) int {
		key := func(r harden.ObjectRef) string { return strings.Join([]string{r.Kind, r.Namespace, r.Name}, "\x00") }
		return strings.Compare(key(a), key(b))
	})
}

// fields are the parts of an object that can have an owner of their own, by path.
func fields(o objects.Object) map[string]any {
	out := map[string]any{}
	for top, v := range o.Normal() {
		switch m, isMap := v.(map[string]any); {
		case top == "apiVersion" || top == "kind":
		case top == "metadata":
			for _, group := range []string{"labels", "annotations"} {
				entries, _ := m[group].(map[string]any)
				for k, v := range entries {
					out[group+"\x00"+k] = v
				}
			}
		case isMap:
			for k, v := range m {
				out[top+"\x00"+k] = v
			}
		}
	}
	return out
}

func fromFields(ref harden.ObjectRef, fields map[string]any) objects.Object {
	meta := map[string]any{"name": ref.Name}
	if ref.Namespace != "" {
		meta["namespace"] = ref.Namespace
	}
	o := objects.Object{"apiVersion": ref.APIVersion, "kind": ref.Kind, "metadata": meta}
	for path, v := range fields {
		top, key, _ := strings.Cut(path, "\x00")
		parent := map[string]any(o)
		if top == "labels" || top == "annotations" {
			parent = meta
		}
		group, ok := parent[top].(map[string]any)
		if !ok {
			group = map[string]any{}
			parent[top] = group
		}
		group[key] = v
	}
	return o
}
