package harden

// EditClusterConfiguration renders an intent into kubeadm's configuration.
func EditClusterConfiguration(i Intent, text []byte) ([]byte, error) {
	return i.editClusterConfiguration(text)
}
