package upstream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestBlobFromEveryKindOfRegistry(t *testing.T) {
	t.Parallel()
	content := ocitest.Content(100_000, 1)
	for name, o := range map[string]hubsim.Options{
		"docker hub": {}, "no auth": {NoAuth: true}, "direct": {Direct: true},
		"no length": {NoLength: true}, "plain": {NoAuth: true, Direct: true, NoLength: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, o)
			d := h.AddBlob(repo, content)
			c := connect(t, h.URL())
			wantBlob(t, c, d, len(content))
			opened, err := c.Open(t.Context(), blobRef(t, d))
			check(t, err)
			check(t, opened.Close())
			if opened.Size != int64(len(content)) {
				t.Errorf("size %d, want %d", opened.Size, len(content))
			}
		})
	}
}

func TestHeadTransfersNoBlob(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	d := h.AddBlob(repo, ocitest.Content(100_000, 1))
	c := connect(t, h.URL())
	got, err := c.Resolve(t.Context(), blobRef(t, d))
	if err != nil || got.Size != 100_000 || got.Digest != d {
		t.Errorf("%+v, %v", got, err)
	}
	if n := h.Counters(); n.CDNGETs != 0 || n.CDNBytes != 0 {
		t.Errorf("%d downloads, %d bytes", n.CDNGETs, n.CDNBytes)
	}
	_, err = c.Resolve(t.Context(), blobRef(t, oci.FromBytes([]byte("absent"))))
	c.wantCode(t, err, oci.BlobUnknown)
	if n := h.Counters(); n.BlobGETs != 0 {
		t.Errorf("%d GETs for a blob that HEAD says is absent", n.BlobGETs)
	}
}

// A link that is signed for GET refuses HEAD: one byte tells the size.
func TestHeadRefusedByTheStorage(t *testing.T) {
	t.Parallel()
	content := ocitest.Content(1000, 1)
	for name, handle := range map[string]http.HandlerFunc{
		"range": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		},
		"whole": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ranges := make(chan string, 1)
			storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				ranges <- r.Header.Get("Range")
				handle(w, r)
			})
			s := serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, storage.URL+"/x?sig=1", http.StatusTemporaryRedirect)
			}))
			c := connect(t, s.URL)
			got, err := c.Resolve(t.Context(), blobRef(t, oci.FromBytes(content)))
			if err != nil || got.Size != 1000 {
				t.Errorf("%+v, %v", got, err)
			}
			if r := <-ranges; r != "bytes=0-0" {
				t.Errorf("asked for range %q", r)
			}
		})
	}
}

// A blob's size is measured where a HEAD cannot be believed, or is refused to
// those who may GET, as at public.ecr.aws. It costs one byte.
func TestBlobHeads(t *testing.T) {
	t.Parallel()
	content := ocitest.Content(1000, 1)
	head := func(status int, header ...string) http.HandlerFunc { return answer(status, "", header...) }
	for name, test := range map[string]struct {
		head     http.HandlerFunc
		measured bool
	}{
		"told":       {head(200, "Content-Length", "1000"), false},
		"length 0":   {head(200, "Content-Length", "0"), true},
		"no length":  {head(200), true},
		"compressed": {head(200, "Content-Length", "77", "Content-Encoding", "gzip"), true},
		"400":        {head(400), true},
		"401":        {head(401), true},
		"403":        {head(403), true},
		"405":        {head(405), true},
		"501":        {head(501), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					test.head(w, r)
					return
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			})).URL)
			got, err := c.Resolve(t.Context(), blobRef(t, oci.FromBytes(content)))
			if err != nil || got.Size != 1000 {
				t.Errorf("%+v, %v", got, err)
			}
			last := c.sent.all()[len(c.sent.all())-1]
			if measured := last.Method == http.MethodGet && last.Header.Get("Range") == "bytes=0-0"; measured != test.measured {
				t.Errorf("measured: %v, want %v", measured, test.measured)
			}
		})
	}
	c := connect(t, serve(t, openly(answer(200, "", "Content-Length", "0"))).URL)
	got, err := c.Resolve(t.Context(), blobRef(t, oci.FromBytes(nil)))
	if want := (oci.Descriptor{Digest: oci.FromBytes(nil)}); err != nil || got.Descriptor != want || len(c.sent.all()) != 2 {
		t.Errorf("the empty blob: %+v, %v, after %d requests", got, err, len(c.sent.all()))
	}
}

func TestBodyResumesAfterDrops(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	content := ocitest.Content(900_000, 2)
	d := h.AddBlob(repo, content)
	for _, after := range []int64{1, 40_000, 7, 100_000, 333_333} {
		h.Inject(hubsim.Fault{Op: "cdn", DropAfter: after, Times: 1})
	}
	c := connect(t, h.URL())
	resumed := 0
	c.opts.Resumed = func() { resumed++ }
	wantBlob(t, c, d, len(content))
	n := h.Counters()
	if n.RangeGETs != 5 || n.CDNGETs != 6 || n.BlobGETs != 6 || resumed != 5 || n.CDNBytes != int64(len(content)) {
		t.Errorf("%d ranges, %d downloads through %d redirects, %d resumed, %d bytes; want 5, 6, 6, 5, %d",
			n.RangeGETs, n.CDNGETs, n.BlobGETs, resumed, n.CDNBytes, len(content))
	}
}

// The link has expired when the body breaks off: 403 is not the end.
func TestExpiredLink(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	content := ocitest.Content(100_000, 3)
	d := h.AddBlob(repo, content)
	h.Inject(hubsim.Fault{Op: "cdn", DropAfter: 50_000, Times: 1})
	h.Inject(hubsim.Fault{Op: "cdn", Status: http.StatusForbidden, Body: "Access denied", Times: 2})
	wantBlob(t, connect(t, h.URL()), d, len(content))
	if n := h.Counters(); n.BlobGETs != 4 || n.RangeGETs != 1 || n.CDNBytes != int64(len(content)) {
		t.Errorf("%d redirects, %d ranges, %d bytes; want 4, 1, %d", n.BlobGETs, n.RangeGETs, n.CDNBytes, len(content))
	}
}

