#!/bin/sh
# Builds the journal with one planted bug at a time and demands that its tests go red, by a finding of the right name.
# Run in the folder spool. GO is the go command.
GO=${GO:-go}
rc=0
try() {
	tag=$1 finding=$2
	out=$($GO test -count=1 -tags "mutant_$tag" -run 'Crash|Error|Fault|Tail|Flip' . -args -seeds 2000 2>&1)
	if [ $? -eq 0 ]; then
		echo "mutant_$tag: NOT FOUND"
		rc=1
	elif echo "$out" | grep -q "$finding"; then
		echo "mutant_$tag: found: $(echo "$out" | grep -m1 "$finding" | cut -c1-150)"
	else
		echo "mutant_$tag: red, but not by \"$finding\":"
		echo "$out" | head -5
		rc=1
	fi
}
try nofsync 'lost:'
try nodirsync 'lost:'
try unlinkfirst 'lost:'
try fsyncretry 'lost:'
try torn 'want damage'
try corrupt 'taken for damage'
exit $rc
