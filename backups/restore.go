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
nl='
'
now='the checks before the first change'
states=
behind=
incomplete=
lost=
ended=

say() { printf '%%s\n' "$*"; }
stop() {
	printf 'restore.sh: %%s\n' "$*" >&2
	exit 1
}
finish() {
	code=$?
	[ -n "$ended" ] || report
	[ "$code" = 0 ] || [ -n "$ended" ] || printf 'restore.sh: stopped at %%s: remove the cause and run it again\n' "$now" >&2
	exit "$code"
}
trap finish EXIT

# tell STATE [WHY]: what state $now is in, for the report at the end
tell() { states=$states$(printf '%%-12s %%s' "$1" "$now")${2:+: $2}$nl; }
report() { [ -z "$states" ] || printf 'what was to be brought back is:\n%%s' "$states"; }
# try COMMAND...: $why is why it failed
try() {
	if why=$(LC_ALL=C "$@" 2>&1); then return 0; fi
	why="$1: ${why##*: }"
	return 1
}
# run COMMAND...: what is done after the files; where it fails, the rest is done all the same
run() {
	if "$@"; then return 0; fi
	printf 'restore.sh: this failed: %%s\n' "$*" >&2
	now=$*
	tell failed
	incomplete=yes
}
sum() { sha256sum <"$1" | cut -c1-64; }
# is FILE SHA256
is() { [ ! -L "$1" ] && [ -f "$1" ] && [ "$(sum "$1")" = "$2" ]; }
# saved SHA256 FILE NAME: the original is there and intact, or FILE is as it was
saved() {
	if is "$here/before/$1" "$1" || is "$2" "$1"; then return 0; fi
	printf 'restore.sh: %%s cannot be restored: its saved original before/%%s is missing or damaged\n' "$3" "$1" >&2
	lost=yes
}

# Of one target: $now is its name, $p its path, $t the dot-file that its content is made in, $was and $planned what it held
# and was to hold: a SHA256, "dir" or "nothing". What fails sets $why; the other targets come back all the same.

