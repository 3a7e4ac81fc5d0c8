package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// Object gives an object in its normal form (see objects.Object.Normal), or that it does not exist.
func (c *Client) Object(ctx context.Context, ref harden.ObjectRef) (s harden.State, uid, resourceVersion string, err error) {
	live, err := c.live(ctx, "reading", ref)
	var fault *objects.Error
	if errors.As(err, &fault) && fault.NotFound() {
		return harden.State{}, "", "", nil
	}
	if err != nil {
		return harden.State{}, "", "", err
	}
	data, err := live.Normal().YAML()
	if err != nil {
		return harden.State{}, "", "", c.fault("reading", ref.String(), err)
	}
	return harden.State{Exists: true, Data: data}, live.Meta("uid"), live.Meta("resourceVersion"), nil
}

// DryRun gives what the server would make of an object if it were applied, in the normal form, writing nothing. UID and
// resource version are those of the object as it is now, empty when it would be made.
func (c *Client) DryRun(ctx context.Context, yaml []byte) (after []byte, uid, resourceVersion string, err error) {
	const doing = "trying to apply"
	want, err := objects.Decode(yaml)
	if err != nil {
		return nil, "", "", &objects.Error{Doing: doing, Subject: "the object", Reason: objects.Refused, Cause: err}
	}
	got, made, err := c.tryApply(ctx, doing, want)
	if err != nil {
		return nil, "", "", err
	}
	if after, err = got.Normal().YAML(); err != nil {
		return nil, "", "", c.fault(doing, want.Ref().String(), err)
	}
	if made {
		return after, "", "", nil
	}
	return after, got.Meta("uid"), got.Meta("resourceVersion"), nil
}

// Preview gives an object as it is and as the server would make it. It fails when the object changes in between.
func (c *Client) Preview(ctx context.Context, ref harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error) {
	const doing = "trying to apply"
	if _, err := objects.Expect(ref, yaml); err != nil {
		return harden.ObjectPreview{}, &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Refused, Cause: err}
	}
	before, uid, version, err := c.Object(ctx, ref)
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	after, afterUID, afterVersion, err := c.DryRun(ctx, yaml)
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	if uid != afterUID || version != afterVersion {
		return harden.ObjectPreview{}, &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Changed,
			Cause: errors.New("it changed while it was looked at")}
	}
	return harden.ObjectPreview{
		Before: before, After: harden.State{Exists: true, Data: after}, UID: uid, ResourceVersion: version,
	}, nil
}

// Edited gives an object as it is, and what the server would make of it if it were replaced by what edit makes of that. It
// is what Replace does, as a dry run.
func (c *Client) Edited(ctx context.Context, ref harden.ObjectRef, edit func(harden.State) (harden.State, error)) (harden.ObjectPreview, error) {
	const doing = "trying to replace"
	live, err := c.live(ctx, doing, ref)
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	before, err := live.Normal().YAML()
	if err != nil {
		return harden.ObjectPreview{}, c.fault(doing, ref.String(), err)
	}
	seen := harden.ObjectPreview{Before: harden.State{Exists: true, Data: before}, UID: live.Meta("uid"), ResourceVersion: live.Meta("resourceVersion")}
	if seen.After, err = edit(seen.Before); err != nil || seen.After.Equal(seen.Before) {
		return seen, err
	}
	want, err := precise(doing, ref, seen.After.Data, seen.UID, seen.ResourceVersion)
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	got, _, err := c.write(ctx, doing, ref, http.MethodPut, "application/json", live.With(want), url.Values{
		"fieldManager": {FieldManager}, "fieldValidation": {"Strict"}, "dryRun": {metav1.DryRunAll},
	})
	if err != nil {
		return harden.ObjectPreview{}, err
	}
	if seen.After.Data, err = got.Normal().YAML(); err != nil {
		return harden.ObjectPreview{}, c.fault(doing, ref.String(), err)
	}
	return seen, nil
}

// Create makes an object that must not exist.
func (c *Client) Create(ctx context.Context, ref harden.ObjectRef, yaml []byte) (uid, resourceVersion string, err error) {
	const doing = "creating"
	want, err := objects.Expect(ref, yaml)
	if err != nil {
		return "", "", &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Refused, Cause: err}
	}
	got, _, err := c.write(ctx, doing, ref, http.MethodPost, "application/json", want.Normal(), url.Values{
		"fieldManager": {FieldManager}, "fieldValidation": {"Strict"},
	})
	if err != nil {
		return "", "", err
	}
	return got.Meta("uid"), got.Meta("resourceVersion"), nil
}

