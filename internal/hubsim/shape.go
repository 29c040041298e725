package hubsim

import (
	"io"
	"net/http"
	"time"
)

// piece is how long a bounded body may send before it looks at the clock.
const piece = 20 * time.Millisecond

// shape sends p piece by piece, up to where the fault ends the body.
func (a *answer) shape(p []byte) (int, error) {
	if a.began.IsZero() {
		a.began = time.Now()
	}
	total := 0
	for total < len(p) {
		room := a.room()
		if room == 0 {
			a.end()
		}
		n, err := a.pass(p[total:][:min(int64(len(p)-total), room)])
		total += n
		if err != nil {
			return total, err
		}
		a.pace()
	}
	return total, nil
}

// room is how many bytes may be sent now; 0 means that the body ends here.
func (a *answer) room() int64 {
	room := int64(1 << 20)
	if rate := a.fault.Bandwidth; rate > 0 {
		room = max(1, int64(float64(rate)*piece.Seconds()))
	}
	for _, after := range []int64{a.fault.DropAfter, a.fault.StallAfter} {
		if after != 0 {
			room = min(room, max(0, after-a.sent))
		}
	}
	return room
}

// end cuts the connection, at once or when the client has had enough.
func (a *answer) end() {
	a.flush()
	drop := a.fault.DropAfter
	if drop == 0 || a.sent < drop {
		<-a.ctx.Done()
	}
	panic(http.ErrAbortHandler)
}

// pace waits until the bandwidth allows what has been sent.
func (a *answer) pace() {
	if a.fault.Bandwidth == 0 {
		return
	}
	due := time.Duration(float64(a.sent) / float64(a.fault.Bandwidth) * float64(time.Second))
	if ahead := due - time.Since(a.began); ahead > 0 {
		a.flush()
		a.wait(ahead)
	}
}

// wait gives the request up when the client leaves first.
func (a *answer) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-a.ctx.Done():
		panic(http.ErrAbortHandler)
	}
}

// goOn sends more than there is, if the fault says so.
func (a *answer) goOn() {
	zeros := make([]byte, 32<<10)
	for a.fault.Endless && a.chunked {
		if _, err := a.Write(zeros); err != nil {
			return
		}
	}
}

// instead answers what the fault says in place of the true answer, if it does.
func (a *answer) instead() bool {
	switch f := a.fault; {
	case f.Abuse:
		a.Header().Set("Content-Type", "text/plain")
		a.Header().Set("Connection", "close")
		a.Header().Set("Retry-After", "60")
		a.text(http.StatusTooManyRequests, []byte("Too Many Requests (HAP429).\n"))
	case f.PullLimit:
		a.pullLimit("")
	case f.Status != 0:
		for name, value := range f.Header {
			a.Header().Set(name, value)
		}
		if f.ContentType != "" {
			a.Header().Set("Content-Type", f.ContentType)
		}
		a.text(f.Status, []byte(f.Body))
	default:
		return false
	}
	return true
}

// pullLimit answers the 429 of the pull limit.
func (a *answer) pullLimit(user string) {
	message := "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
	if user != "" {
		message = "You have reached your pull rate limit. You may increase the limit by authenticating and " +
			"upgrading: https://www.docker.com/increase-rate-limit"
	}
	a.fail(http.StatusTooManyRequests, "TOOMANYREQUESTS", message, nil)
}

// flipped is content with one byte inverted.
type flipped struct {
	io.ReadSeeker
	at  int64
	pos int64
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadSeeker.Read(p)
	if i := f.at - f.pos; i >= 0 && i < int64(n) {
		p[i] ^= 0xff
	}
	f.pos += int64(n)
	return n, err
}

func (f *flipped) Seek(offset int64, whence int) (int64, error) {
	pos, err := f.ReadSeeker.Seek(offset, whence)
	f.pos = pos
	return pos, err
}

// readerAt lets one reader at a time read at an offset.
type readerAt struct{ io.ReadSeeker }

func (r readerAt) ReadAt(p []byte, offset int64) (int, error) {
	if _, err := r.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	return io.ReadFull(r, p)
}
