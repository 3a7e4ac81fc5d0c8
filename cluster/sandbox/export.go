package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"

	"kubectl-harden.io/kubectl-harden/harden"
)

type state struct {
	ResourceVersion int      `json:"resourceVersion"`
	Records         []record `json:"records"`
}

// Export writes the whole state as JSON, for Import.
func (c *Cluster) Export() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := state{ResourceVersion: c.version}
	for _, ref := range c.refs() {
		s.Records = append(s.Records, c.records[ref])
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("exporting the sandbox cluster: %w", err)
	}
	return append(data, '\n'), nil
}

// Import replaces the whole state, or nothing.
func (c *Cluster) Import(data []byte) error {
	var s state
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return fmt.Errorf("importing the sandbox cluster: %w", err)
	}
	records := make(map[harden.ObjectRef]record, len(s.Records))
	for _, r := range s.Records {
		ref := r.Object.Ref()
		if _, twice := records[ref]; twice || ref.Kind == "" || ref.Name == "" {
			return fmt.Errorf("importing the sandbox cluster: %q is nameless or there twice", ref)
		}
		records[ref] = r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version, c.records = s.ResourceVersion, records
	return nil
}

// Contents are the normal forms of all objects as one YAML stream: equal before a change and after its undo, where the state of
// Export has moved on, as resource versions never return.
func (c *Cluster) Contents() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out bytes.Buffer
	for _, ref := range c.refs() {
		data, err := c.records[ref].Object.Normal().YAML()
		if err != nil {
			return nil, fmt.Errorf("reading the sandbox cluster: %w", err)
		}
		out.WriteString("---\n")
		out.Write(data)
	}
	return out.Bytes(), nil
}