// TrialWrite asks the server to make an object, which it checks as any other and does not keep.
func (c *Client) TrialWrite(ctx context.Context) error {
	_, err := c.do(ctx, request{
		doing: "trying a write", subject: "a ConfigMap in kube-system", verb: http.MethodPost, path: []string{"/api/v1/namespaces/kube-system/configmaps"},
		query: url.Values{"dryRun": {metav1.DryRunAll}, "fieldManager": {FieldManager}}, media: "application/json",
		body: []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"kubectl-harden-"}}`),
	}, nil)
	return err
}

// Allowed asks for an access review, which the server does not keep: may this user, in these groups and no others, do that in all
// namespaces? Access is a verb, a resource as kubectl names it, and a name or none: "patch nodes/status cp1".
func (c *Client) Allowed(ctx context.Context, user string, groups []string, access string) (bool, error) {
	const doing = "asking for an access review"
	verb, what, _ := strings.Cut(access, " ")
	what, name, _ := strings.Cut(what, " ")
	what, subresource, _ := strings.Cut(what, "/")
	resource, group, _ := strings.Cut(what, ".")
	attributes := map[string]any{"verb": verb, "resource": resource, "group": group, "subresource": subresource, "name": name}
	spec := map[string]any{"user": user, "resourceAttributes": attributes}
	if len(groups) > 0 {
		spec["groups"] = groups
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
	if err != nil {
		return false, c.fault(doing, user, err)
	}
	var review struct {
		Status *struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	if _, err := c.do(ctx, request{
		doing: doing, subject: user, verb: http.MethodPost, path: []string{"/apis/authorization.k8s.io/v1/subjectaccessreviews"},
		media: "application/json", body: body,
	}, &review); err != nil {
		return false, err
	}
	if review.Status == nil {
		return false, c.fault(doing, user, errors.New("the answer has no status"))
	}
	return review.Status.Allowed, nil
}

// Replace gives the object that has this UID and resource version the labels, annotations and content of the YAML, exactly;
// owners, finalizers and status stay.
func (c *Client) Replace(ctx context.Context, ref harden.ObjectRef, yaml []byte, uid, resourceVersion string) (newVersion string, err error) {
	const doing = "replacing"
	want, err := precise(doing, ref, yaml, uid, resourceVersion)
	if err != nil {
		return "", err
	}
	live, err := c.live(ctx, doing, ref)
	if err != nil {
		return "", err
	}
	if live.Meta("uid") != uid || live.Meta("resourceVersion") != resourceVersion {
		return "", &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Changed, Cause: errors.New("it has changed since")}
	}
	got, _, err := c.write(ctx, doing, ref, http.MethodPut, "application/json", live.With(want), url.Values{
		"fieldManager": {FieldManager}, "fieldValidation": {"Strict"},
	})
	if err != nil {
		return "", err
	}
	return got.Meta("resourceVersion"), nil
}

// Delete removes the object that has this UID and resource version.
func (c *Client) Delete(ctx context.Context, ref harden.ObjectRef, uid, resourceVersion string) error {
	const doing = "deleting"
	if err := checkPreconditions(doing, ref, uid, resourceVersion); err != nil {
		return err
	}
	path, err := c.path(ctx, doing, ref)
	if err != nil {
		return err
	}
	body, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: &metav1.Preconditions{UID: (*types.UID)(&uid), ResourceVersion: &resourceVersion},
	})
	if err != nil {
		return c.fault(doing, ref.String(), err)
	}
	_, err = c.do(ctx, request{
		doing: doing, subject: ref.String(), verb: http.MethodDelete, path: []string{path}, media: "application/json", body: body,
	}, nil)
	return err
}

func precise(doing string, ref harden.ObjectRef, yaml []byte, uid, version string) (objects.Object, error) {
	if err := checkPreconditions(doing, ref, uid, version); err != nil {
		return nil, err
	}
	want, err := objects.Expect(ref, yaml)
	if err != nil {
		return nil, &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Refused, Cause: err}
	}
	return want.Normal(), nil
}

// checkPreconditions refuses empty ones, which the API would take for none.
func checkPreconditions(doing string, ref harden.ObjectRef, uid, version string) error {
	if uid == "" || version == "" {
		return &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.Changed, Cause: errors.New("which one is meant is not known")}
	}
	return nil
}

func (c *Client) live(ctx context.Context, doing string, ref harden.ObjectRef) (objects.Object, error) {
	path, err := c.path(ctx, doing, ref)
	if err != nil {
		return nil, err
	}
	var live objects.Object
	_, err = c.do(ctx, request{doing: doing, subject: ref.String(), verb: http.MethodGet, path: []string{path}}, &live)
	return live, err
}

// tryApply is a dry run of server-side apply. A conflict with fields that we hold ourselves, by an earlier create or replace, is
// none.
func (c *Client) tryApply(ctx context.Context, doing string, o objects.Object) (got objects.Object, made bool, err error) {
	query := url.Values{"fieldManager": {FieldManager}, "fieldValidation": {"Strict"}, "dryRun": {metav1.DryRunAll}}
	got, status, err := c.write(ctx, doing, o.Ref(), http.MethodPatch, string(types.ApplyYAMLPatchType), o, query)
	if onlyOurs(err) {
		query.Set("force", "true")
		got, status, err = c.write(ctx, doing, o.Ref(), http.MethodPatch, string(types.ApplyYAMLPatchType), o, query)
	}
	return got, status == http.StatusCreated, err
}

// onlyOurs says that server-side apply met no other field manager than ourselves.
func onlyOurs(err error) bool {
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	causes := status.Status().Details.Causes
	return len(causes) > 0 && !slices.ContainsFunc(causes, func(cause metav1.StatusCause) bool {
		return cause.Type != metav1.CauseTypeFieldManagerConflict ||
			!strings.HasPrefix(cause.Message, fmt.Sprintf("conflict with %q", FieldManager))
	})
}

func (c *Client) write(ctx context.Context, doing string, ref harden.ObjectRef, verb, media string, o objects.Object, query url.Values) (objects.Object, int, error) {
	path, err := c.path(ctx, doing, ref)
	if err != nil {
		return nil, 0, err
	}
	if verb == http.MethodPost {
		path = strings.TrimSuffix(path, "/"+ref.Name)
	}
	body, err := json.Marshal(o)
	if err != nil {
		return nil, 0, c.fault(doing, ref.String(), err)
	}
	var got objects.Object
	status, err := c.do(ctx, request{
		doing: doing, subject: ref.String(), verb: verb, path: []string{path}, query: query, media: media, body: body,
	}, &got)
	return got, status, err
}

// path of an object, by asking the server what its kind is called there.
func (c *Client) path(ctx context.Context, doing string, ref harden.ObjectRef) (string, error) {
	fail := func(reason objects.Reason, err error) error {
		return &objects.Error{Doing: doing, Subject: ref.String(), Reason: reason, Cause: err}
	}
	group := "/apis/" + ref.APIVersion
	if !strings.Contains(ref.APIVersion, "/") {
		group = "/api/" + ref.APIVersion
	}
	for _, part := range append(strings.Split(ref.APIVersion, "/"), ref.Name) {
		if err := objects.CheckSegment(part); err != nil {
			return "", fail(objects.Refused, err)
		}
	}
	var known metav1.APIResourceList
	_, err := c.do(ctx, request{doing: doing, subject: ref.String(), verb: http.MethodGet, path: []string{group}}, &known)
	var fault *objects.Error
	if errors.As(err, &fault) && fault.NotFound() {
		return "", fail(objects.Refused, fmt.Errorf("the server does not serve %s", ref.APIVersion))
	}
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(known.APIResources, func(r metav1.APIResource) bool {
		return r.Kind == ref.Kind && !strings.Contains(r.Name, "/")
	})
	if i < 0 {
		return "", fail(objects.Refused, fmt.Errorf("the server has no %s in %s", ref.Kind, ref.APIVersion))
	}
	resource := known.APIResources[i]
	if resource.Namespaced != (ref.Namespace != "") {
		return "", fail(objects.Refused, fmt.Errorf("namespaced is %t for %s", resource.Namespaced, ref.Kind))
	}
	if ref.Namespace == "" {
		return group + "/" + resource.Name + "/" + ref.Name, nil
	}
	if err := objects.CheckSegment(ref.Namespace); err != nil {
		return "", fail(objects.Refused, err)
	}
	return group + "/namespaces/" + ref.Namespace + "/" + resource.Name + "/" + ref.Name, nil
}
