package apply

import (
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
					s.Tail = append(s.Tail, "sysctl -w "+harden.Quote(k+"="+e.Prior[k]))
				}
			case e.Kind == harden.EffectUnit:
				c, _ := harden.ComponentByID(e.Component)
				s.Tail = append(s.Tail, "systemctl restart "+harden.Quote(c.Unit))
			}
		}
	}
	steps := p.Steps()
	for i := len(steps) - 1; i >= 0; i-- {
		if steps[i].Kind == harden.StepObject {
			s.Tail = append(s.Tail, objectBack(steps[i]))
		}
	}
	return s
}

// keysCheck stops a script that would take away a key, or what names it, that something newer may have encrypted with.
func keysCheck(p harden.Plan, st harden.Stage) []string {
	const needed = `grep -qs '"kind":"` + kindNoReturn + `"' "$here"/../*/journal.jsonl`
	stop := "what is in etcd may need a key: undo the newer transactions first, with kubectl-harden rollback; " +
		"KEYS=unneeded says that nothing there begins with " + harden.Encrypted
	made := st.KeysMade()
	if len(made) == 0 && (p.Undoes != "" || !harden.EncryptionAsked(st.Steps)) {
		return nil
	}
	out := []string{`if [ "${KEYS:-}" != unneeded ]; then`, "\tif " + needed + "; then stop " + harden.Quote(stop) + "; fi"}
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

// objectBack is the line that makes an object what it was.
func objectBack(s harden.Step) string {
	const kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf "
	ref := *s.Object
	switch {
	case !s.Before.Exists:
		cmd := kubectl + "delete --ignore-not-found " + harden.Quote(resource(ref)) + " " + harden.Quote(ref.Name)
		if ref.Namespace != "" {
			cmd += " -n " + harden.Quote(ref.Namespace)
		}
		return cmd
	case !s.After.Exists:
		return "printf %s " + harden.Quote(string(s.Before.Data)) + " | " + kubectl + "create -f -"
	}
	return "printf %s " + harden.Quote(string(s.Before.Data)) + " | " + kubectl + "replace -f -"
}

// resource names the kind in full ("networkpolicy.v1.networking.k8s.io"): others may have kinds of the same name.
func resource(ref harden.ObjectRef) string {
	group, version, ok := strings.Cut(ref.APIVersion, "/")
	if !ok {
		group, version = "", ref.APIVersion
	}
	return strings.ToLower(ref.Kind) + "." + version + "." + group
}
