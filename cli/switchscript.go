package cli

import (
	"fmt"
	"path"
	"strings"

	"kubectl-harden.io/kubectl-harden/host"
)

// switchText is what the units of a dead man's switch run. It asks the copy of the program first. Where that cannot run, or is
// not what was copied, it does the same by restore.sh, under the same lock and with the same look at the journal.
const switchText = `#!/bin/sh
# The dead man's switch of kubectl-harden transaction %[1]s: undoes it, unless it was confirmed.
#
#   sh switch.sh expiry   its time is over
#   sh switch.sh boot     the node was restarted, and the kubelet is not started yet
#   sh switch.sh drill    changes nothing, and says what of this can run here
set -u
umask 077
here=%[2]s
lock=%[3]s
journal=$here/journal.jsonl

say() { printf 'kubectl-harden: %%s\n' "$*"; }
program() {
	[ "$(sha256sum <"$here/kubectl-harden" | cut -c1-64)" = %[4]s ] || { say 'the program is not what it was'; return 1; }
	"$here/kubectl-harden" switch "$1" %[1]s %[5]s
}
usable() { command -v flock >/dev/null && command -v sha256sum >/dev/null && /bin/sh -n "$here/restore.sh"; }
# entries KIND: those of this kind in the journal
entries() { grep "^{\"seq\":[0-9]*,\"time\":\"[^\"]*\",\"kind\":\"$1\"" "$journal"; }
has() { entries "$1" >/dev/null; }
# settled: it has an outcome, and not that of an undo that failed
settled() { entries end | grep -qv '"kind":"end","data":{"outcome":"mixed"}'; }
# armings: how often its time has begun
armings() { entries '\(armed\|waiting\)' | wc -l; }
# anew: it has begun once more since this script runs, so that another timer waits
anew() { [ "$1" = expiry ] && [ "$(armings)" -gt "$armed" ] && ! has undoing; }
# end_holder: ends the process that took the lock, if it is the same one still and has done nothing for as long as it may: %[11]d
# seconds, or %[12]d without a word in the journal once it undoes
end_holder() {
	size=$(wc -c <"$journal")
	patience=%[11]d
	if has undoing; then
		patience=%[12]d
		if [ "$size" != "$heard" ]; then idle=0; fi
	fi
	heard=$size
	if [ "$idle" -lt "$patience" ]; then return; fi
	pid=$(sed -n 's/.*"pid":\([0-9]*\).*/\1/p' "$lock")
	start=$(sed -n 's/.*"start":\([0-9]*\).*/\1/p' "$lock")
	now=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)
	if [ -n "$start" ] && [ "$start" = "$now" ] && kill -9 "$pid"; then
		say "the holder of the lock hung and was ended: process $pid"
		idle=0
	fi
}
disarm() {
	made=
	if grep -q 'made with this file' %[6]s 2>/dev/null; then made=yes; fi
	rm -f %[7]s
	if [ -n "$made" ]; then rmdir %[8]s 2>/dev/null; fi
	if command -v systemctl >/dev/null; then
		systemctl --no-block stop %[9]s.timer 2>/dev/null
		systemd-run --quiet --collect --unit=%[9]s-forget.service --description='systemd forgets %[9]s' -- /bin/sh -c %[10]s sh %[9]s.service %[9]s-boot.service 2>/dev/null
	fi
	return 0
}

case $1 in
drill)
	if said=$(program drill 2>&1); then can=kubectl-harden; elif usable 2>/dev/null; then can=restore.sh; else can=nothing; fi
	printf '%%s\n%%s\n' "$can" "$said" >"$here/drilled"
	exit ;;
expiry | boot) ;;
*) exit 2 ;;
esac

armed=$(armings)
if program "$1"; then
	# What runs is proven, and the switch removed, by the unit of its expiry, once the kubelet is up.
	if [ "$1" = boot ]; then systemctl --no-block start %[9]s.service 2>/dev/null; fi
	exit 0
fi
say 'the program could not bring everything back, so restore.sh does'
exec 9>>"$lock" || exit 1
idle=0 heard=
until flock -n 9; do
	if anew "$1"; then say 'its time has begun anew'; exit 0; fi
	end_holder
	if [ "$idle" -ge 900 ]; then say 'another run holds the lock, and cannot be ended'; exit 1; fi
	sleep 1
	idle=$((idle + 1))
done
if settled; then say 'it is settled already'; disarm; exit 0; fi
if has passed; then say 'it was confirmed; recover settles it'; disarm; exit 0; fi
if anew "$1"; then say 'its time has begun anew'; exit 0; fi
if [ "$1" = boot ]; then FILES=only; export FILES; fi
if ! /bin/sh "$here/restore.sh" 9>&-; then
	say "not everything is as before: remove the cause, then: sh $here/restore.sh"
	exit 1
fi
say 'restored; kubectl-harden recover proves and settles it'
disarm
`

// script is the text for a transaction and the copy of the program with this sum.
func (d *deadMan) script(tx, sum string) string {
	dir, name := path.Dir(d.at(tx, switchScript)), switchOf(tx)
	paths := host.GuardPaths(name)
	var flags, files []string
	for _, f := range d.flags {
		flags = append(flags, shellWord(f))
	}
	for _, p := range paths {
		files = append(files, shellWord(p))
	}
	return fmt.Sprintf(switchText, tx, shellWord(dir), shellWord(d.lockPath), sum, strings.Join(flags, " "),
		shellWord(paths[0]), strings.Join(files, " "), shellWord(path.Dir(paths[0])), name,
		shellWord(strings.ReplaceAll(host.ForgetScript, "$", "$$")), int(holderPatience.Seconds()), int(undoPatience.Seconds()))
}
