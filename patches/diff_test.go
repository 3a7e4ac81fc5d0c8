package patches

var diffPairs = [][2]string{
	{"", "a\n"},
	{"a\nb\nc\n", "a\nB\nc\n"},
	{"a\nb", "a\nb\n"},
	{"a\r\nb\r\n", "a\r\nc\r\n"},
	{"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n", "0\na\nb\nc\nd\ne\nf\ng\nh\ni\n"},
	{"- a: 1\n  b: 2\n- a: 3\n  b: 2\n", "- a: 1\n  b: 2\n- a: 2\n  b: 2\n- a: 3\n  b: 2\n"},
	{"x\n\x1b[31m\u202e\u2028y\n", "x\n\ty\u0085 \n"},
	{"a\x00b", "a\xffb"},
	{"    - --enable-admission-plugins=NodeRestriction\n", "    - --enable-admission-plugins=NodeRestriction,ResourceQuota\n"},
}