# holds WHAT: that is there
holds() {
	case $1 in
	nothing) [ ! -e "$p" ] && [ ! -L "$p" ] ;;
	dir) [ -d "$p" ] && [ ! -L "$p" ] ;;
	*) is "$p" "$1" ;;
	esac
}
# ready: no link on its way leads out of ROOT, where the running system is, and nothing that an earlier run left is in the way
ready() {
	kept=
	but=
	if [ -n "$ROOT" ] && [ -d "${p%%/*}" ]; then
		case $(cd "${p%%/*}" && pwd -P)/ in
		"$(cd "$ROOT" && pwd -P)"/*) ;;
		*)
			why="a link on the way leads out of $ROOT"
			return 1
			;;
		esac
	fi
	clear
}
# clear: removes what a run left of its own
clear() { if [ -d "$t" ] && [ ! -L "$t" ]; then try rmdir "$t"; else try rm -f "$t"; fi; }
# empty: nothing is in the directory
empty() {
	for f in "$p"/* "$p"/.[!.]* "$p"/..?*; do
		if [ -e "$f" ] || [ -L "$f" ]; then return 1; fi
	done
}
# keep NUMBER: saves what is there unless that is what kubectl-harden wrote
keep() {
	if [ -L "$p" ]; then why='it is a symbolic link now: move it away' && return 1; fi
	if [ ! -e "$p" ]; then return 0; fi
	if [ ! -f "$p" ]; then why='it is not a regular file now: move it away' && return 1; fi
	if is "$p" "$planned"; then return 0; fi
	copy=kept/$1-$(sum "$p")
	try mkdir -p "$here/kept" && try cp -p "$p" "$here/$copy" && try sync || return 1
	kept=$copy
	say "$now was changed by someone else since: a copy is in $here/$kept"
}
# back HOW: it is as before
back() {
	how="$1${kept:+; what others had written is in $here/$kept}"
	if [ -n "$but" ]; then tell 'unlike both' "$how; as before but for$but"; else tell 'as before' "$how"; fi
}
# left WHY: it is not
left() {
	printf 'restore.sh: %%s is left as it is: %%s\n' "$now" "$1" >&2
	behind=$behind$now$nl
	incomplete=yes
	why="$1${kept:+; what others had written is in $here/$kept too}"
	if [ "$was" != "$planned" ] && holds "$planned"; then
		tell 'as planned' "$why"
	elif holds "$was"; then
		tell unknown "its content is as before; its owner, mode and attributes may not be: $why"
	else
		tell 'unlike both' "$why"
	fi
}
# stays NAME: that target could not be brought back
stays() {
	case $nl$behind in
	*"$nl$1$nl"*) return 0 ;;
	esac
	return 1
}

if ! command -v sha256sum >/dev/null; then stop 'sha256sum is needed'; fi
if command -v setfattr >/dev/null; then
	# attribute NAME VALUE FILE
	attribute() { if [ -n "$2" ]; then try setfattr -n "$1" -v "$2" "$3"; else try setfattr -n "$1" "$3"; fi; }
	# drop NAME FILE: removes an extended attribute, if it is there
	drop() {
		if why=$(LC_ALL=C setfattr -x "$1" "$2" 2>&1); then return 0; fi
		case $why in
		*': No such attribute' | *': No data available') return 0 ;;
		esac
		printf 'restore.sh: extended attribute %%s of %%s cannot be removed: %%s\n' "$1" "$now" "${why##*: }" >&2
		but="$but extended attribute $1"
		incomplete=yes
	}
else
	attribute() {
		printf 'restore.sh: setfattr is not installed: extended attribute %%s of %%s is left as it is\n' "$1" "$now" >&2
		but="$but extended attribute $1"
		incomplete=yes
	}
	drop() { attribute "$1"; }
fi
`

const scriptFoot = `
now='the end'
try sync || { tell failed "$why" && incomplete=yes; }
report
ended=yes
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

// writeTarget brings one target back, or leaves it and says why: whatever becomes of it, the next one has its turn. Each step is
// asked for, as a shell does not stop at what fails inside a condition.
func writeTarget(b *strings.Builder, number int, t target) {
	fmt.Fprintf(b, "\nnow=%s\n", quote(printable(t.Path)))
	fmt.Fprintf(b, "p=$ROOT%s\n", quote(t.Path))
	fmt.Fprintf(b, "t=$ROOT%s\n", quote(path.Join(path.Dir(t.Path), path.Base(t.Temp))))
	fmt.Fprintf(b, "was=%s planned=%s\n", t.Before.held(), t.After.held())
	if t.Before.Exists {
		writeAttrs(b, t)
	}
	b.WriteString("if ! ready; then\n\tleft \"$why\"\n")
	switch {
	case !t.Before.Exists && !t.After.Exists:
		b.WriteString("elif holds nothing; then\n\tback 'it was so already'\nelse\n\ttell 'unlike both' 'others have made it'\nfi\n")
	case t.Before.Exists && t.Before.Dir:
		b.WriteString("elif [ -L \"$p\" ]; then\n\tleft 'it is a symbolic link now: move it away'\n" +
			"elif holds dir; then\n\tif attributes \"$p\"; then back 'it was there already'; else left \"$why\"; fi\n" +
			"elif say \"restoring directory $now\" && try mkdir \"$p\" && attributes \"$p\"; then\n\tback restored\n" +
			"else\n\tleft \"$why\"\nfi\n")
	case t.Before.Exists:
		saved := quote("before/" + t.Before.SHA256)
		b.WriteString("elif holds \"$was\"; then\n\tif attributes \"$p\"; then back 'its content was so already'; else left \"$why\"; fi\n")
		fmt.Fprintf(b, "elif ! is \"$here\"/%s \"$was\"; then\n\tleft 'its saved original is missing or damaged'\n", saved)
		fmt.Fprintf(b, "elif keep %d && say \"restoring $now\" &&\n", number)
		fmt.Fprintf(b, "\ttry cp \"$here\"/%s \"$t\" && attributes \"$t\" && try sync && try mv -f \"$t\" \"$p\"; then\n\tback restored\n", saved)
		b.WriteString("else\n\tleft \"$why\"\n\tclear || :\nfi\n")
	case t.After.Dir:
		b.WriteString("elif holds nothing; then\n\tback 'it was so already'\n" +
			"elif ! holds dir; then\n\tleft 'it is not a directory now: move it away'\n" +
			"elif ! empty; then\n\tothers=': others use it'\n\t[ -z \"$incomplete\" ] || others=\n\tsay \"left directory $now: it is not empty$others\"\n\ttell 'as planned' \"it is not empty$others\"\n" +
			"elif say \"removing directory $now\" && try rmdir \"$p\"; then\n\tback removed\n" +
			"else\n\tleft \"$why\"\nfi\n")
	default:
		b.WriteString("elif holds nothing; then\n\tback 'it was so already'\n")
		fmt.Fprintf(b, "elif keep %d && say \"removing $now\" && try rm -f \"$p\"; then\n\tback removed\n", number)
		b.WriteString("else\n\tleft \"$why\"\nfi\n")
	}
}

// held is what restore.sh calls it.
func (r record) held() string {
	switch {
	case !r.Exists:
		return "nothing"
	case r.Dir:
		return "dir"
	}
	return r.SHA256
}

func writeAttrs(b *strings.Builder, t target) {
	b.WriteString("attributes() {\n")
	fmt.Fprintf(b, "\ttry chown %d:%d \"$1\" &&\n", t.Before.UID, t.Before.GID)
	// Five digits: with fewer, chmod keeps setuid and setgid on directories.
	fmt.Fprintf(b, "\t\ttry chmod %05o \"$1\"", t.Before.Mode)
	for _, name := range strayXAttrs(t.Before.XAttrs, t.After.XAttrs) {
		fmt.Fprintf(b, " &&\n\t\tdrop %s \"$1\"", quote(name))
	}
	for _, name := range xattrNames(t.Before.XAttrs) {
		value := "''"
		if len(t.Before.XAttrs[name]) > 0 {
			value = "0x" + hex.EncodeToString(t.Before.XAttrs[name])
		}
		fmt.Fprintf(b, " &&\n\t\tattribute %s %s \"$1\"", quote(name), value)
	}
	b.WriteString("\n}\n")
}
