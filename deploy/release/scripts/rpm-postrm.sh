# As %systemd_postun_with_restart: an upgrade restarts the service.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload >/dev/null 2>&1 || :
	[ "$1" -lt 1 ] || systemctl try-restart mirrord.service >/dev/null 2>&1 || :
fi
