# As %systemd_preun: the last version that is removed disables and stops service and socket.
if [ "$1" -eq 0 ] && command -v systemctl >/dev/null; then
	systemctl --no-reload disable mirrord.socket mirrord.service >/dev/null 2>&1 || :
	[ ! -d /run/systemd/system ] || systemctl stop mirrord.socket mirrord.service >/dev/null 2>&1 || :
fi
