package backups

import (
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
)

// scriptHead is plain POSIX sh: whoever needs it may have nothing else. Paths are absolute, so that none can be
// taken for an option.
const scriptHead = `#!/bin/sh
# Undoes kubectl-harden transaction %s without kubectl-harden.
#
#   sh restore.sh              on the running system
#   ROOT=/mnt sh restore.sh    where its disk is mounted: files only, nothing is restarted
#   ROOT=/ sh restore.sh       on the running system, said on purpose
#   FILES=only sh restore.sh   nothing is restarted: at boot, before anything reads the files
#   PARTLY=yes sh restore.sh   where a saved original is damaged: restores the others
#
# It may be run again, also after it stopped halfway.
set -eu
umask 077
given=${ROOT:+yes}
ROOT=${ROOT:-}
ROOT=${ROOT%%/}
case $ROOT in
'' | /*) ;;
*) ROOT=$(pwd)/$ROOT ;;
esac
PARTLY=${PARTLY:-}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
now='the checks before the first change'
incomplete=
lost=

say() { printf '%%s\n' "$*"; }
stop() {
	printf 'restore.sh: %%s\n' "$*" >&2
	exit 1
}
finish() {
	code=$?
	[ "$code" = 0 ] || printf 'restore.sh: stopped at %%s: remove the cause and run it again\n' "$now" >&2
	exit "$code"
}
trap finish EXIT

sum() { sha256sum <"$1" | cut -c1-64; }
# is FILE SHA256
is() { [ ! -L "$1" ] && [ -f "$1" ] && [ "$(sum "$1")" = "$2" ]; }
# saved SHA256 FILE NAME: the original is there and intact, or FILE is as it was
saved() {
	if is "$here/before/$1" "$1" || is "$2" "$1"; then return 0; fi
	printf 'restore.sh: %%s cannot be restored: its saved original before/%%s is missing or damaged\n' "$3" "$1" >&2
	lost=yes
}
# inside FILE: no link on its way leads out of ROOT, where the running system is
inside() {
	if [ -z "$ROOT" ] || [ ! -d "${1%%/*}" ]; then return 0; fi
	case $(cd "${1%%/*}" && pwd -P)/ in
	"$(cd "$ROOT" && pwd -P)"/*) ;;
	*) stop "a link on the way to $now leads out of $ROOT" ;;
	esac
}
# keep NUMBER FILE SHA256: saves what FILE holds unless that is what kubectl-harden wrote
keep() {
	if [ -L "$2" ]; then stop "$now is a symbolic link now: move it away"; fi
	if [ ! -e "$2" ]; then return 0; fi
	if [ ! -f "$2" ]; then stop "$now is not a regular file now: move it away"; fi
	if is "$2" "$3"; then return 0; fi
	mkdir -p "$here/kept"
	kept=kept/$1-$(sum "$2")
	cp -p "$2" "$here/$kept"
	say "$now was changed by someone else since: a copy is in $here/$kept"
}
# clear FILE: removes what an earlier run left of its own
clear() { if [ -d "$1" ] && [ ! -L "$1" ]; then rmdir "$1"; else rm -f "$1"; fi; }
if ! command -v sha256sum >/dev/null; then stop 'sha256sum is needed'; fi
if command -v setfattr >/dev/null; then
	# drop NAME FILE: removes an extended attribute, if it is there
	drop() {
		if why=$(LC_ALL=C setfattr -x "$1" "$2" 2>&1); then return 0; fi
		case $why in
		*': No such attribute' | *': No data available') return 0 ;;
		esac
		printf 'restore.sh: extended attribute %%s of %%s cannot be removed: %%s\n' "$1" "$now" "${why##*: }" >&2
		incomplete=yes
	}
else
	setfattr() {
		printf 'restore.sh: setfattr is not installed: extended attribute %%s of %%s is left as it is\n' "$2" "$now" >&2
		incomplete=yes
	}
	drop() { setfattr -x "$@"; }
fi
`

const scriptFoot = `
now='the end'
sync
if [ -n "$lost" ]; then stop 'all else is as before'; fi
if [ -n "$incomplete" ]; then stop 'all is as before, except for what is said above: see to that and run it again'; fi
# kubectl-harden takes it from this: only where nothing above refused or failed
true >"$here/restored" || :
say 'done: all is as before'
`

