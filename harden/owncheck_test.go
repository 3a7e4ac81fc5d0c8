package harden

import (
	"slices"
	"testing"
)

// The outputs are those of kube-apiserver, kubelet and etcd.
func TestOwnCheckJudges(t *testing.T) {
	version := VersionCheck([]string{"kube-apiserver", "--a=b"})
	if !slices.Equal(version.Args, []string{"kube-apiserver", "--a=b", "--version"}) {
		t.Error(version.Args)
	}
	values, ok := ValuesCheck(APIServer, newest, []string{"kube-apiserver", "--a=b"}, nil)
	if !ok || values.Stops == "" {
		t.Fatal("the API server's values are not checked")
	}
	log := `E1123 10:00:00.000000       1 run.go:72] "command failed" err=`
	for _, tt := range []struct {
		name   string
		check  OwnCheck
		output string
		code   int
		says   string
	}{
		{"accepted", version, "Kubernetes v1.37.2\n", 0, ""},
		{"unknown flag", version, "Error: unknown flag: --no-such-flag\n", 1, "Error: unknown flag: --no-such-flag"},
		{"a log before it", version, "W1123 flags.go] deprecated\nError: unknown flag: --x\n", 1, "Error: unknown flag: --x"},
		{"feature gate", version, log + `"unrecognized feature gate: KMSv2"` + "\n", 1, "unrecognized feature gate: KMSv2"},
		{"etcd", version, "flag provided but not defined: -foo\nUsage:\n\n  etcd [flags]\n    Start an etcd server.\n", 2, "flag provided but not defined: -foo"},
		{"nothing said", version, "", 137, "it ended with code 137 and said nothing"},

		{"values", values, log + `"--goaway-chance can not be less than 0 or greater than 0.02"` + "\n", 1, ""},
		{"values, one wrong", values, log + `"[--goaway-chance can not be less than 0 or greater than 0.02, enable-admission-plugins plugin \"Foo\" is unknown]"` + "\n", 1,
			`enable-admission-plugins plugin "Foo" is unknown`},
		{"values, two wrong around it", values, log + `"[a, --goaway-chance can not be less than 0 or greater than 0.02, b]"` + "\n", 1, "a, b"},
		{"values, another way out", values, log + `"open /x: no such file or directory"` + "\n", 1, "open /x: no such file or directory"},
	} {
		if got := tt.check.Judge(tt.output, tt.code); got != tt.says {
			t.Errorf("%s: says %q, want %q", tt.name, got, tt.says)
		}
	}
}

func TestValuesCheck(t *testing.T) {
	for _, tt := range []struct {
		name    string
		c       ComponentID
		version Version
		args    []string
		live    []string
		ok      bool
		has     string // among its arguments
	}{
		{"API server", APIServer, newest, []string{"kube-apiserver", "--goaway-chance=0.01"}, nil, true, "--goaway-chance=1"},
		{"a file that the container may not see", APIServer, newest, []string{"kube-apiserver", "--authorization-config=/x"}, nil, false, ""},
		{"a file that it sees", APIServer, newest, []string{"kube-apiserver", "--authorization-config=/x"}, []string{"kube-apiserver", "--authorization-config=/x"}, true, ""},
		{"a version whose source is not known", APIServer, Version{1, 38, 0}, []string{"kube-apiserver"}, nil, false, ""},
		{"no version", APIServer, Version{}, []string{"kube-apiserver"}, nil, false, ""},
		{"controller manager", ControllerManager, newest, []string{"kube-controller-manager", "--kubeconfig=/etc/kubernetes/controller-manager.conf"}, nil, true, "--kubeconfig=" + nowhere},
		{"scheduler", Scheduler, newest, []string{"kube-scheduler", "--kubeconfig=/x"}, nil, true, "--kubeconfig=" + nowhere},
		{"a scheduler's file has credentials of its own", Scheduler, newest, []string{"kube-scheduler", "--config=/x"}, nil, false, ""},
		{"kubelet", Kubelet, newest, []string{"kubelet", "--config=/x", "--lock-file=/run/lock"}, nil, true, "--exit-on-lock-contention=true"},
		{"a kubelet without a file", Kubelet, newest, []string{"kubelet"}, nil, false, ""},
		{"etcd", Etcd, newest, []string{"etcd"}, nil, false, ""},
	} {
		got, ok := ValuesCheck(tt.c, tt.version, tt.args, tt.live)
		if ok != tt.ok || tt.has != "" && !slices.Contains(got.Args, tt.has) {
			t.Errorf("%s: %v %v", tt.name, ok, got.Args)
		}
		if slices.Contains(got.Args, "--lock-file=/run/lock") {
			t.Errorf("%s: it would take the lock: %v", tt.name, got.Args)
		}
	}
}

func TestProgramVersion(t *testing.T) {
	for output, want := range map[string]Version{
		"Kubernetes v1.37.2\n":                    newest,
		"I1123 log\nKubernetes v1.29.14\n":        {1, 29, 14},
		"etcd Version: 3.7.0\nGit SHA: Not\n":     {3, 7, 0},
		"kube-apiserver: something else v1.2.3\n": {},
		"": {},
	} {
		if got := ProgramVersion(output); got != want {
			t.Errorf("%q: %s, want %s", output, got, want)
		}
	}
}
