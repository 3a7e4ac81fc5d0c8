// Package kubelet holds the controls of the kubelet's configuration, as data: what its fields should be, and how to
// get there through its file, its drop-ins and the flags that override both.
package kubelet

import "kubectl-harden.io/kubectl-harden/harden"

// Area is the kubelet of one node, control plane or worker.
func Area() harden.Area {
	return harden.Area{
		ID:    "kubelet",
		Title: "Kubelet",
		About: harden.Msg("Every node runs a kubelet: it starts containers and answers on port 10250, where logs, exec and metrics are served. " +
			"Its settings come from a configuration file, from drop-ins over it and from flags over both; what wins is what counts here."),
		Controls: []harden.Control{
			running,
			anonymousAuth.control(),
			authenticationWebhook.control(),
			authorizationMode.control(),
			clientCAFile.control(),
			readOnlyPort.control(),
			healthzBindAddress.control(),
			rotateCertificates.control(),
			rotateServerCertificateGate.control(),
			servingCertificate,
			tlsMinVersion.control(),
			tlsCipherSuites.control(),
			streamingConnectionIdleTimeout.control(),
			makeIPTablesUtilChains.control(),
			eventRecordQPS.control(),
			podPidsLimit.control(),
			seccompDefault.control(),
			protectKernelDefaults(),
			unsafeSysctls,
			hostnameOverride,
			staticPods,
			profilingHandler.control(),
			debugFlagsHandler.control(),
			cgroupVersion,
			alphaFeatures.control(),
			removed,
			removedGates,
			configFileMode,
			configFileOwner,
		},
	}
}
