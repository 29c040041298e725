package telemetry

import (
	"bytes"
	"errors"
	"testing"

	"go.uber.org/zap"

	"mirrord/internal/access"
)

// fullDisk has space for so many bytes.
type fullDisk struct {
	bytes.Buffer
	space int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.space)
	d.space -= n
	_, _ = d.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (d *fullDisk) Close() error { return nil }

// A line that was cut off does not damage the next one, however long the disk was full.
func TestAuditTorn(t *testing.T) {
	disk := &fullDisk{space: 30}
	a := &Audit{lines: make(chan []byte, 1), log: zap.NewNop(), metrics: NewMetrics("1"), out: disk}
	refuse := func() {
		a.Refused(access.Refusal{Err: errors.New("no")})
		a.write(<-a.lines)
	}
	refuse()
	refuse()
	disk.space = 1000
	refuse()
	refuse()
	lines := bytes.Split(bytes.TrimSpace(disk.Bytes()), []byte("\n"))
	if len(lines) != 3 || !bytes.HasPrefix(lines[1], []byte(`{"time"`)) || !bytes.HasPrefix(lines[2], []byte(`{"time"`)) {
		t.Errorf("%q", lines)
	}
}
