package objects

import (
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	psa "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"kubectl-harden.io/kubectl-harden/harden"
)

// evaluator knows the Pod Security Standards of every version. Making it takes a moment.
var evaluator = sync.OnceValues(func() (policy.Evaluator, error) { return policy.NewEvaluator(policy.DefaultChecks(), nil) })

// podSecurity is the strictest level that a pod keeps, by the standards of the API server's version, and what keeps it from
// the next one.
func podSecurity(v harden.Version, annotations map[string]string, spec *corev1.PodSpec) harden.PodSecurityFact {
	e, err := evaluator()
	if err != nil {
		return harden.PodSecurityFact{}
	}
	at := psa.LatestVersion()
	if !v.IsZero() {
		at = psa.MajorMinorVersion(v.Major, v.Minor)
	}
	judge := func(level psa.Level) []string {
		found := policy.AggregateCheckResults(e.EvaluatePod(psa.LevelVersion{Level: level, Version: at}, &metav1.ObjectMeta{Annotations: annotations}, spec))
		if found.Allowed {
			return nil
		}
		return found.ForbiddenReasons
	}
	if why := judge(psa.LevelBaseline); len(why) > 0 {
		return harden.PodSecurityFact{Level: harden.PodSecurityPrivileged, Why: why}
	}
	if why := judge(psa.LevelRestricted); len(why) > 0 {
		return harden.PodSecurityFact{Level: harden.PodSecurityBaseline, Why: why}
	}
	return harden.PodSecurityFact{Level: harden.PodSecurityRestricted}
}

// Workload is an object that makes pods from a template: a Deployment, StatefulSet or DaemonSet.
type Workload struct {
	Meta Meta `json:"metadata"`
	Spec struct {
		Template corev1.PodTemplateSpec `json:"template"`
	} `json:"spec"`
}

// Template is the fact of the pods that it would make.
func (w Workload) Template(kind string, v harden.Version) harden.TemplateFact {
	return template(w.Meta, kind, v, &w.Spec.Template)
}

// CronJob is a batch/v1 CronJob.
type CronJob struct {
	Meta Meta `json:"metadata"`
	Spec struct {
		JobTemplate struct {
			Spec struct {
				Template corev1.PodTemplateSpec `json:"template"`
			} `json:"spec"`
		} `json:"jobTemplate"`
	} `json:"spec"`
}

// Template is the fact of the pods that its jobs would make.
func (c CronJob) Template(v harden.Version) harden.TemplateFact {
	return template(c.Meta, "CronJob", v, &c.Spec.JobTemplate.Spec.Template)
}

func template(m Meta, kind string, v harden.Version, t *corev1.PodTemplateSpec) harden.TemplateFact {
	return harden.TemplateFact{
		Namespace: m.Namespace, Owner: kind + "/" + m.Name,
		PodSecurity: podSecurity(v, t.Annotations, &t.Spec), Images: images(&t.Spec),
	}
}

// images of all containers, each once.
func images(spec *corev1.PodSpec) []harden.ImageFact {
	var out []harden.ImageFact
	seen := map[harden.ImageFact]bool{}
	add := func(c corev1.Container) {
		i := harden.ImageFact{Image: c.Image, PullPolicy: string(c.ImagePullPolicy)}
		if !seen[i] {
			seen[i] = true
			out = append(out, i)
		}
	}
	for _, c := range spec.InitContainers {
		add(c)
	}
	for _, c := range spec.Containers {
		add(c)
	}
	return out
}
