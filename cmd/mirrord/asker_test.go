package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// asker is a client of a mirror whose upstream is in trouble: what it is refused
// or what is cut short is no mistake, but a wrong answer is. It may be used
// concurrently.
type asker struct {
	content *noise // what the answers are held against
	http    http.Client
	base    string       // of the mirror: http://HOST/v2/
	told    func(answer) // is called at the end of each request
}

// answer is what one request came to.
type answer struct {
	via   string
	bytes int64
	err   error // errWrong, errHung, errLeft, or why it was refused or cut short
}

var (
	errHung = errors.New("no end of the answer in two minutes")
	errLeft = errors.New("the client has left in the middle")
)

func newAsker(content *noise, m *process, told func(answer)) *asker {
	return &asker{
		content: content,
		http:    http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
		base:    "http://" + m.mirror + "/v2/",
		told:    told,
	}
}

// ask sends one request; read takes the body of an answer that is no refusal.
func (a *asker) ask(ctx context.Context, method, what, byteRange string, read func(*http.Response) (int64, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errHung)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.base+what, nil)
	if err != nil {
		return err
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	got, err := a.exchange(req, read)
	if err != nil && context.Cause(ctx) == errHung {
		err = errHung
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w", method, what, err)
	}
	got.err = err
	a.told(got)
	return err
}

func (a *asker) exchange(req *http.Request, read func(*http.Response) (int64, error)) (got answer, err error) {
	resp, err := a.http.Do(req)
	if err != nil {
		return got, err
	}
	defer func() { _ = resp.Body.Close() }()
	got.via = resp.Header.Get("X-Mirrord-Cache")
	if resp.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(resp.Body)
		return got, fmt.Errorf("%s: %s", resp.Status, text)
	}
	got.bytes, err = read(resp)
	return got, err
}

// get reads an answer to its end, with a pause before each piece when pace is not
// 0. It has to hash to one of want, which is returned.
func (a *asker) get(ctx context.Context, what string, pace time.Duration, want ...string) (got string, err error) {
	err = a.ask(ctx, http.MethodGet, what, "", func(resp *http.Response) (int64, error) {
		digester := digest.Canonical.Digester()
		n, err := io.Copy(digester.Hash(), &paced{resp.Body, ctx, pace})
		if err != nil {
			return n, err
		}
		if got = digester.Digest().String(); !slices.Contains(want, got) {
			return n, fmt.Errorf("%w: %s", errWrong, got)
		}
		return n, nil
	})
	return got, err
}

// paced is a body that is read slowly.
type paced struct {
	io.Reader
	ctx  context.Context
	pace time.Duration
}

func (p *paced) Read(b []byte) (int, error) {
	if p.pace > 0 {
		pause(p.ctx, p.pace)
	}
	return p.Reader.Read(b)
}

// pull fetches what a tag or digest names, which is one of versions, and then
// what that consists of.
func (a *asker) pull(ctx context.Context, repo, reference string, versions ...string) error {
	got, err := a.get(ctx, repo+"/manifests/"+reference, 0, versions...)
	if err != nil {
		return err
	}
	for _, d := range a.content.parts[got] {
		if _, err := a.get(ctx, repo+"/blobs/"+d, 0, d); err != nil {
			return err
		}
	}
	return nil
}

// getPart asks for the bytes from first to last of b.
func (a *asker) getPart(ctx context.Context, b blob, first, last int) error {
	return a.ask(ctx, http.MethodGet, b.path, fmt.Sprintf("bytes=%d-%d", first, last), func(resp *http.Response) (int64, error) {
		got, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusPartialContent || !bytes.Equal(got, b.bytes[first:last+1])) {
			err = fmt.Errorf("%w: bytes %d to %d, %s, %d bytes", errWrong, first, last, resp.Status, len(got))
		}
		return int64(len(got)), err
	})
}

// head asks what b is without its bytes.
func (a *asker) head(ctx context.Context, b blob) error {
	return a.ask(ctx, http.MethodHead, b.path, "", func(resp *http.Response) (int64, error) {
		if d := resp.Header.Get("Docker-Content-Digest"); d != path.Base(b.path) || resp.ContentLength != int64(len(b.bytes)) {
			return 0, fmt.Errorf("%w: digest %q, length %d", errWrong, d, resp.ContentLength)
		}
		return 0, nil
	})
}

// leave begins to read b and goes away after so many bytes.
func (a *asker) leave(ctx context.Context, b blob, after int) error {
	return a.ask(ctx, http.MethodGet, b.path, "", func(resp *http.Response) (int64, error) {
		n, err := io.CopyN(io.Discard, resp.Body, int64(after))
		if err == nil {
			err = errLeft
		}
		return n, err
	})
}
