package apply

import (
	"encoding/json"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// scriptFor are the lines that make restored files count, for the way out by hand (promise 17).
func scriptFor(p harden.Plan) Script {
	var s Script
	if p.Target.Offline {
		// Without a ROOT the files would be those of the system that looks after the disk. ROOT=/ says that it runs by now.
		s.Head = append(s.Head, `[ -n "$given" ] || stop "this transaction is of a root that was not running: ROOT=/mnt sh $0, or ROOT=/ sh $0 where it runs by now"`)
	}
	if p.Handover != nil && p.Handover.Obstacle.IsZero() {
		// The table is gone with the process that holds it; the second line is for a kernel that has kept it.
		s.Head = append(s.Head,
			"systemctl kill --signal=KILL "+harden.Quote(HandoverUnit)+" 2>/dev/null || :",
			"nft delete table inet "+harden.Quote(HandoverTable)+" 2>/dev/null || :")
	}
	if p.Filters() && !p.Target.Offline {
		s.Head = append(s.Head,
			"systemctl stop "+harden.Quote(harden.FilterUnit)+" 2>/dev/null || :",
			"nft delete table inet "+harden.FilterTable+" 2>/dev/null || :")
		// Rules that could not be brought back may be what keeps the operator out.
		s.Tail = append(s.Tail, "run systemctl daemon-reload",
			"if stays "+harden.Quote(harden.FilterRules)+"; then say 'the packet filter stays off, as its rules are not as before'",
			"elif [ -e "+harden.Quote(harden.FilterRules)+" ]; then run systemctl restart "+harden.Quote(harden.FilterUnit)+"; fi")
	}
	for _, st := range p.Stages {
		s.Check = append(s.Check, keysCheck(p, st)...)
		s.Tail = append(s.Tail, keysTail(st)...)
		for _, e := range st.Effects {
			switch {
			case p.Target.Offline && e.Kind == harden.EffectUnit:
				c, _ := harden.ComponentByID(e.Component)
				s.Tail = append(s.Tail, "say "+harden.Quote("it may run with the changed files: systemctl restart "+c.Unit))
			case p.Target.Offline:
			case e.Kind == harden.EffectSysctl:
				for _, k := range sortedKeys(e.Prior) {
					s.Tail = append(s.Tail, "run sysctl -w "+harden.Quote(k+"="+e.Prior[k]))
				}
			case e.Kind == harden.EffectUnit:
				c, _ := harden.ComponentByID(e.Component)
				s.Tail = append(s.Tail, "run systemctl restart "+harden.Quote(c.Unit))
			}
		}
	}
	objects := slices.DeleteFunc(p.Steps(), func(s harden.Step) bool { return s.Kind != harden.StepObject })
	if len(objects) > 0 {
		s.Tail = append(s.Tail, strings.Split(objectFuncs, "\n")...)
	}
	for _, o := range slices.Backward(objects) {
		s.Tail = append(s.Tail, objectBack(o)...)
	}
	return s
}

// keysCheck stops a script that would take away a key, or what names it, that something newer may have encrypted with.
func keysCheck(p harden.Plan, st harden.Stage) []string {
	const needed = `grep -qs '"kind":"` + kindNoReturn + `"' "$here"/../*/journal.jsonl`
	stop := "what is in etcd may need a key: undo the newer transactions first, with kubectl-harden rollback; " +
		"KEYS=unneeded says that nothing there begins with " + harden.Encrypted
	others := "stop " + harden.Quote("other control planes may write with a key that would go: undo it there first; "+
		"KEYS=unneeded says that none of them does, and that nothing in etcd begins with "+harden.Encrypted)
	made := st.KeysMade()
	if len(made) > 0 && st.Sharing != nil {
		return []string{`if [ "${KEYS:-}" != unneeded ]; then ` + others + "; fi"}
	}
	if len(made) == 0 && (p.Undoes != "" || !harden.EncryptionAsked(st.Steps)) {
		return nil
	}
	out := []string{`if [ "${KEYS:-}" != unneeded ]; then`, "\tif " + needed + "; then stop " + harden.Quote(stop) + "; fi"}
	if len(made) > 0 && !p.Target.Offline {
		// One that has joined since has a copy of the key.
		out = append(out, "\tn=$(kubectl --kubeconfig /etc/kubernetes/admin.conf get pods -n kube-system -l component=kube-apiserver -o name 2>/dev/null | wc -l)",
			"\tif [ \"$n\" -gt 1 ]; then "+others+"; fi")
	}
	for _, s := range made {
		out = append(out, "\tp=$ROOT"+harden.Quote(s.Path), "\tif [ -e \"$p\" ] && ! is \"$p\" "+s.After.Digest()+"; then stop "+harden.Quote(stop)+"; fi")
	}
	return append(out, "fi")
}

// keysTail says what files alone do not bring back. The keys stay, so that everything can be read until then.
func keysTail(st harden.Stage) []string {
	back := st.WayBack()
	if !st.NoReturn || back == nil {
		return nil
	}
	const kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf "
	what := strings.Join(back.Resources, ",")
	return []string{"say " + harden.Quote("once the API server answers, write everything anew, and keep the key file until then: "+
		kubectl+"get "+what+" -A -o json | "+kubectl+"replace -f -")}
}

// objectFuncs are what objectBack calls. A function that is asked by "if" runs on after what fails in it: each step is asked for,
// and one object that cannot be brought back does not keep the others from it.
const objectFuncs = `kubectl() { command kubectl --kubeconfig /etc/kubernetes/admin.conf "$@"; }
# left STATE WHY: the object is for whoever runs this to look at
left() {
	printf 'restore.sh: %s is left as it is: %s\n' "$now" "$2" >&2
	tell "$1" "$2"
	incomplete=yes
}
# returned HOW
returned() { tell 'as before' "$1${kept:+; what was there is in $here/$kept}"; }
# written: kubectl-harden changed this object, or may have; $made is the UID of one that it made
written() {
	made= kept=
	if [ ! -s "$here/journal.jsonl" ]; then return 0; fi
	entry=$(grep -F "$step" "$here/journal.jsonl" | tail -n 1)
	case $entry in
	'' | *'"failed":true'*) say "was not changed: $now"; tell 'as before' 'it was not changed'; return 1 ;;
	esac
	made=$(printf '%s\n' "$entry" | sed -n 's/.*"uid":"\([^"]*\)".*/\1/p')
}
# look KIND NAME [-n NAMESPACE]: $uid is the UID of what is there, or empty; what it holds is saved
look() {
	if ! uid=$(kubectl get --ignore-not-found -o 'jsonpath={.metadata.uid}' "$@"); then left unknown 'it cannot be looked at'; return 1; fi
	if [ -z "$uid" ]; then return 0; fi
	if ! mkdir -p "$here/kept" || ! kubectl get -o yaml "$@" >"$here/kept/object"; then left unknown 'what is there cannot be saved'; return 1; fi
	copy=kept/object-$(sum "$here/kept/object")
	if ! mv -f "$here/kept/object" "$here/$copy"; then left unknown 'what is there cannot be saved'; return 1; fi
	kept=$copy
	say "what is there as $now is saved in $here/$kept"
}
# remove_object KIND NAME [-n NAMESPACE]
remove_object() {
	if ! written || ! look "$@"; then return 0; fi
	if [ -z "$uid" ]; then
		returned 'it was so already'
	elif [ -z "$made" ]; then
		left unknown "whether kubectl-harden made it is not known; if it did: kubectl --kubeconfig /etc/kubernetes/admin.conf delete $*"
	elif [ "$uid" != "$made" ]; then
		left 'unlike both' 'it is another object of that name now'
	elif kubectl delete --ignore-not-found "$@"; then
		returned removed
	else
		left unknown 'it cannot be deleted'
	fi
}
# replace_object UID KIND NAME [-n NAMESPACE]: makes it hold $before
replace_object() {
	was=$1
	shift
	if ! written || ! look "$@"; then return 0; fi
	if [ -z "$uid" ]; then
		left 'unlike both' 'it is gone'
	elif [ "$uid" != "$was" ]; then
		left 'unlike both' 'it is another object of that name now'
	elif printf %s "$before" | kubectl replace -f -; then
		returned restored
	else
		left unknown 'it cannot be replaced'
	fi
}
# create_object UID KIND NAME [-n NAMESPACE]: makes one anew that holds $before, if that one was removed
create_object() {
	was=$1
	shift
	if ! written || ! look "$@"; then return 0; fi
	if [ -z "$uid" ]; then
		if mkdir -p "$here/kept" && uid=$(printf %s "$before" | kubectl create -f - -o 'jsonpath={.metadata.uid}'); then
			returned 'made anew'
			: >"$here/kept/made-$uid"
		else
			left 'as planned' 'it cannot be made anew'
		fi
	elif [ "$uid" != "$was" ] && [ ! -e "$here/kept/made-$uid" ]; then
		left 'unlike both' 'it is another object of that name now'
	else
		returned 'it was so already'
	fi
}`

// objectBack are the lines that make an object what it was, if it still is the one that was changed.
func objectBack(s harden.Step) []string {
	entry, _ := json.Marshal(objectEntry{Step: s.ID})
	step, _, _ := strings.Cut(string(entry), `"done"`)
	lines := []string{"now=" + harden.Quote(s.ID), "step=" + harden.Quote(`"kind":"`+kindObject+`","data":`+step)}
	named := harden.Quote(resource(*s.Object)) + " " + harden.Quote(s.Object.Name)
	if s.Object.Namespace != "" {
		named += " -n " + harden.Quote(s.Object.Namespace)
	}
	if !s.Before.Exists {
		return append(lines, "remove_object "+named)
	}
	back := "replace_object "
	if !s.After.Exists {
		back = "create_object "
	}
	return append(lines, "before="+harden.Quote(string(s.Before.Data)), back+harden.Quote(s.UID)+" "+named)
}

// resource names the kind in full ("networkpolicy.v1.networking.k8s.io"): others may have kinds of the same name.
func resource(ref harden.ObjectRef) string {
	group, version, ok := strings.Cut(ref.APIVersion, "/")
	if !ok {
		group, version = "", ref.APIVersion
	}
	return strings.ToLower(ref.Kind) + "." + version + "." + group
}
