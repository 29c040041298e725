package upstream

import (
	"errors"
	"time"

	"mirrord/internal/oci"
)

const disableTime = 5 * time.Minute // a rejected login is not tried again for this long

// disabled says why and until when a member is not used. The zero value is an
// enabled member.
type disabled struct {
	err   error
	until time.Time
	stamp string // of the login that failed
}

// disabledErr returns why member i is disabled, or nil. A member whose login has
// changed since is enabled again.
func (p *Pool) disabledErr(i int) error {
	p.mu.Lock()
	a := p.disabled[i]
	p.mu.Unlock()
	if a.err != nil && time.Now().Before(a.until) && p.opts.Members[i].Stamp() == a.stamp {
		return a.err
	}
	return nil
}

// recordLogin disables member i when err is a failed login, and enables it when
// the login worked. Temporary errors change nothing.
func (p *Pool) recordLogin(i int, err error) {
	now := time.Now()
	failed := errors.Is(err, oci.ErrLogin)
	if !failed && err != nil && oci.Temporary(err) {
		return
	}
	var next disabled
	if failed {
		next = disabled{err: err, until: now.Add(disableTime), stamp: p.opts.Members[i].Stamp()}
	}
	p.mu.Lock()
	was := p.disabled[i]
	p.disabled[i] = next
	p.mu.Unlock()
	switch known := was.err != nil; {
	case failed && (!known || !now.Before(was.until) || was.stamp != next.stamp):
		p.opts.LoginDisabled(p.opts.Members[i].Name, err, next.until)
	case !failed && known:
		p.opts.LoginRestored(p.opts.Members[i].Name)
	}
}

// Usable reports for each member whether it is enabled.
func (p *Pool) Usable() []bool {
	usable := make([]bool, len(p.opts.Members))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.disabled {
		usable[i] = a.err == nil
	}
	return usable
}

// Reload forgets tokens and failures, so that every login is tried again.
func (p *Pool) Reload() {
	p.mu.Lock()
	clear(p.disabled)
	p.mu.Unlock()
	for _, m := range p.opts.Members {
		m.Registry.tokens.forget()
	}
}
