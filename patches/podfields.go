package patches

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// SetAnnotation sets an annotation of an object.
func SetAnnotation(object []byte, key, value string) ([]byte, error) {
	if key == "" {
		return nil, fmt.Errorf("editing annotations: the key is empty")
	}
	return Set(object, Path{"metadata", "annotations", key}, value)
}

// SetProbeTCP turns the HTTP probes of a container into probes that only connect: httpGet becomes tcpSocket with the
// same host and port, in its place; timings and comments stay. Other kinds of probes are left alone.
func SetProbeTCP(pod []byte, container string) ([]byte, error) {
	out, err := edit(pod, func(d *document) (change, error) {
		at, err := d.containerPath(container)
		if err != nil {
			return change{}, err
		}
		c := change{}
		tree := d.root
		for _, name := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
			splices, probe, err := d.probeTCP(at.with(name))
			if err != nil {
				return change{}, err
			}
			if probe == nil {
				continue
			}
			c.splices = append(c.splices, splices...)
			copied := &document{src: d.src, starts: d.starts, root: tree}
			trail, _, err := copied.walk(at.with(name))
			if err != nil {
				return change{}, err
			}
			tree = grafted(trail, probe)
		}
		c.expected = tree
		return c, nil
	})
	return out, byHand(err, "replace httpGet by tcpSocket, with host and port only, in the probes of container %s", container)
}

// SetProbeHost lets the HTTP and TCP probes of a container ask at a host. Containers without probes stay as they are.
func SetProbeHost(pod []byte, container, host string) ([]byte, error) {
	d, err := read(pod)
	if err == nil && d.root == nil {
		err = refuse(0, "", "the document is empty")
	}
	if err != nil {
		return nil, byHand(err, "let the probes of container %s ask at %s", container, host)
	}
	at, err := d.containerPath(container)
	if err != nil {
		return nil, byHand(err, "let the probes of container %s ask at %s", container, host)
	}
	out := pod
	for _, probe := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
		for _, kind := range []string{"httpGet", "tcpSocket"} {
			if lookup(d.root, at.with(probe, kind)) == nil {
				continue
			}
			if out, err = Set(out, at.with(probe, kind, "host"), host); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// probeTCP returns the splices and the probe after them; nil when there is nothing to change.
func (d *document) probeTCP(at Path) ([]splice, *yaml.Node, error) {
	if lookup(d.root, at.with("httpGet")) == nil {
		return nil, nil, nil
	}
	trail, _, err := d.walk(at.with("httpGet"))
	if err != nil {
		return nil, nil, err
	}
	get := trail[len(trail)-1]
	if err := editable(get.node); err != nil {
		return nil, nil, err
	}
	if find(get.parent, "tcpSocket") >= 0 {
		return nil, nil, refuse(get.key.Line, "", "%s has both httpGet and tcpSocket", at)
	}
	if get.node.Kind != yaml.MappingNode || find(get.node, "port") < 0 {
		return nil, nil, refuse(get.key.Line, "", "%s has no port", at.with("httpGet"))
	}
	socket := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	start := d.offset(get.key)
	end, err := d.end(get.key)
	if err != nil {
		return nil, nil, err
	}
	splices := []splice{{start, end, "tcpSocket"}}
	for i := 0; i < len(get.node.Content); i += 2 {
		key, value := get.node.Content[i], get.node.Content[i+1]
		if key.Value == "host" || key.Value == "port" {
			socket.Content = append(socket.Content, key, value)
			continue
		}
		field := append(trail[:len(trail):len(trail)], spot{node: value, parent: get.node, key: key, index: i + 1})
		removed, err := d.remove(field, d.layout(trail))
		if err != nil {
			return nil, nil, err
		}
		splices = append(splices, removed...)
	}
	probe := grafted([]spot{{}, {parent: get.parent, key: get.key, index: get.index}}, socket)
	probe.Content[get.index-1] = encode("tcpSocket")
	return splices, probe, nil
}
