package oci

import "testing"

// A client that has failed to log in is no reason to serve it anything.
func TestTemporary(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                                false,
		Errorf(Unavailable, "down"):        true,
		&LimitError{Kind: LimitPulls}:      true,
		&LimitError{Kind: LimitInFlight}:   true,
		&LimitError{Kind: LimitLogins}:     false,
		Errorf(Unauthorized, "who?"):       false,
		Errorf(ManifestUnknown, "no such"): false,
	} {
		if got := Temporary(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
