package upstream

import (
	"errors"
	"time"

	"mirrord/internal/oci"
)

const disableTime = 5 * time.Minute // a login that was refused is not tried before

// disabled says why and until when a member is not used; the zero value: it is.
type disabled struct {
	err   error
	until time.Time
	stamp string // of the login that failed
}

// disabledErr returns why member i is set aside, or nil. One whose login has changed
// since is back.
func (p *Pool) disabledErr(i int) error {
	p.mu.Lock()
	a := p.disabled[i]
	p.mu.Unlock()
	if a.err != nil && time.Now().Before(a.until) && p.opts.Members[i].Stamp() == a.stamp {
		return a.err
	}
	return nil
}

// recordLogin sets member i aside when its login failed, and takes it back when it
// was let in.
func (p *Pool) recordLogin(i int, err error) {
	now := time.Now()
	failed := errors.Is(err, errLogin)
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

// Usable reports for each member whether it is not set aside.
func (p *Pool) Usable() []bool {
	usable := make([]bool, len(p.opts.Members))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.disabled {
		usable[i] = a.err == nil
	}
	return usable
}

// Reload forgets tokens and failures: every login is tried anew.
func (p *Pool) Reload() {
	p.mu.Lock()
	clear(p.disabled)
	p.mu.Unlock()
	for _, m := range p.opts.Members {
		m.Registry.tokens.forget()
	}
}
