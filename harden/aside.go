package harden

import "path"

// Aside is a command that moves a file out of the static pod directory by hand, into the directory above it, which nothing reads;
// what is there already stays.
func Aside(f *Facts, file string) string {
	to := path.Join(path.Dir(path.Dir(file)), path.Base(file))
	return "mv -n -- " + Quote(path.Join("/", f.Identity.Root, file)) + " " + Quote(path.Join("/", f.Identity.Root, to))
}
