package harden

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

var newest = Version{1, 37, 2}

func TestDecodeProblems(t *testing.T) {
	const (
		kubelet = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
		audit   = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
		authn   = "kind: AuthenticationConfiguration\napiVersion: apiserver.config.k8s.io/"
		authz   = "kind: AuthorizationConfiguration\napiVersion: apiserver.config.k8s.io/"
		encrypt = "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n"
		admit   = "kind: AdmissionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nplugins:\n"
		key     = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	)
	old := Version{1, 29, 0}
	for _, tt := range []struct {
		name, text string
		version    Version
		says       string // "" for nothing
	}{
		{"no YAML", "a: [", newest, "it is not YAML"},
		{"a key twice", kubelet + "maxPods: 1\nmaxPods: 2\n", newest, `key "maxPods" already set in map`},
		{"a list", "- a\n", newest, "it is no object"},
		{"a kind that is not known here", "apiVersion: v1\nkind: Foo\n", newest, ""},

		{"kubelet", kubelet + "maxPods: 100\n", newest, ""},
		{"kubelet, unknown field", kubelet + "anonymousAuth: false\n", newest, `unknown field "anonymousAuth"`},
		{"kubelet, a field's case", kubelet + "maxpods: 100\n", newest, `unknown field "maxpods"`},
		{"kubelet, type", kubelet + "maxPods: many\n", newest, "it cannot be decoded: json: cannot unmarshal string"},
		{"kubelet, duration", kubelet + "syncFrequency: soon\n", newest, "it cannot be decoded"},
		{"kubelet, newer field", kubelet + "failCgroupV1: false\n", Version{1, 30, 1}, "field failCgroupV1 is known from 1.31 on, and here is v1.30.1"},
		{"kubelet, newer field in time", kubelet + "failCgroupV1: false\n", Version{1, 31, 0}, ""},
		{"kubelet, version not known", kubelet + "defaultPodSysctls: {}\n", Version{}, ""},
		{"kubelet, newer field within another", kubelet + "logging: {options: {text: {splitStream: true}}}\n", old, "field logging.options.text is known from 1.30 on"},
		{"kubelet, cipher", kubelet + "tlsCipherSuites: [TLS_AES_128_GCM_SHA257]\n", newest, `there is no cipher suite "TLS_AES_128_GCM_SHA257"`},
		{"kubelet, HTTP/2", kubelet + "tlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n", newest, "lack both that HTTP/2 needs"},
		{"kubelet, HTTP/2 with 1.3", kubelet + "tlsMinVersion: VersionTLS13\ntlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n", newest, ""},
		{"kubelet, TLS version", kubelet + "tlsMinVersion: TLS12\n", newest, `there is no TLS version "TLS12"`},
		{"kubelet, port", kubelet + "readOnlyPort: 70000\n", newest, "readOnlyPort: 70000 is no port"},
		{"kubelet, authorization", kubelet + "authorization: {mode: RBAC}\n", newest, `authorization.mode: there is no mode "RBAC"`},

		{"audit", audit + "rules: [{level: Metadata}]\n", newest, ""},
		{"audit, no rules", audit + "rules: []\n", newest, "it has no rules"},
		{"audit, level", audit + "rules: [{level: metadata}]\n", newest, `level is "metadata"`},
		{"audit, field", audit + "rule: []\nrules: [{level: None}]\n", newest, `unknown field "rule"`},
		{"audit, every group in 1.35", audit + "rules: [{level: None, resources: [{group: '*'}]}]\n", Version{1, 35, 0}, `group "*" is known from 1.36 on`},
		{"audit, every group in 1.36", audit + "rules: [{level: None, resources: [{group: '*'}]}]\n", Version{1, 36, 0}, ""},

		{"authentication", authn + "v1\nanonymous: {enabled: true, conditions: [{path: /livez}]}\n", newest, ""},
		{"authentication v1 in 1.33", authn + "v1\n", Version{1, 33, 0}, "AuthenticationConfiguration of apiserver.config.k8s.io/v1 is known from 1.34 on"},
		{"authentication, anonymous in 1.30", authn + "v1beta1\nanonymous: {enabled: true}\n", Version{1, 30, 0}, "field anonymous is known from 1.31 on"},
		{"authentication, anonymous in 1.31", authn + "v1beta1\nanonymous: {enabled: true}\n", Version{1, 31, 0}, "AnonymousAuthConfigurableEndpoints, which is off by default"},
		{"authentication, off with paths", authn + "v1\nanonymous: {enabled: false, conditions: [{path: /a}]}\n", newest, "anonymous has conditions and is not enabled"},
		{"authentication, field", authn + "v1\nanonymous: {enable: true}\n", newest, `unknown field "anonymous.enable"`},
		{"authentication, issuer", authn + "v1\njwt: [{issuer: {url: 'http://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]\n", newest, "issuer.url is not an https address"},
		{"authentication, audiences", authn + "v1\njwt: [{issuer: {url: 'https://x'}, claimMappings: {username: {claim: sub, prefix: ''}}}]\n", newest, "issuer.audiences is empty"},
		{"authentication, prefix", authn + "v1\njwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub}}}]\n", newest, "wants a prefix"},
		{"authentication, jwt", authn + "v1\njwt: [{issuer: {url: 'https://x', audiences: [a]}, claimMappings: {username: {claim: sub, prefix: ''}}}]\n", newest, ""},

		{"authorization", authz + "v1\nauthorizers: [{type: Node, name: node}, {type: RBAC, name: rbac}]\n", newest, ""},
		{"authorization v1 in 1.31", authz + "v1\nauthorizers: [{type: Node, name: node}]\n", Version{1, 31, 0}, "known from 1.32 on"},
		{"authorization, none", authz + "v1\nauthorizers: []\n", newest, "it has no authorizers"},
		{"authorization, type", authz + "v1\nauthorizers: [{type: Foo, name: a}]\n", newest, `there is no type "Foo"`},
		{"authorization, type twice", authz + "v1\nauthorizers: [{type: RBAC, name: a}, {type: RBAC, name: b}]\n", newest, "type RBAC is there twice"},
		{"authorization, webhook", authz + "v1\nauthorizers: [{type: Webhook, name: a}]\n", newest, "webhook is missing"},
		{"authorization, webhook's fields", authz + "v1\nauthorizers: [{type: Webhook, name: a, webhook: {timeout: 1m}}]\n", newest, "timeout: more than 0s and at most 30s"},

		{"encryption", encrypt + "- resources: [secrets]\n  providers: [{secretbox: {keys: [{name: a, secret: " + key + "}]}}, {identity: {}}]\n", newest, ""},
		{"encryption, two in one", encrypt + "- resources: [secrets]\n  providers: [{identity: {}, secretbox: {keys: []}}]\n", newest, "exactly one kind of provider is wanted, and there are 2"},
		{"encryption, key", encrypt + "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: a, secret: c2hvcnQ=}]}}]\n", newest, "the secret has 5 bytes"},
		{"encryption, base64", encrypt + "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: a, secret: '!'}]}}]\n", newest, "the secret is not base64"},
		{"encryption, capital", encrypt + "- resources: [Secrets]\n  providers: [{identity: {}}]\n", newest, "Secrets has capital letters"},
		{"encryption, overlap", encrypt + "- resources: ['*.*', secrets]\n  providers: [{identity: {}}]\n", newest, "a pattern covers others"},
		{"encryption, no providers", encrypt + "- resources: [secrets]\n", newest, "it has no providers"},
		{"encryption, KMS", encrypt + "- resources: [secrets]\n  providers: [{kms: {apiVersion: v2, name: k, endpoint: 'unix:///run/k.sock', timeout: 3s}}]\n", newest, ""},
		{"encryption, old KMS", encrypt + "- resources: [secrets]\n  providers: [{kms: {name: k, endpoint: 'unix:///run/k.sock'}}]\n", newest, "apiVersion v1 is off by default"},

		{"admission", admit + "- name: PodSecurity\n  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: baseline, enforce-version: latest}}\n", newest, ""},
		{"admission, level", admit + "- name: PodSecurity\n  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, defaults: {enforce: strict}}\n", newest, `there is no level "strict"`},
		{"admission, field within", admit + "- name: PodSecurity\n  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, default: {}}\n", newest, `unknown field "default"`},
		{"admission, kind within", admit + "- name: EventRateLimit\n  configuration: {apiVersion: v1, kind: Foo}\n", newest, `it is "Foo" of "v1", and Configuration is wanted`},
		{"admission, limits", admit + "- name: EventRateLimit\n  configuration: {apiVersion: eventratelimit.admission.k8s.io/v1alpha1, kind: Configuration, limits: [{type: Server, qps: 0, burst: 1}]}\n", newest, "qps and burst have to be positive"},
		{"admission, no limits", admit + "- name: EventRateLimit\n  configuration: {apiVersion: eventratelimit.admission.k8s.io/v1alpha1, kind: Configuration}\n", newest, "it has no limits"},
		{"admission, plugin", admit + "- name: Foo\n  path: foo.yaml\n", newest, `there is no admission plugin "Foo" in v1.37.2`},
		{"admission, manifests from disk in 1.35", admit + "- name: ValidatingAdmissionPolicy\n  configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: ValidatingAdmissionPolicyConfiguration, staticManifestsDir: /x}\n", Version{1, 35, 0}, "is known from 1.36 on"},

		{"pod", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, volumeMounts: [{name: b, mountPath: /b}]}], volumes: [{name: b, hostPath: {path: /b}}]}\n", newest, ""},
		{"pod, field", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, cmd: [b]}]}\n", newest, `unknown field "spec.containers[0].cmd"`},
		{"pod, mount without volume", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, volumeMounts: [{name: b, mountPath: /b}]}]}\n", newest, "mounts volume b, which is not there"},
		{"pod, two at one path", "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, volumeMounts: [{name: b, mountPath: /b}, {name: b, mountPath: /b}]}], volumes: [{name: b, hostPath: {path: /b}}]}\n", newest, "mounts two volumes at /b"},
		{"pod, volume of the API", "apiVersion: v1\nkind: Pod\nspec: {volumes: [{name: b, secret: {secretName: x}}]}\n", newest, "paths of the host and emptyDir only"},
		{"pod, volume's name", "apiVersion: v1\nkind: Pod\nspec: {volumes: [{name: B_, hostPath: {path: /b}}]}\n", newest, "this is no name for a volume"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkProblems(t, DecodeProblems([]byte(tt.text), tt.version), tt.says)
		})
	}
}

