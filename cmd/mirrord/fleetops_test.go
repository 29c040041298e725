package main

import (
	"errors"
	"testing"
)

// Reads and writes of a bucket fail apart: it works again once both do.
func TestOutage(t *testing.T) {
	var o outage
	if o.now() != nil {
		t.Errorf("at first: %v", o.now())
	}
	o.begin(errors.New("reads"))
	since := o.now().Since
	o.begin(errors.New("writes"))
	o.end()
	if now := o.now(); now == nil || now.Error != "writes" || now.Since != since {
		t.Errorf("while one of them fails: %+v", now)
	}
	o.end()
	if o.now() != nil {
		t.Errorf("at last: %v", o.now())
	}
}
