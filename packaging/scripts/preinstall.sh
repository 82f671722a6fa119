#!/bin/sh
# Before the files are unpacked: the user that some of them belong to. dpkg sets DPKG_ROOT when it installs elsewhere.
set -e
root=${DPKG_ROOT:-}
if ! grep -q '^posthouse:' "$root/etc/passwd" 2>/dev/null; then
	useradd ${root:+--prefix "$root"} --system --user-group --no-create-home --home-dir /var/lib/posthouse \
		--shell /usr/sbin/nologin posthouse
fi
