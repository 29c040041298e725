package upstream

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
)

func TestManifest(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]hubsim.Options{"docker hub": {}, "no auth, no length": {NoAuth: true, NoLength: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, o)
			raw := []byte("{ \"exact\":\t1 }\n")
			d := h.AddManifest(repo, "v1", indexType, raw)
			c := connect(t, h.URL())
			want := oci.Descriptor{MediaType: indexType, Digest: d, Size: int64(len(raw))}
			for _, reference := range []string{"v1", d.String()} {
				resolved, err := c.Resolve(t.Context(), manifestRef(t, reference))
				if err != nil || resolved.Descriptor != want {
					t.Errorf("resolve %s: %+v, %v", reference, resolved, err)
				}
			}
			if n := h.Counters(); n.ManifestGETs != 0 || n.ManifestHEADs != 2 {
				t.Errorf("%d GETs, %d HEADs; want 0, 2", n.ManifestGETs, n.ManifestHEADs)
			}
			for _, reference := range []string{"v1", d.String()} {
				got, err := read(t, c, manifestRef(t, reference))
				if err != nil || !bytes.Equal(got, raw) {
					t.Errorf("open %s: %q, %v", reference, got, err)
				}
			}
			_, err := c.Resolve(t.Context(), manifestRef(t, "absent"))
			c.wantCode(t, err, oci.ManifestUnknown)
			_, err = read(t, c, manifestRef(t, "absent"))
			c.wantCode(t, err, oci.ManifestUnknown)
		})
	}
}

func TestBadManifests(t *testing.T) {
	t.Parallel()
	big := `{"` + strings.Repeat("x", oci.MaxManifestSize-5) + `":1}`
	other := oci.FromBytes([]byte("other")).String()
	const told = "Docker-Content-Digest"
	for name, test := range map[string]struct {
		handle    http.HandlerFunc
		reference string
	}{
		"html":            {answer(200, "<html>", "Content-Type", "text/html; charset=utf-8"), "v1"},
		"no type":         {answer(200, "{}", "Content-Type", ""), "v1"},
		"no JSON":         {answer(200, "{", "Content-Type", imageType), "v1"},
		"no object":       {answer(200, `"text"`, "Content-Type", imageType), "v1"},
		"compressed":      {answer(200, "\x1f\x8b\x08", "Content-Type", imageType, "Content-Encoding", "gzip"), "v1"},
		"index and image": {answer(200, `{"manifests":[],"layers":[]}`, "Content-Type", imageType), "v1"},
		"index as image":  {answer(200, `{"mediaType":"`+imageType+`","manifests":[]}`, "Content-Type", imageType), "v1"},
		"other by sha512": {answer(200, "{}", "Content-Type", imageType, told, digest.SHA512.FromString("other").String()), "v1"},
		"other by tag":    {answer(200, "{}", "Content-Type", imageType, told, other), "v1"},
		"other by digest": {answer(200, "{}", "Content-Type", imageType), other},
		"too large":       {answer(200, big, "Content-Type", imageType), "v1"},
		"broken off":      {answer(200, "{}", "Content-Type", imageType, "Content-Length", "9"), "v1"},
		"5xx":             {answer(503, "later"), "v1"},
		"not modified":    {answer(304, ""), "v1"},
		"lost redirect":   {answer(307, ""), "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, serve(t, openly(test.handle)).URL)
			_, err := read(t, c, manifestRef(t, test.reference))
			c.wantCode(t, err, oci.Unavailable)
		})
	}
	c := connect(t, serve(t, openly(answer(403, `{"errors":[{"code":"DENIED","message":"not for you"}]}`))).URL)
	_, err := read(t, c, manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Denied)
	if err == nil || !strings.Contains(err.Error(), "DENIED not for you") {
		t.Errorf("%v: the upstream's words are lost", err)
	}
}

func TestLargestManifest(t *testing.T) {
	t.Parallel()
	big := `{"` + strings.Repeat("x", oci.MaxManifestSize-6) + `":1}`
	c := connect(t, serve(t, openly(answer(200, big, "Content-Type", imageType+"; charset=utf-8"))).URL)
	opened, err := c.Open(t.Context(), manifestRef(t, "v1"))
	if err != nil || opened.Size != oci.MaxManifestSize || opened.MediaType != imageType {
		t.Errorf("%+v, %v", opened, err)
	}
}

