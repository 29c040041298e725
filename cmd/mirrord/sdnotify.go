package main

import (
	"strings"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
)

// maxStatus is how many bytes of an error systemd is told: it reads 4 KiB of a message.
const maxStatus = 1000

// tellSystemd sends a state to systemd, if it has started this process.
func tellSystemd(log *zap.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("cannot notify systemd", zap.String("state", state), zap.Error(err))
	}
}

// hangup reloads, and tells systemd when that begins and how it has ended: systemctl
// status shows why a configuration was refused.
func (d *daemon) hangup() {
	tellSystemd(d.log, systemd.SdNotifyReloading+"\n"+systemd.SdNotifyMonotonicUsec())
	tellSystemd(d.log, systemd.SdNotifyReady+"\n"+reloadStatus(d.reload()))
}

// reloadStatus is what systemctl status shows after a reload that has ended with err. It
// has one line, and no control characters of a file.
func reloadStatus(err error) string {
	if err == nil {
		return "STATUS=Serving; the configuration has been read again"
	}
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r < ' ' }), "; ")
	text = strings.ToValidUTF8(text[:min(len(text), maxStatus)], "") // as systemd wants it
	return "STATUS=Serving with the previous configuration; the changed one cannot be used: " + text
}
