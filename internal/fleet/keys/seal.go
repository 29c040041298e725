package keys

import (
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
)

// Errors of Open. What fails with one of them is as good as absent.
var (
	// ErrForeign says that an object was not sealed with the fleet's secret, or under
	// another key.
	ErrForeign = errors.New("not written by a mirror of this fleet")
	// ErrNewer says that an object was sealed by a later version of mirrord: it must
	// not be overwritten.
	ErrNewer = errors.New("written by a newer mirrord")
)

const sealed = 1 // the version of the envelope and of what is in it

type envelope struct {
	V    int             `json:"v"`
	Body json.RawMessage `json:"body"`
	MAC  []byte          `json:"mac"`
}

const objects = "objects" // the purpose of the key

// Seal returns the object of that key which holds v.
func (s Secret) Seal(key string, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope{sealed, body, MAC(s.Derive(objects), key, string(body))})
}

// Open reads into v what Seal has put into the object of that key. It fails with
// ErrForeign or ErrNewer.
func (s Secret) Open(key string, raw []byte, v any) error {
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("%s: %w: %w", key, ErrForeign, err)
	}
	if e.V > sealed {
		return fmt.Errorf("%s: %w", key, ErrNewer)
	}
	for _, accepted := range s.DeriveAll(objects) {
		if hmac.Equal(e.MAC, MAC(accepted, key, string(e.Body))) {
			if err := json.Unmarshal(e.Body, v); err != nil {
				return fmt.Errorf("%s: %w: %w", key, ErrForeign, err)
			}
			return nil
		}
	}
	return fmt.Errorf("%s: %w", key, ErrForeign)
}
