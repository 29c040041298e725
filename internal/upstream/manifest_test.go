package upstream

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

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
	big := `"` + strings.Repeat("x", oci.MaxManifestSize-1) + `"`
	other := oci.FromBytes([]byte("other")).String()
	const told = "Docker-Content-Digest"
	for name, test := range map[string]struct {
		handle    http.HandlerFunc
		reference string
	}{
		"html":            {answer(200, "<html>", "Content-Type", "text/html; charset=utf-8"), "v1"},
		"no type":         {answer(200, "{}", "Content-Type", ""), "v1"},
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
	big := `"` + strings.Repeat("x", oci.MaxManifestSize-2) + `"`
	c := connect(t, serve(t, openly(answer(200, big, "Content-Type", imageType+"; charset=utf-8"))).URL)
	opened, err := c.Open(t.Context(), manifestRef(t, "v1"))
	if err != nil || opened.Size != oci.MaxManifestSize || opened.MediaType != imageType {
		t.Errorf("%+v, %v", opened, err)
	}
}

func TestHeadThatTellsNothing(t *testing.T) {
	t.Parallel()
	const raw = `{"a":1}`
	for name, header := range map[string][]string{
		"no digest": {"Content-Length", "7", "Content-Type", imageType},
		"no length": {"Docker-Content-Digest", oci.FromBytes([]byte(raw)).String(), "Content-Type", imageType},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodHead {
					answer(200, "", header...)(w, r)
					return
				}
				answer(200, raw, "Content-Type", imageType)(w, r)
			})).URL)
			got, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
			want := oci.Descriptor{MediaType: imageType, Digest: oci.FromBytes([]byte(raw)), Size: 7}
			if err != nil || got.Descriptor != want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	for name, handle := range map[string]http.HandlerFunc{
		"nonsense": answer(200, "", "Docker-Content-Digest", "md5:abc", "Content-Type", imageType, "Content-Length", "7"),
		"html": answer(200, "", "Docker-Content-Digest", oci.FromBytes(nil).String(), "Content-Type", "text/html",
			"Content-Length", "7"),
		"too large": answer(200, "", "Docker-Content-Digest", oci.FromBytes(nil).String(), "Content-Type", imageType,
			"Content-Length", strconv.Itoa(oci.MaxManifestSize+1)),
	} {
		c := connect(t, serve(t, openly(handle)).URL)
		_, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
		if c.wantCode(t, err, oci.Unavailable); t.Failed() {
			t.Log(name)
		}
	}
}

// What is compressed though nobody asked for it is refused, and said to be so.
func TestUnwantedEncoding(t *testing.T) {
	t.Parallel()
	c := connect(t, serve(t, openly(answer(200, "squeezed", "Content-Type", imageType, "Content-Encoding", "gzip"))).URL)
	_, err := read(t, c, manifestRef(t, oci.FromBytes([]byte("{}")).String()))
	c.wantCode(t, err, oci.Unavailable)
	if err == nil || !strings.Contains(err.Error(), `Content-Encoding: "gzip"`) {
		t.Errorf("told as %v", err)
	}
}

// Registries that know no HEAD are asked by GET; schema 1 is told as unknown.
func TestOddRegistries(t *testing.T) {
	t.Parallel()
	raw := `{"schemaVersion":2}`
	c := connect(t, serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", imageType)
		_, _ = io.WriteString(w, raw)
	})).URL)
	d, err := c.Resolve(t.Context(), manifestRef(t, "v1"))
	if err != nil || d.Digest != oci.FromBytes([]byte(raw)) || d.Size != int64(len(raw)) {
		t.Errorf("%+v, %v", d, err)
	}
	c = connect(t, serve(t, openly(answer(200, raw, "Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws"))).URL)
	_, err = read(t, c, manifestRef(t, "v1"))
	c.wantCode(t, err, oci.ManifestUnknown)
}

func TestBothLimits(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	h.AddManifest(repo, "v1", imageType, []byte("{}"))
	for _, test := range []struct {
		fault hubsim.Fault
		pulls bool
		words string
	}{
		{hubsim.Fault{Op: "manifest", PullLimit: true, Times: 1}, true, "unauthenticated pull rate limit"},
		{hubsim.Fault{Op: "manifest", Abuse: true, Times: 1}, false, "HAP429"},
	} {
		h.Inject(test.fault)
		_, err := read(t, connect(t, h.URL()), manifestRef(t, "v1"))
		limit, ok := err.(*oci.LimitError)
		if !ok {
			t.Fatalf("%v is no LimitError", err)
		}
		if wait := time.Until(limit.RetryAt); (limit.Kind == oci.LimitPulls) != test.pulls || wait <= 50*time.Second || wait > time.Minute ||
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
