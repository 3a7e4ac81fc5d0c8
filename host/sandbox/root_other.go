//go:build !linux

package sandbox

func openRoot(dir string) (root, error) { return openPlain(dir) }
