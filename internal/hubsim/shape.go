package hubsim

import (
	"io"
	"net/http"
	"time"
)

// piece is how long a body with Bandwidth sends before it checks the clock.
const piece = 20 * time.Millisecond

// shape sends p in pieces, up to where the fault ends the body.
func (a *response) shape(p []byte) (int, error) {
	if a.began.IsZero() {
		a.began = time.Now()
	}
	total := 0
	for total < len(p) {
		allowed := a.allowed()
		if allowed == 0 {
			a.end()
		}
		n, err := a.pass(p[total:][:min(int64(len(p)-total), allowed)])
		total += n
		if err != nil {
			return total, err
		}
		a.pace()
	}
	return total, nil
}

// allowed returns how many bytes may be sent now; 0 means that the body ends here.
func (a *response) allowed() int64 {
	allowed := int64(1 << 20)
	if rate := a.fault.Bandwidth; rate > 0 {
		allowed = max(1, int64(float64(rate)*piece.Seconds()))
	}
	for _, after := range []int64{a.fault.DropAfter, a.fault.StallAfter} {
		if after != 0 {
			allowed = min(allowed, max(0, after-a.sent))
		}
	}
	return allowed
}

// end cuts the connection, at once or when the client disconnects.
func (a *response) end() {
	a.flush()
	drop := a.fault.DropAfter
	if drop == 0 || a.sent < drop {
		<-a.ctx.Done()
	}
	panic(http.ErrAbortHandler)
}

// pace waits until Bandwidth allows what has been sent.
func (a *response) pace() {
	if a.fault.Bandwidth == 0 {
		return
	}
	due := time.Duration(float64(a.sent) / float64(a.fault.Bandwidth) * float64(time.Second))
	if ahead := due - time.Since(a.began); ahead > 0 {
		a.flush()
		a.wait(ahead)
	}
}

// wait waits for d, and aborts the request when the client disconnects.
func (a *response) wait(d time.Duration) {
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

// sendEndless sends zeros after the content, if the fault is Endless.
func (a *response) sendEndless() {
	zeros := make([]byte, 32<<10)
	for a.fault.Endless && a.chunked {
		if _, err := a.Write(zeros); err != nil {
			return
		}
	}
}

// serveFault sends the response of the fault, and reports whether it has one.
func (h *Hub) serveFault(a *response, r *http.Request) bool {
	switch f := a.fault; {
	case f.Abuse:
		a.Header().Set("Content-Type", "text/plain")
		a.Header().Set("Connection", "close")
		a.Header().Set("Retry-After", "60")
		a.text(http.StatusTooManyRequests, []byte("Too Many Requests (HAP429).\n"))
	case f.PullLimit:
		h.pullLimit(a, r, "")
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

// pullLimit sends the 429 of the pull limit.
func (h *Hub) pullLimit(a *response, r *http.Request, user string) {
	message := "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
	if user != "" {
		message = "You have reached your pull rate limit. You may increase the limit by authenticating and " +
			"upgrading: https://www.docker.com/increase-rate-limit"
	}
	h.reply(a, r, h.opts.Profile.Limited.or(failure(http.StatusTooManyRequests, "TOOMANYREQUESTS", message, nil)))
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
