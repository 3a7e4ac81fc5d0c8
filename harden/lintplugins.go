package harden

// admissionPlugins are the API server's, with the minors of 1 that have them; {} is every supported one
// (k8s.io/kubernetes: pkg/kubeapiserver/options/plugins.go of each minor).
var admissionPlugins = map[string]VersionRange{
	"AlwaysAdmit": {}, "AlwaysDeny": {}, "AlwaysPullImages": {}, "CertificateApproval": {}, "CertificateSigning": {},
	"CertificateSubjectRestriction": {}, "ClusterTrustBundleAttest": {}, "DefaultIngressClass": {}, "DefaultStorageClass": {},
	"DefaultTolerationSeconds": {}, "DenyServiceExternalIPs": {}, "EventRateLimit": {}, "ExtendedResourceToleration": {},
	"ImagePolicyWebhook": {}, "JobValidation": between(36, 36), "LimitPodHardAntiAffinityTopology": {}, "LimitRanger": {},
	"MutatingAdmissionPolicy": Since(32), "MutatingAdmissionWebhook": {}, "NamespaceAutoProvision": {}, "NamespaceExists": {},
	"NamespaceLifecycle": {}, "NodeDeclaredFeatureValidator": Since(35), "NodeRestriction": {}, "OwnerReferencesPermissionEnforcement": {},
	"PersistentVolumeClaimResize": {}, "PersistentVolumeLabel": Until(30), "PodGroupProtection": Since(36), "PodGroupWorkloadExists": between(36, 36),
	"PodNodeSelector": {}, "PodResizeValidator": Since(36), "PodSecurity": {}, "PodTolerationRestriction": {}, "PodTopologyLabels": Since(33),
	"Priority": {}, "ResourceQuota": {}, "RuntimeClass": {}, "SecurityContextDeny": Until(29), "ServiceAccount": {},
	"StorageObjectInUseProtection": {}, "TaintNodesByCondition": {}, "ValidatingAdmissionPolicy": {}, "ValidatingAdmissionWebhook": {},
}

func between(first, last int) VersionRange {
	return VersionRange{Min: Version{1, first, 0}, Max: Version{1, last, 0}}
}

// knownPlugin says whether a version has the plugin. Of versions that are not in the table only its own program knows.
func knownPlugin(name string, v Version) bool {
	if v.IsZero() || v.AtLeast(NewestSupported.Major, NewestSupported.Minor+1) {
		return true
	}
	r, ok := admissionPlugins[name]
	return ok && r.Contains(v)
}

// LastPlugin is the last release that has an admission plugin; ok is false for one that the newest supported release has too. The last one
// is zero where no supported release has it.
func LastPlugin(name string) (last Version, ok bool) {
	r, known := admissionPlugins[name]
	if known && (r.Max.IsZero() || r.Contains(NewestSupported)) {
		return Version{}, false
	}
	return r.Max, true
}
