// Package scheduler holds the controls of the scheduler, as data.
package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/staticpod"
)

// Area is the scheduler's controls in walking order.
func Area() harden.Area {
	return harden.Area{
		ID:    "scheduler",
		Title: "Scheduler",
		About: harden.Msg("The scheduler decides on which node a pod runs. These controls look at the flags that it runs with, and at its configuration file where it has one: some flags do not count then."),
		Controls: slices.Concat(
			pod.Manifest(),
			[]harden.Control{profiling, pod.Bind(10259, harden.Refs{CIS: []string{"1.4.2"}, STIG: []string{"V-242384"}, Docs: []string{flagsPage}})},
			pod.TLS(
				harden.Refs{STIG: []string{"V-242377"}, NSA: []string{"Use of TLS 1.2 or later"}, Docs: []string{flagsPage}},
				harden.Refs{NSA: []string{"Use of TLS 1.2 or later"}, Docs: []string{flagsPage}},
			),
			[]harden.Control{pod.Alpha(harden.Refs{STIG: []string{"V-242400"}, Docs: []string{gatesPage}})},
			pod.Removed(harden.Refs{Docs: []string{flagsPage}}, harden.Refs{}),
		),
	}
}

var pod = staticpod.Pod{Component: harden.Scheduler, Area: "scheduler", Name: "the scheduler"}

const (
	flagsPage  = "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-scheduler/"
	gatesPage  = "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/"
	configPage = "https://kubernetes.io/docs/reference/config-api/kube-scheduler-config.v1/"

	profilingFlag = "profiling"
	configFlag    = "config"
	profilingKey  = "enableProfiling"
)

var profiling = harden.Control{
	ID:    "scheduler-profiling",
	Title: "Profiling is off",
	Why: harden.Msg("Profiles under /debug/pprof show what the scheduler does and holds in memory, and taking one costs it processor time. " +
		"They are for debugging the scheduler itself, yet they are on by default. " +
		"With a configuration file the flag is ignored, and the field enableProfiling counts; scanners look at the flag alone."),
	Refs:     harden.Refs{CIS: []string{"1.4.1"}, Docs: []string{flagsPage, configPage}},
	Severity: harden.Low, Component: harden.Scheduler, Flags: []string{profilingFlag, configFlag},
	Needs:   []harden.Need{harden.NeedScheduler},
	Applies: harden.RunsHere(harden.Scheduler),
	Assess:  assessProfiling,
	Remedies: []harden.Remedy{{
		ID: "off", Title: harden.Msg("Turn profiling off, where it counts"), Risk: harden.RiskNode, Impact: pod.Restarts(),
		Breaks: []harden.Message{
			harden.Msg("Profilers that read /debug/pprof of the scheduler get 404 Not Found. Nothing else uses it."),
			harden.Msg("Where the configuration file counts, scanners that know only the flag go on reporting it."),
		},
		Intents: profilingIntents,
		Proofs: func(*harden.Facts, harden.Values) []harden.Proof {
			return []harden.Proof{harden.NoProfiles("scheduler-profiling", harden.Scheduler)}
		},
	}},
}

// configuration is what counts here of a KubeSchedulerConfiguration.
type configuration struct {
	APIVersion      string `json:"apiVersion"`
	Kind            string `json:"kind"`
	EnableProfiling *bool  `json:"enableProfiling"`
}

func parseConfig(data []byte) (configuration, error) {
	var c configuration
	if err := harden.ReadYAML(data, &c); err != nil {
		return c, fmt.Errorf("it cannot be read: %w", err)
	}
	if c.Kind != "KubeSchedulerConfiguration" || !strings.HasPrefix(c.APIVersion, "kubescheduler.config.k8s.io/") {
		return c, fmt.Errorf("it is no KubeSchedulerConfiguration")
	}
	return c, nil
}

func assessProfiling(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.Scheduler)
	flag, config := c.Flag(profilingFlag), c.Flag(configFlag)
	if config.Last() != "" {
		return assessConfig(f, config)
	}
	seen := flag.Evidence(profilingFlag)
	if on, err := strconv.ParseBool(flag.Last()); flag.Set && err == nil && !on {
		return harden.Passed(harden.Msg("profiling is off"), seen)
	}
	return harden.Failed(harden.Msg("profiles are served under /debug/pprof"), seen)
}

func assessConfig(f *harden.Facts, flag harden.FlagFact) harden.Verdict {
	seen := flag.Evidence(configFlag)
	file := f.Referred(harden.Scheduler, flag.Last())
	switch {
	case !file.Mounted:
		return harden.Failed(harden.Msg("no mount shows %s to the scheduler, which needs it to start", flag.Last()), seen)
	case !file.Unread.IsZero():
		return harden.NeedsPerson(harden.Msg("%s could not be read: %s", file.Path, file.Unread), seen)
	case !file.Known:
		return harden.NeedsPerson(harden.Msg("what %s says is not known here; look at it", file.Path), seen)
	case !file.State.Exists:
		return harden.Failed(harden.Msg("%s does not exist, and the scheduler needs it to start", file.Path), seen)
	}
	config, err := parseConfig(file.State.Data)
	if err != nil {
		return harden.NeedsPerson(harden.Msg("%s cannot be judged here: %s", file.Path, err), seen)
	}
	switch {
	case config.EnableProfiling == nil:
		return harden.Failed(harden.Msg("profiles are served under /debug/pprof: %s says nothing, and a flag does not count beside it", file.Path),
			seen, harden.Evidence{Source: file.Path, Value: profilingKey + " is not set"})
	case *config.EnableProfiling:
		return harden.Failed(harden.Msg("profiles are served under /debug/pprof"), seen, harden.Evidence{Source: file.Path, Value: profilingKey + ": true"})
	}
	return harden.Passed(harden.Msg("profiling is off"), seen, harden.Evidence{Source: file.Path, Value: profilingKey + ": false"})
}

func profilingIntents(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
	c := f.Component(harden.Scheduler)
	config := c.FileFlag(configFlag)
	if config.Last() == "" {
		return []harden.Intent{harden.SetFlag(harden.Scheduler, profilingFlag, "false")}, nil
	}
	file := f.Referred(harden.Scheduler, config.Last())
	if !file.Known || !file.State.Exists {
		return nil, fmt.Errorf("the scheduler's configuration %s is not known here; set %s to false in it by hand", config.Last(), profilingKey)
	}
	if _, err := parseConfig(file.State.Data); err != nil {
		return nil, fmt.Errorf("%s cannot be edited: %w", file.Path, err)
	}
	return []harden.Intent{harden.SetField(file.Path, profilingKey, false, harden.Scheduler)}, nil
}
