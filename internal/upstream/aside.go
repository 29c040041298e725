package upstream

import (
	"errors"
	"time"

	"mirrord/internal/oci"
)

const asideTime = 5 * time.Minute // a login that was refused is not tried before

// aside says why and until when a member is not used; the zero value: it is.
type aside struct {
	err   error
	until time.Time
	stamp string // of the login that failed
}

// out returns why member i is set aside, or nil. One whose login has changed
// since is back.
func (p *Pool) out(i int) error {
	p.mu.Lock()
	a := p.aside[i]
	p.mu.Unlock()
	if a.err != nil && time.Now().Before(a.until) && p.Members[i].Stamp() == a.stamp {
		return a.err
	}
	return nil
}

// note sets member i aside when its login failed, and takes it back when it
// was let in.
func (p *Pool) note(i int, err error) {
	now := time.Now()
	failed := errors.Is(err, errLogin)
	if !failed && err != nil && oci.Temporary(err) {
		return
	}
	var next aside
	if failed {
		next = aside{err: err, until: now.Add(asideTime), stamp: p.Members[i].Stamp()}
	}
	p.mu.Lock()
	was := p.aside[i]
	p.aside[i] = next
	p.mu.Unlock()
	switch known := was.err != nil; {
	case failed && (!known || !now.Before(was.until) || was.stamp != next.stamp):
		p.Aside(p.Members[i].Name, err, next.until)
	case !failed && known:
		p.Back(p.Members[i].Name)
	}
}

// Usable reports for each member whether it is not set aside.
func (p *Pool) Usable() []bool {
	usable := make([]bool, len(p.Members))
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.aside {
		usable[i] = a.err == nil
	}
	return usable
}

// Reload forgets tokens and failures: every login is tried anew.
func (p *Pool) Reload() {
	p.mu.Lock()
	clear(p.aside)
	p.mu.Unlock()
	for _, m := range p.Members {
		m.Registry.tokens.forget()
	}
}
