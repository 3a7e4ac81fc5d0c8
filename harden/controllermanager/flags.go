package controllermanager

import (
	"fmt"
	"slices"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/gates"
)

var flagControls = []harden.Control{
	{
		ID:    "controllermanager-profiling",
		Title: "Profiling is off",
		Why: harden.Msg("Profiles under /debug/pprof show what the controller manager does and holds in memory, and taking one costs it processor time. " +
			"They are for debugging the controller manager itself, yet they are on by default."),
		Refs:     harden.Refs{CIS: []string{"1.3.2"}, STIG: []string{"V-242409"}, Docs: []string{flagsPage}},
		Severity: harden.Low, Component: harden.ControllerManager, Flags: []string{"profiling"},
		Needs: needs, Applies: applies,
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(harden.ControllerManager).Flag("profiling")
			if flagIs(flag, false, true) {
				return harden.Passed(harden.Msg("profiling is off"), flag.Evidence("profiling"))
			}
			return harden.Failed(harden.Msg("profiles are served under /debug/pprof"), flag.Evidence("profiling"))
		},
		Remedies: []harden.Remedy{{
			ID: "off", Title: harden.Msg("Turn profiling off"), Risk: harden.RiskNode, Impact: pod.Restarts(),
			Breaks: []harden.Message{harden.Msg("Profilers that read /debug/pprof of the controller manager get 404 Not Found. Nothing else uses it.")},
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.SetFlag(harden.ControllerManager, "profiling", "false")}, nil
			},
			Proofs: func(*harden.Facts, harden.Values) []harden.Proof {
				return []harden.Proof{harden.NoProfiles("controllermanager-profiling", harden.ControllerManager)}
			},
		}},
	},
	{
		ID:    "controllermanager-terminated-pod-gc-threshold",
		Title: "Finished pods are removed before they are too many",
		Why: harden.Msg("Pods that have succeeded or failed are kept until there are more than this many in the whole cluster, 12500 unless set. " +
			"Thousands of them make lists slow and fill etcd; a few hundred are enough to look at. " +
			"The sample value of benchmarks, 10, removes the pods of Jobs with their logs almost as soon as they end."),
		Refs:     harden.Refs{CIS: []string{"1.3.1"}, Docs: []string{flagsPage}},
		Severity: harden.Low, Component: harden.ControllerManager, Flags: []string{gcFlag},
		Needs: needs, Applies: applies, Assess: assessGC,
		Remedies: []harden.Remedy{{
			ID: "threshold", Title: harden.Msg("Set how many finished pods are kept"), Risk: harden.RiskWorkloads, Impact: pod.Restarts(),
			Breaks: []harden.Message{
				harden.Msg("Finished pods beyond the threshold are removed, the oldest first, and their logs with them: Jobs stay, kubectl logs of their pods says \"not found\". It shows soon after the restart where there are more of them now."),
			},
			Options: []harden.Option{{
				Name: "threshold", Title: harden.Msg("Finished pods that are kept in the whole cluster"), Kind: harden.OptionNumber, Default: "1000", Unit: "pods",
				Check: func(v string) error {
					if n, err := strconv.Atoi(v); err != nil || n < least || n > byDefault {
						return fmt.Errorf("%q is not between %d and %d pods", v, least, byDefault)
					}
					return nil
				},
			}},
			Intents: func(_ *harden.Facts, v harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.SetFlag(harden.ControllerManager, gcFlag, v["threshold"])}, nil
			},
		}},
	},
	{
		ID:    "controllermanager-use-service-account-credentials",
		Title: "Each controller has a service account of its own",
		Why: harden.Msg("With the flag every controller acts as a service account of its own, which has only the rights of its task. " +
			"Without it all of them act as one user, so that a bug in one can do what any of them may, and the audit log cannot tell them apart. kubeadm sets it."),
		Refs:     harden.Refs{CIS: []string{"1.3.3"}, STIG: []string{"V-242381"}, Docs: []string{flagsPage}},
		Severity: harden.Medium, Component: harden.ControllerManager, Flags: []string{accountFlag},
		Needs: needs, Applies: applies,
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(harden.ControllerManager).Flag(accountFlag)
			if flagIs(flag, true, false) {
				return harden.Passed(harden.Msg("each controller acts as itself"), flag.Evidence(accountFlag))
			}
			return harden.Failed(harden.Msg("all controllers act as one user"), flag.Evidence(accountFlag))
		},
		Remedies: []harden.Remedy{{
			ID: "on", Title: harden.Msg("Let each controller act as a service account of its own"), Risk: harden.RiskWorkloads, Impact: pod.Restarts(),
			Breaks: []harden.Message{
				harden.Msg("Where somebody removed the roles system:controller:... or their bindings, the controller concerned gets 403 Forbidden and stops doing its work: it shows in the controller manager's log."),
				harden.Msg("Controllers of vendors that are built into the controller manager may lack a role."),
			},
			Preconditions: rolesExist,
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.SetFlag(harden.ControllerManager, accountFlag, "true")}, nil
			},
		}},
	},
	{
		ID:    "controllermanager-service-account-private-key-file",
		Title: "The key that signs tokens of service accounts is given",
		Why: harden.Msg("Tokens in Secrets of service accounts are signed with this key, and the API server checks them with the public half. " +
			"Without the flag such Secrets stay empty. kubeadm sets it."),
		Refs:     harden.Refs{CIS: []string{"1.3.4"}, Docs: []string{flagsPage}},
		Severity: harden.Medium, Component: harden.ControllerManager, Flags: []string{keyFlag},
		Needs: needs, Applies: applies,
		Assess: func(f *harden.Facts) harden.Verdict {
			return assessFile(f, keyFlag, harden.Msg("tokens in Secrets are not signed"))
		},
		Remedies: []harden.Remedy{fileRemedy(keyFlag, keyFile, harden.Msg("Sign tokens with the key that kubeadm made"), harden.Msg("Secrets of the type kubernetes.io/service-account-token that stayed empty get their tokens. Tokens of pods are signed by the API server and are not concerned."))},
	},
	{
		ID:    "controllermanager-root-ca-file",
		Title: "Pods are given the CA of the API server",
		Why: harden.Msg("The controller manager publishes this file in the ConfigMap kube-root-ca.crt of every namespace and in Secrets of service accounts. " +
			"Pods that lack it cannot tell the API server from an impostor. kubeadm sets it."),
		Refs:     harden.Refs{CIS: []string{"1.3.5"}, STIG: []string{"V-242421"}, Docs: []string{flagsPage}},
		Severity: harden.Medium, Component: harden.ControllerManager, Flags: []string{rootCAFlag},
		Needs: needs, Applies: applies,
		Assess: func(f *harden.Facts) harden.Verdict {
			return assessFile(f, rootCAFlag, harden.Msg("the CA for pods is left to the controller manager's own credentials"))
		},
		Remedies: []harden.Remedy{fileRemedy(rootCAFlag, rootCAFile, harden.Msg("Publish the cluster's CA"), harden.Msg("Where another CA was published before, pods get the cluster's at their next start; clients that were made to trust another one must be told."))},
	},
	{
		ID:    "controllermanager-rotate-kubelet-server-certificate",
		Title: "Requests of kubelets for serving certificates are not turned off",
		Why: harden.Msg("The feature gate RotateKubeletServerCertificate lets kubelets ask for new serving certificates before theirs end. It is on by default in every supported release. " +
			"Setting it to true, as benchmarks have it, changes nothing now and keeps the controller manager from starting once the gate is removed upstream; so only a gate that is set to false is wrong."),
		Refs: harden.Refs{CIS: []string{"1.3.6"}, Docs: []string{
			flagsPage, "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/",
		}},
		Severity: harden.Medium, Component: harden.ControllerManager, Flags: []string{gatesFlag},
		Needs: needs, Applies: applies,
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(harden.ControllerManager).Flag(gatesFlag)
			switch on, by := gates.Turned(rotateGate, gates.Entries(flag.List())); {
			case !on && by == rotateGate:
				return harden.Failed(harden.Msg("the gate %s is turned off", rotateGate), flag.Evidence(gatesFlag))
			case !on:
				return harden.Failed(harden.Msg("%s=false turns the gate %s off, with all others of its stage that are not set by name", by, rotateGate), flag.Evidence(gatesFlag))
			}
			return harden.Passed(harden.Msg("nothing turns the gate %s off, and it is on by default", rotateGate), flag.Evidence(gatesFlag))
		},
		Remedies: []harden.Remedy{{
			ID: "default", Title: harden.Msg("Take the gate away, so that its default counts"), Risk: harden.RiskNode, Impact: pod.Restarts(),
			Breaks: []harden.Message{harden.Msg("Nothing that works now stops. Kubelets with serverTLSBootstrap can renew their serving certificates, which somebody has to approve.")},
			Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
				flag := f.Component(harden.ControllerManager).FileFlag(gatesFlag)
				off := turnedOff(flag)
				if len(off) == 0 {
					_, by := gates.Turned(rotateGate, gates.Entries(flag.List()))
					return nil, fmt.Errorf("%s=false turns off other gates too: take it out of --%s by hand, or set %s=true beside it", by, gatesFlag, rotateGate)
				}
				if len(off) == len(flag.List()) {
					return []harden.Intent{harden.RemoveFlag(harden.ControllerManager, gatesFlag)}, nil
				}
				return []harden.Intent{harden.MergeList(harden.ControllerManager, gatesFlag, nil, off)}, nil
			},
		}},
	},
}

