package faultmatrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"mirrord/internal/oci"
)

const (
	clientTime = 10 * time.Minute // after which a client considers the mirror hung
	maxBytes   = 64 << 20         // after which it considers a body endless
)

// response is what a client has received.
type response struct {
	status     int
	via        string
	codes      string // of an error, with that of its cause in brackets, and Retry-After
	digest     oci.Digest
	content    []byte
	incomplete string // why the body of a 200 is not complete; empty if it is
	head       time.Duration
}

// get sends a GET to the mirror, reads the body to its end, and checks that a complete
// body has the length and the digest of the header.
func (m *mirror) get(path string) response {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), clientTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+mirrorAt+"/v2/"+repo+"/"+path, nil)
	check(m.t, err)
	begun := time.Now()
	resp, err := m.client.Do(req)
	if err != nil {
		m.t.Errorf("no response after %s: %v", time.Since(begun), err)
		return response{}
	}
	defer func() { _ = resp.Body.Close() }()
	a := response{
		status: resp.StatusCode, via: resp.Header.Get("X-Mirrord-Cache"),
		digest: oci.Digest(resp.Header.Get("Docker-Content-Digest")), head: time.Since(begun),
	}
	a.content, err = io.ReadAll(io.LimitReader(resp.Body, maxBytes))
	switch {
	case ctx.Err() != nil:
		m.t.Errorf("the body hangs after %d bytes", len(a.content))
	case a.status != http.StatusOK:
		a.codes = codesOf(resp.Header, a.content)
	case errors.Is(err, io.ErrUnexpectedEOF):
		a.incomplete = "cut"
	case err != nil:
		m.t.Errorf("the body ends with %v", err)
	case len(a.content) == maxBytes:
		a.incomplete = "endless"
	default:
		m.checkComplete(resp, a.content)
	}
	return a
}

// checkComplete compares a complete body with the header.
func (m *mirror) checkComplete(resp *http.Response, body []byte) {
	m.t.Helper()
	d := oci.FromBytes(body)
	if described := resp.Header.Get("Docker-Content-Digest"); described != d.String() || !m.made[d] {
		m.t.Errorf("a complete body of digest %s, header %q; published by the hub: %v", d, described, m.made[d])
	}
	if resp.ContentLength != int64(len(body)) {
		m.t.Errorf("a complete body of %d bytes, Content-Length %d", len(body), resp.ContentLength)
	}
}

// codesOf returns the code of an error in JSON, that of its detail if there is one, and
// Retry-After.
func codesOf(header http.Header, body []byte) string {
	type coded struct{ Code string }
	var spec struct {
		Errors []struct {
			coded
			Detail coded
		}
	}
	if err := json.Unmarshal(body, &spec); err != nil || len(spec.Errors) != 1 {
		return fmt.Sprintf("%.40q", body)
	}
	codes := spec.Errors[0].Code
	if cause := spec.Errors[0].Detail.Code; cause != "" {
		codes += " (" + cause + ")"
	}
	if after := header.Get("Retry-After"); after != "" {
		codes += " in " + after + "s"
	}
	return codes
}

func (a response) String() string {
	words := fmt.Sprint(a.status)
	for _, word := range []string{a.via, a.codes, a.incomplete} {
		if word != "" {
			words += " " + word
		}
	}
	return words
}
