// Package patches makes the edits that a careful person would make: pure functions from the bytes of a file to its
// new bytes, for YAML documents, static pods, environment files and key=value files, and the diffs that show them.
//
// # Promise
//
// An edit touches only the lines it must. Comments, order, blank lines, indentation, quoting, line endings and a
// missing final newline survive, because text is spliced and never encoded again. The result is parsed and must equal
// "before plus the intent", and nothing else may differ. Where that cannot be had, the edit returns a [Refusal], which
// says what was found and what to do by hand. The same edit again returns the same bytes.
//
// # What is refused
//
// For every YAML document: invalid UTF-8, NUL and other control characters, a byte order mark, line breaks that
// people cannot see (a lone carriage return, U+0085, U+2028, U+2029), tabs in the indentation, duplicate keys, a
// second document. On the edited path: anchors, aliases, merge keys, explicit tags, and flow style, except for the
// empty {} and [], which are written out as a block.
package patches
