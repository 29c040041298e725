# As %systemd_post: what the system's presets say of the service.
if command -v systemctl >/dev/null; then
	[ "$1" -ne 1 ] || systemctl --no-reload preset mirrord.service >/dev/null 2>&1 || :
	[ ! -d /run/systemd/system ] || systemctl daemon-reload >/dev/null 2>&1 || :
fi
