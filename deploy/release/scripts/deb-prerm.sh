#!/bin/sh
# Before the removal: stop the service. An upgrade restarts it when all is in place.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop mirrord.service >/dev/null || true
fi