// Finished pods: what the program keeps unless told otherwise, and the least that a remedy sets.
const (
	byDefault = 12500
	least     = 100
)

func assessGC(f *harden.Facts) harden.Verdict {
	flag := f.Component(harden.ControllerManager).Flag(gcFlag)
	seen := flag.Evidence(gcFlag)
	if !flag.Set {
		return harden.Failed(harden.Msg("nothing is set: %d finished pods are kept", byDefault), seen)
	}
	n, err := strconv.Atoi(flag.Last())
	switch {
	case err != nil:
		return harden.Failed(harden.Msg("%q is not a number of pods", flag.Last()), seen)
	case n <= 0:
		return harden.Failed(harden.Msg("%d means that finished pods are never removed", n), seen)
	case n < least:
		return harden.NeedsPerson(harden.Msg("only %d finished pods are kept in the whole cluster: those of Jobs go, with their logs, almost as soon as they end; decide whether that is meant", n), seen)
	}
	return harden.Passed(harden.Msg("at most %d finished pods are kept", n), seen)
}

// turnedOff are the entries of --feature-gates that turn the rotation off by its own name.
func turnedOff(flag harden.FlagFact) []string {
	return slices.DeleteFunc(flag.List(), func(entry string) bool {
		name, value := gates.Entry(entry)
		on, err := strconv.ParseBool(value)
		return name != rotateGate || err == nil && on
	})
}

