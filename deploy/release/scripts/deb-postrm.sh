#!/bin/sh
# After the removal, configuration and cache stay; after a purge nothing stays.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload >/dev/null || true
fi

if [ "$1" = purge ]; then
	if command -v deb-systemd-helper >/dev/null; then
		deb-systemd-helper purge mirrord.socket mirrord.service >/dev/null || true
		deb-systemd-helper unmask mirrord.socket mirrord.service >/dev/null || true
	fi
	for parent in /var/cache /var/lib /var/log; do
		# A directory of a dynamic user, with a link to it. It may be a mount point, which
		# is emptied but cannot be removed.
		rm -rf "$parent/private/mirrord" 2>/dev/null || true
		rm -rf "$parent/mirrord" 2>/dev/null || true
	done
	rm -rf /etc/mirrord /etc/default/mirrord
fi