// quote makes one shell word of s, whatever is in it.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// restoreScript brings the targets back in reverse order.
func restoreScript(id string, targets []target, script Script) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, scriptHead, id)
	for _, t := range targets {
		if t.Before.Exists && !t.Before.Dir {
			fmt.Fprintf(&b, "saved %s \"$ROOT\"%s %s\n", t.Before.SHA256, quote(t.Path), quote(printable(t.Path)))
		}
	}
	b.WriteString("if [ -n \"$lost\" ] && [ -z \"$PARTLY\" ]; then\n" +
		"\tstop \"nothing was changed; to restore all else: PARTLY=yes ${given:+ROOT=${ROOT:-/} }sh $here/restore.sh\"\nfi\n")
	for _, line := range script.Check {
		b.WriteString(line + "\n")
	}
	writeCommands(&b, "before", script.Head)
	for i, t := range slices.Backward(targets) {
		writeTarget(&b, i+1, t)
	}
	writeCommands(&b, "after", script.Tail)
	b.WriteString(scriptFoot)
	return []byte(b.String())
}

func writeCommands(b *strings.Builder, when string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\nnow='the commands %s the files'\nif [ -z \"$ROOT${FILES:-}\" ]; then\n", when)
	for _, line := range lines {
		fmt.Fprintf(b, "\t%s\n", line)
	}
	b.WriteString("fi\n")
}

func writeTarget(b *strings.Builder, number int, t target) {
	fmt.Fprintf(b, "\nnow=%s\n", quote(printable(t.Path)))
	fmt.Fprintf(b, "p=$ROOT%s\n", quote(t.Path))
	fmt.Fprintf(b, "t=$ROOT%s\n", quote(path.Join(path.Dir(t.Path), path.Base(t.Temp))))
	b.WriteString("inside \"$p\"\nclear \"$t\"\n")
	switch {
	case !t.Before.Exists && !t.After.Exists:
	case t.Before.Exists && t.Before.Dir:
		b.WriteString("if [ -L \"$p\" ]; then stop \"$now is a symbolic link now: move it away\"; fi\n")
		b.WriteString("say \"restoring directory $now\"\n")
		b.WriteString("[ -d \"$p\" ] || mkdir \"$p\"\n")
		writeAttrs(b, "p", t)
	case t.Before.Exists:
		fmt.Fprintf(b, "if is \"$p\" %s; then\n", t.Before.SHA256)
		b.WriteString("\tsay \"content is as before: $now\"\n\tt=$p\n")
		fmt.Fprintf(b, "elif ! is \"$here/before/%s\" %s; then\n\tsay \"left as it is: $now\"\n\tt=\nelse\n", t.Before.SHA256, t.Before.SHA256)
		fmt.Fprintf(b, "\tkeep %d \"$p\" %s\n", number, t.ours())
		b.WriteString("\tsay \"restoring $now\"\n")
		fmt.Fprintf(b, "\tcp \"$here/before/%s\" \"$t\"\nfi\n", t.Before.SHA256)
		b.WriteString("if [ -n \"$t\" ]; then\n")
		writeAttrs(b, "t", t)
		b.WriteString("[ \"$t\" = \"$p\" ] || { sync && mv -f \"$t\" \"$p\"; }\nfi\n")
	case t.After.Dir:
		b.WriteString("if [ -d \"$p\" ] && [ ! -L \"$p\" ]; then\n")
		b.WriteString("\tif rmdir \"$p\"; then say \"removed directory $now\"; " +
			"else say \"left directory $now: others use it\"; fi\nfi\n")
	default:
		fmt.Fprintf(b, "keep %d \"$p\" %s\n", number, t.ours())
		b.WriteString("if [ -e \"$p\" ]; then\n\tsay \"removing $now\"\n\trm -f \"$p\"\nfi\n")
	}
}

// ours is the digest of what the transaction writes, or a word that no digest equals.
func (t target) ours() string {
	if t.After.SHA256 == "" {
		return "none"
	}
	return t.After.SHA256
}

func writeAttrs(b *strings.Builder, file string, t target) {
	fmt.Fprintf(b, "chown %d:%d \"$%s\"\n", t.Before.UID, t.Before.GID, file)
	// Five digits: with fewer, chmod keeps setuid and setgid on directories.
	fmt.Fprintf(b, "chmod %05o \"$%s\"\n", t.Before.Mode, file)
	for _, name := range strayXAttrs(t.Before.XAttrs, t.After.XAttrs) {
		fmt.Fprintf(b, "drop %s \"$%s\"\n", quote(name), file)
	}
	for _, name := range xattrNames(t.Before.XAttrs) {
		value := ""
		if len(t.Before.XAttrs[name]) > 0 {
			value = "-v 0x" + hex.EncodeToString(t.Before.XAttrs[name]) + " "
		}
		fmt.Fprintf(b, "setfattr -n %s %s\"$%s\"\n", quote(name), value, file)
	}
}
