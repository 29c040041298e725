package ratelimit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"mirrord/internal/oci"
)

// Ledger has the budgets of all credentials, and what the last process knew of
// them. Make the Transports first; then its methods may be called concurrently.
type Ledger struct {
	remembered map[string][]byte
	upstreams  map[string]*upstream
	transports []*Transport
}

// NewLedger returns a Ledger that goes on from what Records returned in an
// earlier process; that may be empty.
func NewLedger(records map[string][]byte) *Ledger {
	return &Ledger{remembered: records, upstreams: make(map[string]*upstream)}
}

// Transport returns one for a credential that sends its requests through next.
// What was remembered of the credential and cannot be read is an error, and
// then is as nothing.
func (l *Ledger) Transport(name, credential string, next http.RoundTripper) (*Transport, error) {
	u := l.upstreams[name]
	if u == nil {
		u = &upstream{name: name}
		l.upstreams[name] = u
	}
	t := newTransport(u, credential, next)
	l.transports = append(l.transports, t)
	if raw, ok := l.remembered[t.key()]; ok {
		if err := t.restore(raw); err != nil {
			return t, fmt.Errorf("restore the saved budget of %s at %s: %w", credential, name, err)
		}
	}
	return t, nil
}

// Budgets returns what is known now, in the order of the Transports.
func (l *Ledger) Budgets() []Budget {
	budgets := make([]Budget, len(l.transports))
	for i, t := range l.transports {
		budgets[i] = t.Budget()
	}
	return budgets
}

// Records returns what the next process should know, by credential.
func (l *Ledger) Records() map[string][]byte {
	records := make(map[string][]byte)
	for _, t := range l.transports {
		records[t.key()] = t.record()
	}
	return records
}

// record is a Transport's state as it is kept.
type record struct {
	Limit     int
	Window    time.Duration
	Remaining int
	Reset     time.Time
	Source    string
	Observed  time.Time
	Since     time.Time
	LimitedAt time.Time
	LimitedBy oci.LimitKind
	Pulls     *oci.LimitError
	Told      bool
	Closed    time.Time
	All       *oci.LimitError
}

func (t *Transport) key() string { return t.upstream.name + " " + t.credential }

func (t *Transport) record() []byte {
	t.upstream.mu.Lock()
	defer t.upstream.mu.Unlock()
	f := t.figures
	raw, err := json.Marshal(record{
		Limit: f.limit, Window: f.window, Remaining: f.remaining, Reset: f.reset,
		Source: f.source, Observed: f.observed, Since: f.since,
		LimitedAt: f.limitedAt, LimitedBy: f.limitedBy,
		Pulls: t.pulls.closed, Told: t.pulls.told, Closed: t.pulls.since,
		All: t.upstream.all.closed,
	})
	if err != nil {
		panic(err) // plain fields always marshal
	}
	return raw
}

// restore takes up what record told. A time to wait that is longer than any is
// was written by a clock that was wrong, and is cut.
func (t *Transport) restore(raw []byte) error {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	t.figures = figures{
		quota:  quota{limit: r.Limit, window: r.Window, remaining: r.Remaining, reset: r.Reset},
		source: r.Source, observed: r.Observed, since: r.Since,
		limitedAt: r.LimitedAt, limitedBy: r.LimitedBy,
	}
	now := time.Now()
	if r.Observed.After(now) {
		t.figures = figures{}
	}
	t.pulls = gate{closed: clamp(r.Pulls, now), told: r.Told, since: r.Closed}
	if all := clamp(r.All, now); all != nil {
		t.upstream.all.close(all, now)
	}
	return nil
}

func clamp(limit *oci.LimitError, now time.Time) *oci.LimitError {
	if limit != nil && limit.RetryAt.After(now.Add(maxRetry)) {
		limit.RetryAt = now.Add(maxRetry)
	}
	return limit
}
