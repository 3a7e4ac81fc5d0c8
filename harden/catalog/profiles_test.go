package catalog_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestProfilesNameWhatTheCatalogueHas(t *testing.T) {
	areas := catalog.Areas()
	for _, p := range catalog.Profiles() {
		if len(p.Controls(areas)) == 0 {
			t.Errorf("%s chooses nothing", p.ID)
		}
		for _, r := range p.Refused {
			if _, _, ok := harden.FindControl(areas, r.Control); r.Control != "" && !ok {
				t.Errorf("%s: there is no control %s", p.ID, r.Control)
			}
			if r.Asks == "" || r.Reason.IsZero() {
				t.Errorf("%s: what is refused, or why, is not said", p.ID)
			}
		}
		for _, c := range p.Choices {
			if _, control, ok := harden.FindControl(areas, c.Control); !ok {
				t.Errorf("%s: there is no control %s", p.ID, c.Control)
			} else if !p.Takes(control.Refs) {
				t.Errorf("%s: it does not ask for %s", p.ID, c.Control)
			} else if r, ok := control.Remedy(c.Remedy); !ok {
				t.Errorf("%s: %s has no remedy %s", p.ID, c.Control, c.Remedy)
			} else if _, err := r.Fill(c.Control, c.Options); err != nil {
				t.Errorf("%s: %v", p.ID, err)
			}
		}
	}
	one, _ := catalog.Profile("cis-l1")
	two, _ := catalog.Profile("cis-l2")
	for _, id := range one.Controls(areas) {
		if !slices.Contains(two.Controls(areas), id) {
			t.Errorf("%s is of level 1 and not of level 2", id)
		}
	}
	if slices.Contains(one.Controls(areas), "certificates-etcd-ca") || !slices.Contains(two.Controls(areas), "certificates-etcd-ca") {
		t.Error("2.7 is of level 2")
	}
}

// No profile takes by itself what can hurt workloads or lock operators out.
func TestProfilesTakeWhatIsTheNodesOwn(t *testing.T) {
	areas := catalog.Areas()
	f := hardentest.Fixture(t, "1.37").Facts(t)
	for _, p := range catalog.Profiles() {
		choices, _, err := harden.Select(f, areas, harden.Selection{Profile: &p})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range choices {
			_, control, _ := harden.FindControl(areas, c.Control)
			if r, _ := control.Remedy(c.Remedy); r.Risk != harden.RiskNode {
				t.Errorf("%s takes %s with risk %s", p.ID, c.Control, r.Risk)
			}
			if !p.Takes(control.Refs) {
				t.Errorf("%s takes %s, for which it does not ask", p.ID, c.Control)
			}
		}
	}
}

// A profile chose controls, and no options: the benchmarks' own lists of suites were not what was written.
func TestProfilesChooseOptions(t *testing.T) {
	const (
		kubelet, apiserver = "kubelet-tls-cipher-suites", "apiserver-tls-cipher-suites"
		aes                = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
	)
	own := harden.Values{"suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}
	for _, tt := range []struct {
		name, profile, control string
		say                    harden.Selection
		want                   string
	}{
		{name: "cis", profile: "cis-l2", control: kubelet, want: aes},
		{name: "an older cis", profile: "cis-1.10-l1", control: kubelet, want: aes},
		{name: "named beside the profile", profile: "stig", control: apiserver, say: harden.Selection{Controls: []string{apiserver}}, want: aes},
		{name: "named with the remedy", profile: "stig", control: apiserver, say: harden.Selection{Remedies: map[string]string{apiserver: "strong-suites"}}, want: aes},
		{name: "set by the operator", profile: "cis-l2", control: kubelet, say: harden.Selection{Set: map[string]harden.Values{kubelet: own}}, want: own["suites"]},
		{name: "not asked by the profile", profile: "nsa", control: kubelet, want: ""},
		{name: "another benchmark's", profile: "cis-l2", control: apiserver, say: harden.Selection{Controls: []string{apiserver}}, want: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := catalog.Profile(tt.profile)
			if err != nil {
				t.Fatal(err)
			}
			tt.say.Profile = &p
			choices, _, err := harden.Select(hardentest.Fixture(t, "1.37").Facts(t), catalog.Areas(), tt.say)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(choices, func(c harden.Choice) bool { return c.Control == tt.control })
			if i < 0 || choices[i].Options["suites"] != tt.want {
				t.Errorf("%v", choices)
			}
			if again, _ := catalog.Profile(tt.profile); fmt.Sprint(again.Choices) != fmt.Sprint(p.Choices) {
				t.Errorf("the profile is changed: %v", p.Choices)
			}
		})
	}
}

