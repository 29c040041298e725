package ratelimit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"mirrord/internal/oci"
)

// Ledger holds the budgets of all credentials, and what the last process knew of
// them. Its methods may be called concurrently.
type Ledger struct {
	mu         sync.Mutex // guards all below; taken before that of an upstream
	remembered map[string][]byte
	upstreams  map[string]*upstream
	transports []*Transport
}

// NewLedger returns a Ledger that continues from the Records of an earlier
// process, which may be empty.
func NewLedger(records map[string][]byte) *Ledger {
	return &Ledger{remembered: records, upstreams: make(map[string]*upstream)}
}

// Transport returns a Transport for a credential that sends its requests through
// next, which is the same in each call for an upstream. When the record of the credential
// is invalid it returns an error together with a usable Transport that starts without a
// record.
func (l *Ledger) Transport(name, credential string, next http.RoundTripper) (*Transport, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.transports {
		if t.upstream.name == name && t.credential == credential {
			return t, nil
		}
	}
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

// Arrange makes these the only Transports, in that order. A credential that comes back
// later starts without a record.
func (l *Ledger) Arrange(transports []*Transport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transports = transports
}

func (l *Ledger) all() []*Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.transports
}

// Budgets returns what is known now, in the order in which the Transports were
// created, or arranged.
func (l *Ledger) Budgets() []Budget {
	transports := l.all()
	budgets := make([]Budget, len(transports))
	for i, t := range transports {
		budgets[i] = t.Budget()
	}
	return budgets
}

// Records returns a record for the next process for each credential, under a key
// that is opaque to the caller.
func (l *Ledger) Records() map[string][]byte {
	records := make(map[string][]byte)
	for _, t := range l.all() {
		records[t.key()] = t.record()
	}
	return records
}

// record is the persisted state of a Transport.
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
	RefusedAt time.Time
	Pulls     *oci.LimitError
	Exhausted bool `json:"Told"`
	Closed    time.Time
	All       *oci.LimitError
}

func (t *Transport) key() string { return t.upstream.name + " " + t.credential }

func (t *Transport) record() []byte {
	t.upstream.mu.Lock()
	defer t.upstream.mu.Unlock()
	f := t.report
	raw, err := json.Marshal(record{
		Limit: f.limit, Window: f.window, Remaining: f.remaining, Reset: f.reset,
		Source: f.source, Observed: f.observed, Since: f.since,
		LimitedAt: f.limitedAt, LimitedBy: f.limitedBy, RefusedAt: f.refusedAt,
		Pulls: t.pulls.closed, Exhausted: t.pulls.exhausted, Closed: t.pulls.since,
		All: t.upstream.all.closed,
	})
	if err != nil {
		panic(err) // plain fields always marshal
	}
	return raw
}

// restore restores the state that record returned. It shortens a wait beyond
// maxRetry, which comes from a wrong clock.
func (t *Transport) restore(raw []byte) error {
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	t.report = report{
		quota:  quota{limit: r.Limit, window: r.Window, remaining: r.Remaining, reset: r.Reset},
		source: r.Source, observed: r.Observed, since: r.Since,
		limitedAt: r.LimitedAt, limitedBy: r.LimitedBy, refusedAt: r.RefusedAt,
	}
	now := time.Now()
	if r.Observed.After(now) || r.RefusedAt.After(now) {
		t.report = report{}
	}
	t.pulls = gate{closed: clamp(r.Pulls, now), exhausted: r.Exhausted, since: r.Closed}
	if all := clamp(r.All, now); all != nil {
		t.upstream.all.close(all, false, now)
	}
	return nil
}

func clamp(limit *oci.LimitError, now time.Time) *oci.LimitError {
	if limit != nil && limit.RetryAt.After(now.Add(maxRetry)) {
		limit.RetryAt = now.Add(maxRetry)
	}
	return limit
}
