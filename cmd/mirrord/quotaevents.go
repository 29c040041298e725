package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"mirrord/internal/notify"
	"mirrord/internal/ratelimit"
)

// quotaEvent is the data of quota_low and quota_gone.
type quotaEvent struct {
	Upstream   string     `json:"upstream"`
	Credential string     `json:"credential"`
	Limit      int        `json:"limit,omitempty"`
	Remaining  int        `json:"remaining"`
	ResetBy    *time.Time `json:"reset_by,omitempty"`
}

// sentEvent is an event that was sent, as it is stored.
type sentEvent struct {
	Type notify.Type
	ID   string
	Time time.Time
	Data quotaEvent
}

// quotaStore has what was sent, by credential.
type quotaStore interface {
	QuotaEvents() (map[string][]byte, error)
	PutQuotaEvents(map[string][]byte) error
}

// quotaWatch sends events when the pulls of a credential run out. newQuotaWatch makes one.
type quotaWatch struct {
	events  *notify.Notifier
	budgets func() []ratelimit.Budget
	reserve func(limit int) int
	store   quotaStore
	log     *zap.Logger

	sent    map[string][]sentEvent // by credential, until its budget is back
	failing bool                   // the last write failed, which is logged
}

// newQuotaWatch returns a quotaWatch that continues from what the last process has stored.
func newQuotaWatch(events *notify.Notifier, budgets func() []ratelimit.Budget, reserve func(limit int) int, store quotaStore, log *zap.Logger) *quotaWatch {
	w := &quotaWatch{events: events, budgets: budgets, reserve: reserve, store: store, log: log, sent: make(map[string][]sentEvent)}
	stored, err := store.QuotaEvents()
	for key, raw := range stored {
		var sent []sentEvent
		if wrong := json.Unmarshal(raw, &sent); wrong != nil {
			err = errors.Join(err, fmt.Errorf("events of %s: %w", key, wrong))
			continue
		}
		w.sent[key] = sent
	}
	if err != nil {
		log.Warn("the events about pull limits that were sent cannot be read; they may be sent again with another id", zap.Error(err))
	}
	return w
}

const (
	quotaWatchEvery = 5 * time.Second

	// backAfter is how long no pull is refused before a budget is back. Many limits are of
	// pulls per second, and over before the budget is looked at.
	backAfter = 10 * time.Minute
)

func (w *quotaWatch) run(ctx context.Context) error {
	for _, b := range w.budgets() {
		w.repeat(b, time.Now())
	}
	tick := time.NewTicker(quotaWatchEvery)
	defer tick.Stop()
	for {
		for _, b := range w.budgets() {
			w.look(b, time.Now())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// repeat sends again what the last process has sent of b, unless b is back: nobody knows
// whether it was delivered.
func (w *quotaWatch) repeat(b ratelimit.Budget, now time.Time) {
	if w.isBack(b, now) {
		return
	}
	for _, e := range w.sent[keyOf(b)] {
		w.emit(e)
	}
}

// look sends what b has come to at now.
func (w *quotaWatch) look(b ratelimit.Budget, now time.Time) {
	key := keyOf(b)
	if what := w.stateOf(b, now); what != "" {
		w.send(what, key, b, now)
	} else if len(w.sent[key]) > 0 && w.isBack(b, now) {
		delete(w.sent, key)
		w.save(key)
	}
}

// stateOf returns the event that b is worth at now; empty: none.
func (w *quotaWatch) stateOf(b ratelimit.Budget, now time.Time) notify.Type {
	switch {
	case b.Known() && b.Remaining <= 0 || b.PullsAt.After(now) || now.Sub(b.RefusedAt) < backAfter:
		return notify.QuotaGone
	case b.Known() && b.Remaining <= w.low(b):
		return notify.QuotaLow
	}
	return ""
}

// isBack reports whether what is sent next of b is news. A budget must recover by a tenth
// of its limit before it is low again: one of a sliding window goes up and down.
func (w *quotaWatch) isBack(b ratelimit.Budget, now time.Time) bool {
	return w.stateOf(b, now) == "" && (!b.Known() || b.Remaining > w.low(b)+b.Limit/10)
}

// low is how many pulls are few.
func (w *quotaWatch) low(b ratelimit.Budget) int { return max(b.Limit/10, w.reserve(b.Limit)) }

func keyOf(b ratelimit.Budget) string { return b.Upstream + "/" + b.Credential }

// send sends what and stores it, unless it was sent, or more than it: a budget that comes
// back is low on its way.
func (w *quotaWatch) send(what notify.Type, key string, b ratelimit.Budget, now time.Time) {
	if slices.ContainsFunc(w.sent[key], func(e sentEvent) bool { return e.Type == what || e.Type == notify.QuotaGone }) {
		return
	}
	data := quotaEvent{Upstream: b.Upstream, Credential: b.Credential, Limit: b.Limit, Remaining: b.Remaining}
	for _, reset := range []time.Time{b.ResetBy, b.PullsAt} {
		if !reset.IsZero() {
			data.ResetBy = new(reset.UTC())
			break
		}
	}
	e := sentEvent{Type: what, ID: rand.Text(), Time: now.UTC(), Data: data}
	w.sent[key] = append(w.sent[key], e)
	w.save(key) // first, so that a repeat has the same id
	w.emit(e)
}

func (w *quotaWatch) emit(e sentEvent) {
	subject := strings.TrimSuffix(e.Data.Upstream+"/"+e.Data.Credential, "/")
	w.events.Emit(notify.Event{ID: e.ID, Time: e.Time, Type: e.Type, Subject: subject, Data: e.Data})
}

// save stores what was sent of the budget with that key.
func (w *quotaWatch) save(key string) {
	raw, err := json.Marshal(w.sent[key])
	if err == nil {
		err = w.store.PutQuotaEvents(map[string][]byte{key: raw})
	}
	if err != nil && !w.failing {
		w.log.Error("the events about pull limits that were sent cannot be written; after a restart they may be sent again with another id", zap.Error(err))
	}
	w.failing = err != nil
}