// What a person must decide and what is not known was left out of a profile without a word, as if it were done.
func TestProfilesSayWhatTheyLeaveUndecided(t *testing.T) {
	areas := catalog.Areas()
	f := hardentest.Fixture(t, "1.37").Facts(t)
	f.Waivers = []harden.Waiver{{Control: "files-super-admin", Reason: "in a safe tomorrow", Until: f.CollectedAt.AddDate(0, 0, 1)}}
	f.Waivers = append(f.Waivers, harden.Waiver{Control: "ports-loopback", Reason: "cannot be", Until: f.CollectedAt.AddDate(0, 0, 1)})
	p, err := catalog.Profile("cis-l2")
	if err != nil {
		t.Fatal(err)
	}
	choices, skipped, err := harden.Select(f, areas, harden.Selection{Profile: &p})
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, s := range skipped {
		if said[s.Control] != "" {
			t.Errorf("%s is said twice: %s; %s", s.Control, said[s.Control], s)
		}
		said[s.Control] = s.String()
	}
	for _, c := range choices {
		said[c.Control] = "chosen"
	}
	for _, found := range harden.Assess(f, areas) {
		asked := slices.Contains(p.Controls(areas), found.Control)
		if open := found.Status == harden.StatusManual || found.Status == harden.StatusUnknown || found.Status == harden.StatusFail; asked && open && said[found.Control] == "" {
			t.Errorf("%s is %s and not said", found.Control, found.Status)
		}
	}
	for id, want := range map[string]string{
		"apiserver-admission-alwayspullimages": "a person must decide: AlwaysPullImages is off",
		"ports-loopback":                       "whether it is so is not known: what listens",
		"files-super-admin":                    "waived until",
	} {
		if !strings.HasPrefix(said[id], want) {
			t.Errorf("%s: %q, want %q", id, said[id], want)
		}
	}
	if _, skipped, err := harden.Select(f, areas, harden.Selection{All: true}); err != nil || slices.ContainsFunc(skipped, func(s harden.Skip) bool { return s.Control == "ports-loopback" }) {
		t.Errorf("everything that fails is what --all takes, and no more: %v %v", skipped, err)
	}
}

func TestWhatHurtsIsSaidWhereItWould(t *testing.T) {
	stig, _ := catalog.Profile("stig")
	worker, master := stig.Left(hardentest.Worker(t)), stig.Left(hardentest.Fixture(t, "1.37").Facts(t))
	if len(worker) >= len(master) {
		t.Errorf("worker %v, control plane %v", worker, master)
	}
}

// TestEveryRecommendationHasAControl: sections 1 to 4 of the newest benchmark are in the catalogue, and it names no id that no
// benchmark has.
func TestEveryRecommendationHasAControl(t *testing.T) {
	var named []string
	for _, a := range catalog.Areas() {
		for _, c := range a.Controls {
			named = append(named, c.Refs.CIS...)
			for _, id := range c.Refs.CIS {
				if section, _, _ := strings.Cut(id, "."); !slices.Contains(harden.RecommendationIDs(section), id) {
					t.Errorf("%s: there is no %s", c.ID, id)
				}
			}
			if got := len(c.Refs.Recommendations()); len(c.Refs.FormerCIS) > 0 && got == 0 {
				t.Errorf("%s: no benchmark has %v", c.ID, c.Refs.FormerCIS)
			}
		}
	}
	for _, section := range []string{"1", "2", "3", "4"} {
		for _, id := range harden.RecommendationIDs(section) {
			// How people log in, nothing on a node tells.
			if people := id == "3.1.2" || id == "3.1.3"; slices.Contains(named, id) == people {
				t.Errorf("%s: a control stands for it: %v", id, people)
			}
		}
	}
}

// TestProfilesOfOlderBenchmarks: they ask what their benchmark asks, and say what of it is not done.
func TestProfilesOfOlderBenchmarks(t *testing.T) {
	areas := catalog.Areas()
	asks := func(profile, control string) bool {
		p, err := catalog.Profile(profile)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(p.Controls(areas), control)
	}
	for control, want := range map[string]map[string]bool{
		"apiserver-service-account-extend-token-expiration": {"cis-l1": true, "cis-1.11-l1": true, "cis-1.10-l2": false},
		"kubelet-seccomp-default":                           {"cis-l1": true, "cis-1.11-l1": true, "cis-1.10-l2": false},
		"apiserver-profiling":                               {"cis-l1": true, "cis-1.11-l1": true, "cis-1.10-l1": true},
		"ports-kubelet":                                     {"cis-l2": false, "cis-1.11-l1": false, "cis-1.11-l2": true, "cis-1.10-l2": false},
		"certificates-etcd-ca":                              {"cis-1.11-l1": false, "cis-1.11-l2": true, "cis-1.10-l1": false, "cis-1.10-l2": true},
	} {
		for profile, w := range want {
			if got := asks(profile, control); got != w {
				t.Errorf("%s asks for %s: %v", profile, control, got)
			}
		}
	}
	f := hardentest.Fixture(t, "1.30").Facts(t)
	for profile, want := range map[string]string{"cis-1.11-l2": "4.2.15", "cis-1.10-l1": "1.1.20"} {
		p, _ := catalog.Profile(profile)
		if !slices.ContainsFunc(p.Left(f), func(s harden.Skip) bool { return strings.Contains(s.Reason.String(), want) }) {
			t.Errorf("%s does not say what it leaves of %s", profile, want)
		}
	}
}

// TestEveryRuleOfTheSTIGIsNamed: some rules were in no control, and nothing said that they are left out.
func TestEveryRuleOfTheSTIGIsNamed(t *testing.T) {
	named := map[string]bool{}
	for _, a := range catalog.Areas() {
		for _, c := range a.Controls {
			for _, id := range c.Refs.STIG {
				named[id] = true
			}
		}
	}
	stig, _ := catalog.Profile("stig")
	for _, r := range stig.Refused {
		for _, id := range regexp.MustCompile(`V-\d+`).FindAllString(r.Asks, -1) {
			named[id] = true
		}
	}
	// Version 2, without the ids that earlier ones had.
	for _, span := range [][2]int{
		{242376, 242415}, {242417, 242434}, {242436, 242436}, {242438, 242438}, {242442, 242468}, {245541, 245544}, {254800, 254800}, {274882, 274884},
	} {
		for n := span[0]; n <= span[1]; n++ {
			if id := fmt.Sprintf("V-%d", n); !named[id] {
				t.Errorf("no control names %s, and the profile does not say that it is left out", id)
			}
		}
	}
}
