#!/bin/sh
# After the files are there. An upgrade restarts a daemon that runs; a first installation starts none: the topology that
# comes with the package is a trial.
set -e
[ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
case "$1" in
configure) [ -z "$2" ] || systemctl try-restart posthouse.service ;; # deb; $2 is the version of before
[2-9]*) systemctl try-restart posthouse.service ;;                   # rpm; the number of versions installed
esac