// A HEAD is believed where it can be true. What it does not tell of a manifest
// it leaves open, and without a digest only a GET tells what a tag names.
func TestHeads(t *testing.T) {
	t.Parallel()
	d := oci.FromBytes([]byte("{}")).String()
	other := oci.FromBytes([]byte("other")).String()
	long := digest.SHA512.FromString("{}").String()
	const told, typ, length = "Docker-Content-Digest", "Content-Type", "Content-Length"
	const described, open, needsGet, unavailable = "described", "open", "needs GET", "unavailable"
	for name, test := range map[string]struct {
		head            []string
		byTag, byDigest string
	}{
		"all told":         {[]string{told, d, typ, imageType, length, "2"}, described, described},
		"quoted digest":    {[]string{told, `"` + d + `"`, typ, imageType, length, "2"}, described, described},
		"parameters":       {[]string{told, d, typ, imageType + "; charset=utf-8", length, "2"}, described, described},
		"length 0":         {[]string{told, d, typ, imageType, length, "0"}, open, open},
		"no length":        {[]string{told, d, typ, imageType}, open, open},
		"compressed":       {[]string{told, d, typ, imageType, length, "2", "Content-Encoding", "gzip"}, open, open},
		"identity":         {[]string{told, d, typ, imageType, length, "2", "Content-Encoding", "identity"}, described, described},
		"no type":          {[]string{told, d, typ, "", length, "2"}, open, open},
		"octet-stream":     {[]string{told, d, typ, "application/octet-stream", length, "2"}, open, open},
		"JSON":             {[]string{told, d, typ, "application/json", length, "2"}, open, open},
		"text":             {[]string{told, d, typ, "text/plain; charset=utf-8", length, "2"}, open, open},
		"HTML with digest": {[]string{told, d, typ, "text/html", length, "2"}, open, open},
		"HTML":             {[]string{typ, "text/html", length, "2"}, unavailable, unavailable},
		"no digest":        {[]string{typ, imageType, length, "2"}, needsGet, described},
		"sha512":           {[]string{told, long, typ, imageType, length, "2"}, needsGet, described},
		"nonsense":         {[]string{told, "md5:abc", typ, imageType, length, "2"}, needsGet, described},
		"other digest":     {[]string{told, other, typ, imageType, length, "2"}, "other", unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, serve(t, openly(answer(200, "", test.head...))).URL)
			for reference, want := range map[string]string{"v1": test.byTag, d: test.byDigest} {
				got, err := c.Resolve(t.Context(), manifestRef(t, reference))
				if saw := headOutcome(got.Descriptor, err, oci.Digest(d)); saw != want {
					t.Errorf("%s: %s, want %s: %+v, %v", reference, saw, want, got, err)
				}
			}
			for _, req := range c.sent.all() {
				if req.Method != http.MethodHead && strings.Contains(req.URL.Path, "/manifests/") {
					t.Errorf("%s %s", req.Method, req.URL)
				}
			}
		})
	}
}

// headOutcome is in a word what came of a HEAD of {}, whose digest is d.
func headOutcome(got oci.Descriptor, err error, d oci.Digest) string {
	switch {
	case errors.Is(err, oci.ErrNeedsGet):
		return "needs GET"
	case err != nil:
		return "unavailable"
	case got.Digest != d:
		return "other"
	case got == oci.Descriptor{MediaType: imageType, Digest: d, Size: 2}:
		return "described"
	case got == oci.Descriptor{Digest: d, Size: oci.UnknownSize}:
		return "open"
	}
	return "wrong"
}

// A refused HEAD, which has no body to say why, may be the method's fault; an
// error of the registry is not.
func TestRefusedHeads(t *testing.T) {
	t.Parallel()
	for status, needsGet := range map[int]bool{400: true, 403: true, 404: true, 405: true, 501: true, 500: false, 503: false} {
		c := connect(t, serve(t, openly(answer(status, ""))).URL)
		_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
		if errors.Is(err, oci.ErrNeedsGet) != needsGet || err == nil {
			t.Errorf("%d: %v", status, err)
		}
	}
	for _, status := range []int{400, 401, 403, 405, 501} { // a link that is signed for GET
		storage := serve(t, answer(status, ""))
		c := connect(t, serve(t, openly(answer(307, "", "Location", storage.URL+"/signed"))).URL)
		if _, err := c.Resolve(t.Context(), manifestRef(t, "v1")); !errors.Is(err, oci.ErrNeedsGet) {
			t.Errorf("%d from storage: %v", status, err)
		}
	}
}

// The registry's digest counts though its storage's answer does not repeat it.
func TestDigestOnARedirect(t *testing.T) {
	t.Parallel()
	d := oci.FromBytes([]byte("{}"))
	storage := serve(t, answer(200, "", "Content-Type", imageType, "Content-Length", "2"))
	c := connect(t, serve(t, openly(answer(307, "", "Location", storage.URL, "Docker-Content-Digest", d.String()))).URL)
	got, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	if want := (oci.Descriptor{MediaType: imageType, Digest: d, Size: 2}); err != nil || got.Descriptor != want {
		t.Errorf("%+v, %v", got, err)
	}
}

