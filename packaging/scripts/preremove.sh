#!/bin/sh
# Before the files go for good: the daemon ends, in order. What is in its spool stays.
set -e
case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] || exit 0
systemctl --no-reload disable --now posthouse.service
