#!/bin/sh
# After the installation: enable and start the service; after an upgrade: restart it.
set -e

case "$1" in
configure | abort-upgrade | abort-deconfigure | abort-remove) ;;
*) exit 0 ;;
esac

deb-systemd-helper unmask mirrord.service >/dev/null || true
# It was never disabled by hand: enable what is new in the unit, too.
if deb-systemd-helper --quiet was-enabled mirrord.service; then
	deb-systemd-helper enable mirrord.service >/dev/null || true
else
	deb-systemd-helper update-state mirrord.service >/dev/null || true
fi

if [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload >/dev/null || true
	action=start
	[ -z "$2" ] || action=restart # leaves a service alone that was disabled and stopped
	deb-systemd-invoke $action mirrord.service >/dev/null || true
fi
