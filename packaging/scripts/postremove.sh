#!/bin/sh
# After the files have gone. /var/lib/posthouse is never removed, not even by a purge: messages may wait in it.
set -e
[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] && systemctl daemon-reload
if [ "$1" = purge ] && [ -d "${DPKG_ROOT:-}/var/lib/posthouse" ]; then
	echo "posthouse: /var/lib/posthouse stays; remove it yourself if nothing in its spool is needed" >&2
fi
exit 0
