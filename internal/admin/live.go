package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"mirrord/internal/status"
)

const (
	maxWatchers    = 32               // clients that watch the status at once
	liveEvery      = time.Second      // at most so often a changed status is sent
	heartbeatEvery = 15 * time.Second // so often something is sent when nothing changes
	writeTime      = 10 * time.Second // for a client to take it
)

// serveLive sends the status as server-sent events, one at once and one whenever it has
// changed, until the client leaves or is too slow, or the mirror drains.
func (a *API) serveLive(w http.ResponseWriter, r *http.Request) {
	select {
	case a.watchers <- struct{}{}:
		defer func() { <-a.watchers }()
	default:
		w.Header().Set("Retry-After", "10")
		writeError(w, refuse(http.StatusServiceUnavailable, fmt.Errorf("%d clients watch the status already; close one, or ask %s", maxWatchers, statusPath)))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy of nginx would wait for more
	a.watch(r.Context(), &eventWriter{w, http.NewResponseController(w)}, a.opts.Token.trusts(r))
}

// watch sends events until one cannot be sent, ctx ends or the mirror drains.
func (a *API) watch(ctx context.Context, events *eventWriter, names bool) {
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var last []byte
	var sent time.Time
	for {
		s := a.currentStatus(names)
		lasting := lastingPart(s)
		changed := !bytes.Equal(lasting, last)
		var err error
		if changed || time.Since(sent) >= heartbeatEvery {
			err = events.send(s)
			last, sent = lasting, time.Now()
		}
		if err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-a.drained:
			events.extend()
			return
		}
	}
}

// lastingPart is what has to change for a status to be sent again: all but what time
// alone changes.
func lastingPart(s status.Status) []byte {
	s.Errors = slices.Clone(s.Errors)
	for i := range s.Errors {
		if s.Errors[i].Ongoing {
			s.Errors[i].Time = time.Time{}
		}
	}
	s.Now, s.Cache.Oldest, s.Cache.Holds, s.Cache.Free = time.Time{}, 0, 0, 0
	raw, _ := json.Marshal(s) // plain fields always marshal
	return raw
}

// eventWriter writes server-sent events, each at once.
type eventWriter struct {
	response   io.Writer
	controller *http.ResponseController
}

// send sends value. It fails when the client has left or does not take it in time.
func (e *eventWriter) send(value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	e.extend()
	if _, err := fmt.Fprintf(e.response, "data: %s\n\n", raw); err != nil {
		return err
	}
	return e.controller.Flush()
}

// extend gives the client time to take what is written next. Where it cannot be limited,
// it is not.
func (e *eventWriter) extend() { _ = e.controller.SetWriteDeadline(time.Now().Add(writeTime)) }

// Live calls each with the status of the mirror, and as the mirror sent it, now and when it
// changes, until ctx ends, each fails or the mirror ends; it returns why.
func (c *Client) Live(ctx context.Context, each func(s status.Status, raw []byte) error) error {
	resp, err := c.send(ctx, http.MethodGet, livePath, nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxResponse)
	for lines.Scan() {
		raw, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		var s status.Status
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("the mirror at %s sends an invalid status: %w", c.listen, err)
		}
		if err := each(s, raw); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("the mirror at %s has ended: %w", c.listen, errors.Join(lines.Err(), io.EOF))
}
