package hubsim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// The faults of a body, for a client that reads the blob from offset.
func TestBodyFaults(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10)
	at := int64(42)
	flipped := bytes.Clone(content)
	flipped[at] ^= 0xff
	for _, c := range []struct {
		name   string
		fault  Fault
		rang   string
		body   []byte
		err    error
		length int64
	}{
		{"drop", Fault{DropAfter: 30}, "", content[:30], io.ErrUnexpectedEOF, 100},
		{"drop in a range", Fault{DropAfter: 30}, "bytes=50-", content[50:80], io.ErrUnexpectedEOF, 50},
		{"drop after the header", Fault{DropAfter: -1}, "", nil, io.ErrUnexpectedEOF, 100},
		{"drop behind the end", Fault{DropAfter: 100}, "", content, nil, 100},
		{"drop, slowly", Fault{DropAfter: 30, Bandwidth: 1 << 20}, "", content[:30], io.ErrUnexpectedEOF, 100},
		{"flip", Fault{FlipAt: &at}, "", flipped, nil, 100},
		{"flip in a range", Fault{FlipAt: &at}, "bytes=40-", flipped[40:], nil, 60},
		{"flip before a range", Fault{FlipAt: &at}, "bytes=43-", content[43:], nil, 57},
		{"truncate", Fault{Truncate: 30}, "", content[:70], nil, 70},
		{"truncate a range", Fault{Truncate: 30}, "bytes=50-", content[50:70], nil, 20},
		{"flip and truncate", Fault{FlipAt: &at, Truncate: 30}, "bytes=40-", flipped[40:70], nil, 30},
		{"ignored range", Fault{IgnoreRange: true}, "bytes=50-", content, nil, 100},
		{"short range", Fault{ShortRange: 7}, "bytes=50-", content[50:57], nil, 7},
		{"short range that has an end", Fault{ShortRange: 7}, "bytes=50-59", content[50:60], nil, 10},
		{"short range of the whole", Fault{ShortRange: 7}, "", content, nil, 100},
		{"bandwidth", Fault{Bandwidth: 10000}, "", content, nil, 100},
		{"no length", Fault{NoLength: true}, "", content, nil, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := start(t, Options{NoAuth: true})
			d := h.AddBlob(repo, content).String()
			c.fault.Op = "cdn"
			h.Inject(c.fault)
			client := newClient(t, h)
			var edits []func(*http.Request)
			if c.rang != "" {
				edits = append(edits, header("Range", c.rang))
			}
			answer := client.do("GET", client.blobLink(d), edits...)
			if !bytes.Equal(answer.body, c.body) || !errors.Is(answer.err, c.err) || answer.ContentLength != c.length {
				t.Errorf("read %d bytes %q, error %v, length %d; want %d bytes, %v, %d",
					len(answer.body), answer.body, answer.err, answer.ContentLength, len(c.body), c.err, c.length)
			}
			if n := h.Counters().CDNBytes; n != int64(len(c.body)) {
				t.Errorf("counted %d bytes, want %d", n, len(c.body))
			}
		})
	}
}

func TestNoTotal(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	d := h.AddBlob(repo, []byte("0123456789")).String()
	h.Inject(Fault{Op: "cdn", NoTotal: true})
	client := newClient(t, h)
	answer := client.do("GET", client.blobLink(d), header("Range", "bytes=3-"))
	if got := answer.Header.Get("Content-Range"); got != "bytes 3-9/*" || string(answer.body) != "3456789" {
		t.Errorf("Content-Range %q, body %q", got, answer.body)
	}
}

