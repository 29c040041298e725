package main

import (
	"errors"
	"testing"

	"mirrord/internal/stack"
)

// Reads and writes of a bucket fail apart: it works again once both do.
func TestOutage(t *testing.T) {
	var o outage
	reported := 0
	f := new(stack.Fleet)
	f.Hooks.Failing, f.Hooks.Recovered = func(error) { reported++ }, func() { reported++ }
	o.watch(f)
	if o.now() != nil {
		t.Errorf("at first: %v", o.now())
	}
	f.Hooks.Failing(errors.New("reads"))
	since := o.now().Since
	f.Hooks.Failing(errors.New("writes"))
	f.Hooks.Recovered()
	if now := o.now(); now == nil || now.Error != "writes" || now.Since != since {
		t.Errorf("while one of them fails: %+v", now)
	}
	f.Hooks.Recovered()
	if o.now() != nil || reported != 4 {
		t.Errorf("at last: %v, reported %d times", o.now(), reported)
	}
}