func assessFile(f *harden.Facts, flag string, without harden.Message) harden.Verdict {
	c := f.Component(harden.ControllerManager)
	fact := c.Flag(flag)
	seen := fact.Evidence(flag)
	if fact.Last() == "" {
		return harden.Failed(without, seen)
	}
	if _, mounted := c.HostPath(fact.Last()); !mounted {
		return harden.Failed(harden.Msg("no mount shows %s to the controller manager", fact.Last()), seen)
	}
	return harden.Passed(harden.Msg("it is %s", fact.Last()), seen)
}

// fileRemedy sets a flag to the file that kubeadm made for it.
func fileRemedy(flag, file string, title, breaks harden.Message) harden.Remedy {
	return harden.Remedy{
		ID: "kubeadm-file", Title: title, Risk: harden.RiskWorkloads, Impact: pod.Restarts(), Breaks: []harden.Message{breaks},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			c := f.Component(harden.ControllerManager)
			if fact := c.FileFlag(flag); fact.Last() != "" && fact.Last() != file {
				return nil, fmt.Errorf("--%s names %s, which no mount shows to the controller manager; mount it in the manifest by hand", flag, fact.Last())
			}
			if _, mounted := c.HostPath(file); !mounted {
				return nil, fmt.Errorf("%s is not mounted into the controller manager; mount it in the manifest by hand first", file)
			}
			return []harden.Intent{harden.SetFlag(harden.ControllerManager, flag, file)}, nil
		},
	}
}

// rolesExist: the API server makes the controllers' roles anew at its start where RBAC is on.
func rolesExist(f *harden.Facts, _ harden.Values) []harden.Precondition {
	pre := harden.Precondition{
		ID: "roles-exist", Title: harden.Msg("every controller has its role"), State: harden.PreconditionUnknown,
		Message: harden.Msg("the API server of this node is not known"),
	}
	c := f.Component(harden.APIServer)
	if c == nil {
		return []harden.Precondition{pre}
	}
	flag := c.Flag("authorization-mode")
	pre.Evidence = []harden.Evidence{flag.Evidence("authorization-mode")}
	switch {
	case flag.Has("RBAC"):
		pre.State, pre.Message = harden.Met, harden.Msg("RBAC is on, and the API server makes the roles system:controller:... at every start")
	case flag.Set:
		pre.State, pre.Message = harden.Unmet, harden.Msg("RBAC is not among the authorization modes, so that nothing grants controllers what they need")
	}
	return []harden.Precondition{pre}
}
