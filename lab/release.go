//go:build linux

package lab

import (
	"fmt"
	"strings"
)

// release is a Kubernetes version that can be started.
type release struct {
	minor   string // names parts/kubernetes-<minor>
	version string // as that module requires it
}

// releases, the newest first.
var releases = []release{
	{minor: "1.37", version: "v1.37.2"},
	{minor: "1.36", version: "v1.36.3"},
	{minor: "1.34", version: "v1.34.2"},
}

// Versions lists the Kubernetes versions that can be started, the newest first.
func Versions() []string {
	var versions []string
	for _, r := range releases {
		versions = append(versions, r.version)
	}
	return versions
}

func findRelease(version string) (release, error) {
	for _, r := range releases {
		if version == "" || version == r.version || version == r.minor {
			return r, nil
		}
	}
	return release{}, fmt.Errorf("the lab has no Kubernetes %q: it has %s", version, strings.Join(Versions(), ", "))
}
