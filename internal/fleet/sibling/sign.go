// Package sibling lets the mirrors of a fleet read from each other what one of them has, or
// is fetching: a handler for a listener of its own, and its client. Requests are signed with
// the fleet's secret. A sibling never starts anything for another one, neither a request to
// the bucket or to the upstream nor one to a third mirror: there are no loops, and who knows
// the secret can have nothing fetched.
package sibling

import (
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"mirrord/internal/fleet/keys"
)

const (
	scheme     = "Mirrord-Fleet"
	purpose    = "siblings"       // of the key
	timeHeader = "X-Mirrord-Time" // of a sibling whose clock differs: its time, and proof that it is its own

	maxSkew   = 30 * time.Second
	nonceTime = 2 * maxSkew // for which a nonce is remembered
	maxNonces = 1 << 16
)

// credentials are what a request is signed with.
type credentials struct {
	node  string // who asks
	to    string // the boot of who is asked: another process has the same name, perhaps
	at    int64  // milliseconds since 1970, by the clock of who is asked
	nonce string
}

func (c credentials) mac(key []byte, r *http.Request) []byte {
	return keys.MAC(key, r.Method, r.URL.EscapedPath(), r.Header.Get("Range"), c.node, c.to, strconv.FormatInt(c.at, 10), c.nonce)
}

func (c credentials) header(key []byte, r *http.Request) string {
	return fmt.Sprintf("%s node=%s,to=%s,t=%d,nonce=%s,mac=%s", scheme, c.node, c.to, c.at, c.nonce, encode(c.mac(key, r)))
}

func encode(mac []byte) string { return base64.RawURLEncoding.EncodeToString(mac) }

var errUnsigned = errors.New("the request is not signed")

// parse returns the credentials of r, and their MAC. They are not checked.
func parse(r *http.Request) (c credentials, mac []byte, err error) {
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), scheme+" ")
	if !ok || len(fields) > 1024 {
		return c, nil, errUnsigned
	}
	for field := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "node":
			c.node = value
		case "to":
			c.to = value
		case "t":
			c.at, err = strconv.ParseInt(value, 10, 64)
		case "nonce":
			c.nonce = value
		case "mac":
			mac, err = base64.RawURLEncoding.DecodeString(value)
		}
		if err != nil {
			return c, nil, errUnsigned
		}
	}
	return c, mac, nil
}

// verifier checks who asks. Its methods may be called concurrently.
type verifier struct {
	keys [][]byte // all that are accepted
	boot string

	mu            sync.Mutex          // guards the rest
	recent, older map[string]struct{} // nonces
	since         time.Time           // of the first of recent
}

func newVerifier(s keys.Secret, boot string) *verifier {
	return &verifier{keys: s.DeriveAll(purpose), boot: boot, recent: make(map[string]struct{}), since: time.Now()}
}

// Why a request is refused. Who sent it learns of errClock alone.
var (
	errForeign = errors.New("not signed with the fleet's secret")
	errBoot    = errors.New("signed for another mirror")
	errClock   = errors.New("signed at another time")
	errReplay  = errors.New("sent before")
)

// verify returns who sent r, with the key that it was signed with.
func (v *verifier) verify(r *http.Request) (credentials, []byte, error) {
	c, mac, err := parse(r)
	if err != nil {
		return c, nil, err
	}
	for _, key := range v.keys {
		if hmac.Equal(mac, c.mac(key, r)) {
			return c, key, v.check(c)
		}
	}
	return c, nil, errForeign
}

// check checks credentials whose MAC is right.
func (v *verifier) check(c credentials) error {
	if c.to != v.boot {
		return errBoot
	}
	if skew := time.Since(time.UnixMilli(c.at)); skew > maxSkew || skew < -maxSkew {
		return errClock
	}
	if !v.isNew(c.nonce) {
		return errReplay
	}
	return nil
}

// isNew reports whether a nonce was not seen in nonceTime, and remembers it.
func (v *verifier) isNew(nonce string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Since(v.since) > nonceTime || len(v.recent) >= maxNonces {
		v.recent, v.older, v.since = make(map[string]struct{}), v.recent, time.Now()
	}
	_, recent := v.recent[nonce]
	_, older := v.older[nonce]
	v.recent[nonce] = struct{}{}
	return !recent && !older
}

// clockHeader is the value of timeHeader in the response to the request with a nonce.
func clockHeader(key []byte, nonce string) string {
	now := strconv.FormatInt(time.Now().UnixMilli(), 10)
	return now + " " + encode(keys.MAC(key, "time", nonce, now))
}

// parseClock returns the time of who was asked with nonce, in milliseconds since 1970. It is
// false when somebody else says it.
func parseClock(header string, key []byte, nonce string) (int64, bool) {
	now, mac, _ := strings.Cut(header, " ")
	at, err := strconv.ParseInt(now, 10, 64)
	return at, err == nil && hmac.Equal([]byte(mac), []byte(encode(keys.MAC(key, "time", nonce, now))))
}
