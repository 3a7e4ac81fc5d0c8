package files

import (
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// pkiDirs are the folder of kubeadm's certificates, the one that the CA of the API server's clients lies in, and those in them.
func pkiDirs(f *harden.Facts) []string {
	tops := []string{kubernetesDir + "/pki"}
	for _, ca := range hostFiles(f, harden.APIServer, "client-ca-file") {
		tops = append(tops, path.Dir(ca))
	}
	var out []string
	for p, s := range f.Stats {
		if s.Kind == harden.StatDir && slices.ContainsFunc(tops, func(top string) bool { return p == top || strings.HasPrefix(p, top+"/") }) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// pkiKeys are the keys in these folders by their names, and what flags name as keys, here or elsewhere.
func pkiKeys(f *harden.Facts) []string {
	var out []string
	for _, dir := range pkiDirs(f) {
		out = append(out, inDir(f, dir, keyByName)...)
	}
	for _, p := range f.KeyFiles() {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// keyByName goes by how kubeadm and cfssl name keys: ca.key, ca-key.pem.
func keyByName(name string) bool {
	return path.Ext(name) == ".key" || strings.HasSuffix(name, "-key.pem")
}