// A manifest's type is what it says itself, and its digest what it hashes to.
func TestManifestTypeFromItsBytes(t *testing.T) {
	t.Parallel()
	const typed = `{"mediaType":"` + imageType + `"}`
	sha512 := digest.SHA512.FromString(typed).String()
	for name, test := range map[string]struct {
		raw    string
		header []string
		want   string
	}{
		"text":                 {typed, []string{"Content-Type", "text/plain"}, imageType},
		"no type":              {typed, []string{"Content-Type", ""}, imageType},
		"another type":         {typed, []string{"Content-Type", indexType}, imageType},
		"index without a type": {`{"manifests":[]}`, []string{"Content-Type", "application/json"}, indexType},
		"left open":            {`{}`, []string{"Content-Type", indexType}, indexType},
		"sha512":               {typed, []string{"Content-Type", imageType, "Docker-Content-Digest", sha512}, imageType},
		"quoted sha512":        {typed, []string{"Content-Type", imageType, "Docker-Content-Digest", `"` + sha512 + `"`}, imageType},
		"nonsense":             {typed, []string{"Content-Type", imageType, "Docker-Content-Digest", "md5:abc"}, imageType},
	} {
		c := connect(t, serve(t, openly(answer(200, test.raw, test.header...))).URL)
		opened, err := c.Open(t.Context(), manifestRef(t, "v1"))
		want := oci.Descriptor{MediaType: test.want, Digest: oci.FromBytes([]byte(test.raw)), Size: int64(len(test.raw))}
		if err != nil || opened.Descriptor != want {
			t.Errorf("%s: %+v, %v", name, opened, err)
		}
	}
}

// A compressed answer that was not asked for is refused, and the error says so.
func TestUnwantedEncoding(t *testing.T) {
	t.Parallel()
	c := connect(t, serve(t, openly(answer(200, "squeezed", "Content-Type", imageType, "Content-Encoding", "gzip"))).URL)
	_, err := read(t, c, manifestRef(t, oci.FromBytes([]byte("{}")).String()))
	c.wantCode(t, err, oci.Unavailable)
	if err == nil || !strings.Contains(err.Error(), `Content-Encoding: "gzip"`) {
		t.Errorf("told as %v", err)
	}
}

// Schema 1 is told as unknown, whatever it is said to be.
func TestSchema1(t *testing.T) {
	t.Parallel()
	for _, handle := range []http.HandlerFunc{
		answer(200, `{"schemaVersion":1}`, "Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
		answer(200, `{"schemaVersion":1,"fsLayers":[]}`, "Content-Type", "application/json"),
	} {
		_, err := read(t, connect(t, serve(t, openly(handle)).URL), manifestRef(t, "v1"))
		if oci.CodeOf(err) != oci.ManifestUnknown {
			t.Error(err)
		}
	}
}

func TestBothLimits(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	for _, test := range []struct {
		fault hubsim.Fault
		pulls bool
		words string
		wait  time.Duration
	}{
		{hubsim.Fault{Op: "manifest", PullLimit: true, Times: 1}, true, "unauthenticated pull rate limit", time.Second},
		{hubsim.Fault{Op: "manifest", Abuse: true, Times: 1}, false, "HAP429", time.Minute},
	} {
		h.Inject(test.fault)
		_, err := read(t, connect(t, h.URL()), manifestRef(t, "v1"))
		limit, ok := err.(*oci.LimitError)
		if !ok {
			t.Fatalf("%v is no LimitError", err)
		}
		if wait := time.Until(limit.RetryAt); (limit.Kind == oci.LimitPulls) != test.pulls || wait > test.wait || wait < test.wait-10*time.Second ||
			!strings.Contains(limit.Message, test.words) || limit.Upstream != oci.DockerHub {
			t.Errorf("%+v, in %v", limit, wait)
		}
	}
	for _, op := range []string{"token", "ping"} {
		remove := h.Inject(hubsim.Fault{Op: op, Abuse: true})
		_, err := connect(t, h.URL()).Resolve(t.Context(), manifestRef(t, "v1"))
		if oci.CodeOf(err) != oci.TooManyRequests {
			t.Errorf("429 from %s: %v", op, err)
		}
		remove()
	}
}

func TestUpstreamDown(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	d := h.AddBlob(repo, []byte("content"))
	c := connect(t, h.URL())
	h.Down()
	_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	c.wantCode(t, err, oci.Unavailable)
	_, err = read(t, c, blobRef(t, d))
	c.wantCode(t, err, oci.Unavailable)
	check(t, h.Up())
	wantBlob(t, c, d, 7)
}

func TestOperations(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	d := h.AddBlob(repo, []byte("content"))
	c := connect(t, h.URL())
	wantBlob(t, c, d, 7)
	var got []Operation
	for _, req := range c.sent.all() {
		got = append(got, OperationOf(req))
	}
	want := []Operation{Ping, Token, BlobGet, BlobGet}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("operations %v, want %v", got, want)
	}
	req, err := http.NewRequest(http.MethodGet, h.URL(), nil)
	check(t, err)
	if op := OperationOf(req); op != OtherOperation {
		t.Errorf("a request of somebody else's is %q", op)
	}
}
