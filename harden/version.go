package harden

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a Kubernetes version; the zero value is "not known".
type Version struct{ Major, Minor, Patch int }

// ParseVersion reads "v1.37.2", "1.37", "v1.37.0-rc.1+build".
func ParseVersion(s string) (Version, error) {
	core, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(s), "v"), "+")
	core, _, _ = strings.Cut(core, "-")
	parts := strings.Split(core, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return Version{}, fmt.Errorf("parsing version: %q: want MAJOR.MINOR or MAJOR.MINOR.PATCH", s)
	}
	var n [3]int
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 {
			return Version{}, fmt.Errorf("parsing version: %q: %q is not a number", s, p)
		}
		n[i] = v
	}
	return Version{n[0], n[1], n[2]}, nil
}

// IsZero says that the version is not known.
func (v Version) IsZero() bool { return v == Version{} }

// String is "v1.37.2", or "unknown".
func (v Version) String() string {
	if v.IsZero() {
		return "unknown"
	}
	return fmt.Sprintf("v%d.%d.%d", v.Major, v.Minor, v.Patch)
}

// AtLeast compares by minor: Kubernetes changes behaviour with minors.
func (v Version) AtLeast(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// newerThan compares by minor, as AtLeast does.
func (v Version) newerThan(o Version) bool { return v.AtLeast(o.Major, o.Minor+1) }

// MarshalText writes "v1.37.2", nothing for the zero value.
func (v Version) MarshalText() ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	return []byte(v.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (v *Version) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*v = Version{}
		return nil
	}
	p, err := ParseVersion(string(b))
	*v = p
	return err
}

// Supported minors on kubeadm (design: promise 14). Newer ones go by what their own binaries rehearse; older ones are
// assessed only.
var (
	OldestSupported = Version{1, 29, 0}
	NewestSupported = Version{1, 37, 0}
)

// VersionRange is a range of minors, both ends included; a zero end is open.
type VersionRange struct{ Min, Max Version }

// Since is the range from 1.minor on.
func Since(minor int) VersionRange { return VersionRange{Min: Version{1, minor, 0}} }

// Until is the range up to 1.minor, that included.
func Until(minor int) VersionRange { return VersionRange{Max: Version{1, minor, 0}} }

// Contains says whether v's minor lies in the range. An unknown version lies only in the open range.
func (r VersionRange) Contains(v Version) bool {
	if r == (VersionRange{}) {
		return true
	}
	if v.IsZero() {
		return false
	}
	if !r.Min.IsZero() && !v.AtLeast(r.Min.Major, r.Min.Minor) {
		return false
	}
	return r.Max.IsZero() || r.Max.AtLeast(v.Major, v.Minor)
}

// String is "1.32 and newer", "1.29 to 1.31", "all versions".
func (r VersionRange) String() string {
	short := func(v Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }
	switch {
	case r.Min.IsZero() && r.Max.IsZero():
		return "all versions"
	case r.Max.IsZero():
		return short(r.Min) + " and newer"
	case r.Min.IsZero():
		return short(r.Max) + " and older"
	}
	return short(r.Min) + " to " + short(r.Max)
}
