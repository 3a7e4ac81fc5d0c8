package patches

var mergeRows = []struct{ name, base, ours, theirs, want string }{
	{"apart", "a\nb\nc\nd\n", "A\nb\nc\nd\n", "a\nb\nc\nD\n", "A\nb\nc\nD\n"},
	{"next to each other", "a\nb\n", "A\nb\n", "a\nB\n", "A\nB\n"},
	{"the same", "a\nb\n", "a\nB\n", "a\nB\n", "a\nB\n"},
	{"insertion before a change", "a\nb\n", "a\nx\nb\n", "a\nB\n", "a\nx\nB\n"},
	{"insertion after a change", "a\nb\n", "a\nb\nx\n", "a\nB\n", "a\nB\nx\n"},
	{"deletion and change apart", "a\nb\nc\n", "b\nc\n", "a\nb\nC\n", "b\nC\n"},
	{"insertion at the end and the final newline", "a\nb", "a\nb\nc", "A\nb", "A\nb\nc"},
}
