#!/bin/sh
# Before the removal: stop the service, and the socket, which would start it again. An
# upgrade restarts the service when all is in place.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop mirrord.socket mirrord.service >/dev/null || true
fi