// An endless body has no length, and ends when the client disconnects.
func TestEndless(t *testing.T) {
	h := start(t, Options{NoAuth: true, Direct: true})
	content := bytes.Repeat([]byte("0123456789"), 10)
	d := h.AddBlob(repo, content).String()
	h.AddManifest(repo, "latest", imageType, content)
	h.Inject(Fault{Endless: true})
	for _, path := range []string{"blobs/" + d, "manifests/latest"} {
		ctx, leave := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "GET", h.URL()+"/v2/"+repo+"/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "*/*")
		answer, err := newClient(t, h).http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1<<20)
		if _, err := io.ReadFull(answer.Body, got); err != nil || !bytes.HasPrefix(got, content) || answer.ContentLength != -1 {
			t.Errorf("%s: length %d, %q..., %v", path, answer.ContentLength, got[:100], err)
		}
		leave()
		answer.Body.Close()
	}
	h.Down() // returns, so the handlers have
}

func TestStallEndsWithTheClient(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	d := h.AddBlob(repo, []byte("0123456789")).String()
	for _, stall := range []int64{-1, 4} {
		remove := h.Inject(Fault{Op: "cdn", StallAfter: stall})
		body, leave := stalled(t, h, d)
		if _, err := io.ReadFull(body, make([]byte, max(0, stall))); err != nil {
			t.Fatal(err)
		}
		leave()
		if n, err := body.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes more after %d", n, stall)
		}
		remove()
	}
	h.Down() // returns, so the handlers have
}

func TestStallEndsWithTheHub(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	d := h.AddBlob(repo, []byte("0123456789")).String()
	h.Inject(Fault{Op: "cdn", StallAfter: 4})
	body, _ := stalled(t, h, d)
	if _, err := io.ReadFull(body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	h.Down()
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after Down: %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

// stalled begins a download that the caller can abort.
func stalled(t *testing.T, h *Hub, d string) (body io.Reader, leave context.CancelFunc) {
	t.Helper()
	c := newClient(t, h)
	ctx, leave := context.WithCancel(t.Context())
	t.Cleanup(leave)
	r, err := http.NewRequestWithContext(ctx, "GET", c.blobLink(d), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer.Body, leave
}

func TestResponseFaults(t *testing.T) {
	h := start(t, Options{NoAuth: true, Users: map[string]string{}})
	h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	c := newClient(t, h)
	path := "/v2/" + repo + "/manifests/latest"

	h.Inject(Fault{Op: "manifest", Abuse: true, Times: 1})
	h.Inject(Fault{Op: "manifest", PullLimit: true, Times: 2})
	remove := h.Inject(Fault{Match: "manifests", Status: 503, Body: "later", ContentType: "text/plain", Header: map[string]string{"X-Kind": "fault"}})

	abuse := c.do("GET", path).want(t, 429).wantHeader(t, "Content-Type", "text/plain").wantHeader(t, "Retry-After", "60")
	if string(abuse.body) != "Too Many Requests (HAP429).\n" || !abuse.Close {
		t.Errorf("abuse limiter: body %q, close %v", abuse.body, abuse.Close)
	}
	c.do("GET", path).wantCode(t, 429, "TOOMANYREQUESTS").wantHeader(t, "Retry-After", "")
	c.do("HEAD", path).want(t, 503) // the pull limit is for op manifest only
	c.do("GET", path).want(t, 429)
	down := c.do("GET", path).want(t, 503).wantHeader(t, "X-Kind", "fault").wantHeader(t, "Content-Type", "text/plain")
	if string(down.body) != "later" {
		t.Errorf("body %q", down.body)
	}
	c.do("GET", "/v2/"+repo+"/tags/list").want(t, 200)
	remove()
	c.do("GET", path).want(t, 200)
	if n := h.Counters(); n.Refused != 3 || n.ManifestGETs != 1 {
		t.Errorf("counted %d refused and %d pulls, want 3 and 1", n.Refused, n.ManifestGETs)
	}
}

// A fault of an operation does not apply to the challenge before it.
func TestFaultSkipsChallenge(t *testing.T) {
	h := start(t, Options{})
	h.AddManifest(repo, "latest", imageType, []byte(`{}`))
	h.Inject(Fault{Op: "manifest", Status: 500, Times: 1})
	c := newClient(t, h)
	c.do("GET", "/v2/"+repo+"/manifests/latest").want(t, 401)
	c.login("", "", pull(repo)).do("GET", "/v2/"+repo+"/manifests/latest").want(t, 500)
	c.do("GET", "/v2/"+repo+"/manifests/latest").want(t, 200)
}

func TestLatencyAndBandwidth(t *testing.T) {
	h := start(t, Options{NoAuth: true, Direct: true})
	d := h.AddBlob(repo, make([]byte, 3000)).String()
	h.Inject(Fault{Op: "blob", Latency: 10 * time.Second, Bandwidth: 1000})
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		answer := ask(h, "GET", "/v2/"+repo+"/blobs/"+d, "")
		if took := time.Since(began); took != 13*time.Second || answer.Body.Len() != 3000 || !answer.Flushed {
			t.Errorf("%d bytes in %v, flushed %v; want 3000 in 13s, flushed", answer.Body.Len(), took, answer.Flushed)
		}
	})
}

func TestDownAndUp(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	c := newClient(t, h)
	address := h.URL()
	c.do("GET", "/v2/").want(t, 200)
	for range 3 {
		h.Down()
		h.Down()
		if _, err := c.try("GET", "/v2/"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("down: %v, want connection refused", err)
		}
		if err := h.Up(); err != nil {
			t.Fatal(err)
		}
		c.do("GET", "/v2/").want(t, 200)
	}
	if h.URL() != address {
		t.Errorf("up at %s, was at %s", h.URL(), address)
	}
	h.Close()
	if err := h.Up(); err == nil {
		t.Error("a closed hub came up")
	}
}

func TestControl(t *testing.T) {
	h := start(t, Options{NoAuth: true})
	c := newClient(t, h)
	post := func(body string) reply {
		return c.do("POST", "/_sim/faults", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(body)) })
	}
	post(`{"op":"ping","status":503,"latency":"1ms"}`).want(t, 204)
	post(`{"op":"ping","latency":"soon"}`).want(t, 400)
	post(`{"opp":"ping"}`).want(t, 400)
	post(`{"op":"pong"}`).want(t, 400)
	c.do("GET", "/v2/").want(t, 503)
	c.do("DELETE", "/_sim/faults").want(t, 204)
	c.do("GET", "/v2/").want(t, 200)
	counters := c.do("GET", "/_sim/counters").want(t, 200)
	if !strings.Contains(string(counters.body), `"Pings": 2`) {
		t.Errorf("counters %s", counters.body)
	}
	h.Reset()
	if n := h.Counters(); n.Requests != 0 || n.Pings != 0 {
		t.Errorf("after Reset: %+v", n)
	}
}