func checkProblems(t *testing.T, got []Message, says string) {
	t.Helper()
	var all []string
	for _, m := range got {
		all = append(all, m.String())
	}
	joined := strings.Join(all, "\n")
	if says == "" && joined != "" || !strings.Contains(joined, says) {
		t.Errorf("says %q, want %q", joined, says)
	}
	if strings.Contains(joined, "%!") {
		t.Errorf("a message is badly made: %q", joined)
	}
}

func TestExpectKind(t *testing.T) {
	checkProblems(t, ExpectKind([]byte("apiVersion: v1\nkind: ConfigMap\n"), "KubeletConfiguration", newest), `it is "ConfigMap" of "v1", and KubeletConfiguration is wanted`)
	checkProblems(t, ExpectKind([]byte("apiVersion: v1\nkind: Pod\n"), "Pod", newest), "")
}

func TestSysctlProblems(t *testing.T) {
	checkProblems(t, sysctlProblems([]byte("# a comment\n; another\n\nvm.overcommit_memory = 1\n-net/ipv4/ip_forward=1\n")), "")
	for _, text := range []string{"vm.overcommit_memory 1\n", "= 1\n", "a =\n", "a b = 1\n"} {
		checkProblems(t, sysctlProblems([]byte(text)), "line 1 sets nothing")
	}
}