func TestLinksThatExpireAtOnce(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{LinkTTL: time.Nanosecond})
	d := h.AddBlob(repo, []byte("content"))
	c := connect(t, h.URL())
	_, err := read(t, c, blobRef(t, d))
	c.wantCode(t, err, oci.Unavailable)
	if n := h.Counters(); n.CDNForbidden != initialTries || n.BlobGETs != initialTries {
		t.Errorf("%d refused after %d redirects, want %d", n.CDNForbidden, n.BlobGETs, initialTries)
	}
}

func TestBadBodies(t *testing.T) {
	t.Parallel()
	at := int64(70_000)
	for name, fault := range map[string]hubsim.Fault{
		"wrong byte": {FlipAt: &at},
		"short":      {Truncate: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, hubsim.Options{})
			content := ocitest.Content(100_000, 4)
			d := h.AddBlob(repo, content)
			fault.Op = "cdn"
			remove := h.Inject(fault)
			c := connect(t, h.URL())
			raw, err := read(t, c, blobRef(t, d))
			c.wantCode(t, err, oci.Unavailable)
			if len(raw) >= len(content) {
				t.Errorf("%d bytes of a blob of %d that is wrong", len(raw), len(content))
			}
			remove()
			wantBlob(t, c, d, len(content))
		})
	}
}

// Bytes after the last byte of a blob are ignored.
func TestEndlessBody(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	content := ocitest.Content(100_000, 4)
	d := h.AddBlob(repo, content)
	h.Inject(hubsim.Fault{Op: "cdn", Endless: true})
	wantBlob(t, connect(t, h.URL()), d, len(content))
}

// A registry that knows no ranges: going on with what is at hand does not hold
// the answer back until all of that has come again.
func TestResumeWithoutRangesAnswersAtOnce(t *testing.T) {
	t.Parallel()
	content := ocitest.Content(3<<20, 10)
	answered := make(chan struct{})
	c := connect(t, serve(t, openly(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:1<<20])
		_ = http.NewResponseController(w).Flush()
		<-answered
		_, _ = w.Write(content[1<<20:])
	})).URL)
	opened, err := c.Open(oci.WithPartHint(t.Context(), oci.Span{Begin: 2 << 20}), blobRef(t, oci.FromBytes(content)))
	close(answered)
	check(t, err)
	defer func() { _ = opened.Close() }()
	body := oci.Unverified(opened.Body).(io.ReadSeeker)
	_, err = body.Seek(2<<20, io.SeekStart)
	check(t, err)
	if n, err := body.Read(nil); n != 0 || err != nil {
		t.Errorf("read nothing: %d, %v", n, err)
	}
	if raw, err := io.ReadAll(body); err != nil || !bytes.Equal(raw, content[2<<20:]) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

// A storage host that limits, and repeats the signed link.
func TestStorageLimitContainsNoSecret(t *testing.T) {
	t.Parallel()
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "<Error><Resource>"+r.URL.RequestURI()+"</Resource></Error>\n\x1b[31m")
	})
	c := connect(t, serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, storage.URL+"/data?X-Amz-Signature=deadbeefdeadbeef", http.StatusTemporaryRedirect)
	})).URL)
	_, err := c.Open(t.Context(), blobRef(t, oci.FromBytes(nil)))
	if err == nil || strings.Contains(err.Error(), "deadbeef") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%q", err)
	}
}

func TestSeekOutOfBounds(t *testing.T) {
	t.Parallel()
	c := connect(t, "http://127.0.0.1:1")
	b := c.newBody(t.Context(), blobRef(t, oci.FromBytes(nil)), 5)
	if _, err := b.Seek(0, io.SeekEnd); err == nil {
		t.Error("seeking from an unknown end succeeded")
	}
	if _, err := b.Seek(-6, io.SeekCurrent); err == nil {
		t.Error("sought to before the beginning")
	}
	if at, err := b.Seek(2, io.SeekCurrent); at != 7 || err != nil {
		t.Errorf("at %d, %v", at, err)
	}
}

func TestCancelEndsABlockedOpen(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"token", "blob", "cdn"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, hubsim.Options{})
			d := h.AddBlob(repo, []byte("content"))
			h.Inject(hubsim.Fault{Op: op, Latency: time.Hour})
			c := connect(t, h.URL())
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			begun := time.Now()
			_, err := c.Open(ctx, blobRef(t, d))
			if took := time.Since(begun); !errors.Is(err, context.Canceled) || took > 5*time.Second {
				t.Errorf("%v after %v", err, took)
			}
		})
	}
}

// The registry does not take a fresh token at the resume, and takes it a moment
// later: the download goes on.
func TestClockSkewInTheMiddleOfABlob(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	content := ocitest.Content(100_000, 9)
	d := h.AddBlob(repo, content)
	h.Inject(hubsim.Fault{Op: "cdn", DropAfter: 50_000, Times: 1})
	c := connect(t, h.URL())
	opened, err := c.Open(t.Context(), blobRef(t, d))
	check(t, err)
	defer opened.Body.Close()
	h.Inject(hubsim.Fault{Op: "blob", Status: 401, Times: 1, Header: map[string]string{"Www-Authenticate": `Bearer realm="` + h.URL() + `/token",service="registry.docker.io",error="invalid_token"`}})
	raw, err := io.ReadAll(opened.Body)
	if err != nil || !bytes.Equal(raw, content) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}
