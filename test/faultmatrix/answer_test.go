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
	clientTime = 10 * time.Minute // after which a client takes the mirror to hang
	mostBytes  = 64 << 20         // after which it takes a body to be endless
)

// answer is what a client has seen.
type answer struct {
	status  int
	via     string
	codes   string // of an error, in brackets that of its cause, and when to try again
	digest  oci.Digest
	content []byte
	flaw    string // why a body of 200 is not complete; empty: it is
	head    time.Duration
}

// get asks the mirror as a client does, reads the body to its end, and hashes
// it. That it is of the length and the digest that were told is checked for
// every answer.
func (m *mirror) get(path string) answer {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), clientTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+mirrorAt+"/v2/"+repo+"/"+path, nil)
	check(m.t, err)
	begun := time.Now()
	resp, err := m.client.Do(req)
	if err != nil {
		m.t.Errorf("no answer after %s: %v", time.Since(begun), err)
		return answer{}
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{
		status: resp.StatusCode, via: resp.Header.Get("X-Mirrord-Cache"),
		digest: oci.Digest(resp.Header.Get("Docker-Content-Digest")), head: time.Since(begun),
	}
	a.content, err = io.ReadAll(io.LimitReader(resp.Body, mostBytes))
	switch {
	case ctx.Err() != nil:
		m.t.Errorf("the body hangs after %d bytes", len(a.content))
	case a.status != http.StatusOK:
		a.codes = codesOf(resp.Header, a.content)
	case errors.Is(err, io.ErrUnexpectedEOF):
		a.flaw = "cut"
	case err != nil:
		m.t.Errorf("the body ends with %v", err)
	case len(a.content) == mostBytes:
		a.flaw = "endless"
	default:
		m.checkComplete(resp, a.content)
	}
	return a
}

// checkComplete holds a body that has come to its end against what was told.
func (m *mirror) checkComplete(resp *http.Response, body []byte) {
	m.t.Helper()
	d := oci.FromBytes(body)
	if told := resp.Header.Get("Docker-Content-Digest"); told != d.String() || !m.made[d] {
		m.t.Errorf("a complete answer of digest %s, told %q; the hub has had it: %v", d, told, m.made[d])
	}
	if resp.ContentLength != int64(len(body)) {
		m.t.Errorf("a complete answer of %d bytes, told %d", len(body), resp.ContentLength)
	}
}

// codesOf returns the code of the spec's JSON, that of its detail when there is
// one, and when to try again.
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

func (a answer) String() string {
	words := fmt.Sprint(a.status)
	for _, word := range []string{a.via, a.codes, a.flaw} {
		if word != "" {
			words += " " + word
		}
	}
	return words
}