// TestKubeletFieldsAreDated fails when a newer KubeletConfiguration has a field of which nobody has said since when it exists.
func TestKubeletFieldsAreDated(t *testing.T) {
	data, err := os.ReadFile("testdata/kubelet-fields.txt")
	if err != nil {
		t.Fatal(err)
	}
	since := map[string]int{}
	for line := range strings.Lines(string(data)) {
		name, minor, _ := strings.Cut(strings.TrimSpace(line), " ")
		if since[name], err = strconv.Atoi(minor); err != nil {
			t.Fatal(err)
		}
	}
	typ := reflect.TypeFor[kubeletv1beta1.KubeletConfiguration]()
	for i := range typ.NumField() {
		name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		if name == "" {
			continue // the type's own kind and version
		}
		minor, known := since[name]
		if !known {
			t.Errorf("field %s is not in testdata/kubelet-fields.txt: since which minor does it exist?", name)
		}
		if minor > OldestSupported.Minor && kubeletFields[name] != minor {
			t.Errorf("field %s exists from 1.%d on, and kubeletFields says 1.%d", name, minor, kubeletFields[name])
		}
		delete(since, name)
	}
	for name := range since {
		t.Errorf("field %s is in testdata/kubelet-fields.txt and nowhere else", name)
	}
}

// FuzzDecodeProblems: files are others', and none of them may stop the program or go unexplained.
func FuzzDecodeProblems(f *testing.F) {
	for _, seed := range []string{
		"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, nonResourceURLs: ['']}]\n",
		"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{resources: ['.'], providers: [{}]}]\n",
		"apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: [{name: PodSecurity, configuration: []}]\n",
		"apiVersion: v1\nkind: Pod\nspec: {containers: [null]}\n", "a: &a [*a]\n", "\x00", "---\n---\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range DecodeProblems(data, newest) {
			// What others' libraries say badly is theirs.
			if text := m.String(); text == "" || strings.Contains(text, "MISSING)") || strings.Contains(text, "%!(EXTRA") {
				t.Errorf("a message is badly made: %q", m)
			}
		}
		sysctlProblems(data)
	})
}

func FuzzOwnCheckJudges(f *testing.F) {
	f.Add("E1 \"command failed\" err=\"[a, b]\"", 1)
	f.Add("Error: x\nUsage", 1)
	check, _ := ValuesCheck(APIServer, newest, []string{"kube-apiserver"}, nil)
	f.Fuzz(func(t *testing.T, output string, code int) {
		if said := (OwnCheck{}).Judge(output, code); code != 0 && said == "" {
			t.Errorf("a failure is taken for consent: %q", output)
		}
		if said := check.Judge(output, code); said == "" && !strings.Contains(output, "goaway-chance") {
			t.Errorf("something else is taken for consent: %q", output)
		}
	})
}
