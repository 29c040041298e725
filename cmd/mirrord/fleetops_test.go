package main

import (
	"errors"
	"testing"

	"mirrord/internal/fleet/guard"
)

// Reads and writes of a bucket fail apart: it works again once both do.
func TestOutage(t *testing.T) {
	var o outage
	reported := 0
	hooks := o.watch(guard.Hooks{Failing: func(error) { reported++ }, Recovered: func() { reported++ }})
	if o.now() != nil {
		t.Errorf("at first: %v", o.now())
	}
	hooks.Failing(errors.New("reads"))
	since := o.now().Since
	hooks.Failing(errors.New("writes"))
	hooks.Recovered()
	if now := o.now(); now == nil || now.Error != "writes" || now.Since != since {
		t.Errorf("while one of them fails: %+v", now)
	}
	hooks.Recovered()
	if o.now() != nil || reported != 4 {
		t.Errorf("at last: %v, reported %d times", o.now(), reported)
	}
}
