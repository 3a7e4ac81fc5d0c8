package harden

import (
	"encoding/json"
	"fmt"
)

// Message is text for people: an English format and its arguments, rendered at the edge. The format is the key of
// its translation, so it is a constant and never glued together.
type Message struct {
	Format string
	Args   []any
}

// Msg makes a Message.
func Msg(format string, args ...any) Message { return Message{Format: format, Args: args} }

// String renders the English text. Arguments may hold untrusted bytes: the edge makes them inert.
func (m Message) String() string {
	if len(m.Args) == 0 {
		return m.Format
	}
	return fmt.Sprintf(m.Format, m.Args...)
}

// IsZero says that there is nothing to say.
func (m Message) IsZero() bool { return m.Format == "" }

// MarshalJSON writes the rendered English text.
func (m Message) MarshalJSON() ([]byte, error) { return json.Marshal(m.String()) }

// UnmarshalJSON reads a rendered text; it can no longer be translated.
func (m *Message) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("decoding message: %w", err)
	}
	*m = Message{}
	if s != "" {
		*m = Message{Format: "%s", Args: []any{s}}
	}
	return nil
}
