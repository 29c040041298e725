package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mirrord/internal/oci"
)

// asFile returns the blob as the cache does: as a file.
func asFile(t testing.TB, content []byte) (*os.File, oci.Result) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "blob")
	check(t, os.WriteFile(path, content, 0o600))
	file, err := os.Open(path)
	check(t, err)
	return file, oci.Result{Descriptor: oci.Descriptor{Digest: oci.FromBytes(content), Size: int64(len(content))}, Via: oci.Hit}
}

// files is a Registry that opens the blob again for each request.
func files(t testing.TB, content []byte) scripted {
	file, a := asFile(t, content)
	check(t, file.Close())
	return scripted{
		open: func(context.Context, oci.Ref) (*oci.Content, error) {
			body, err := os.Open(file.Name())
			return &oci.Content{Result: a, Body: body}, err
		},
		resolve: func(context.Context, oci.Ref) (oci.Result, error) { return a, nil },
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	for name, registry := range map[string]oci.Registry{"reader": filled(), "file": files(t, blob)} {
		m := start(t, registry)
		for asked, span := range map[string][2]int{
			"bytes=0-0":                    {0, 0},
			"bytes=0-":                     {0, 9999},
			"bytes=5-9":                    {5, 9},
			"bytes=9999-":                  {9999, 9999},
			"bytes=9000-10000":             {9000, 9999}, // clipped
			"bytes=9000-999999":            {9000, 9999},
			"bytes=-1":                     {9999, 9999},
			"bytes=-10000":                 {0, 9999},
			"bytes=-20000":                 {0, 9999},
			"BYTES=5-9":                    {5, 9}, // units are case-insensitive
			"bytes=5-9,-0":                 {5, 9}, // unsatisfiable ranges are left out
			"bytes=9-5,5-9":                {5, 9},
			"bytes=5-99999999999999999999": {5, 9999},
			"bytes=-99999999999999999999":  {0, 9999},
		} {
			r := m.do(http.MethodGet, blobPath, "Range", asked)
			r.want(t, http.StatusPartialContent, string(blob[span[0]:span[1]+1]))
			r.wantHeader(t, "Content-Range", fmt.Sprintf("bytes %d-%d/10000", span[0], span[1]), "Accept-Ranges", "bytes",
				"Content-Type", "application/octet-stream", "Docker-Content-Digest", blobDigest, "Etag", `"`+blobDigest+`"`,
				"Cache-Control", "max-age=31536000, immutable", "Content-Encoding", "", "Content-Length", fmt.Sprint(span[1]-span[0]+1))
			if r.Header.Get(viaHeader) == "" || t.Failed() {
				t.Fatalf("%s: %s", name, asked)
			}
		}
		for _, asked := range []string{"bytes=10000-", "bytes=10000-10001", "bytes=99999-", "bytes=9-5", "bytes=-0", "bytes=-0,-00", "bytes=99999999999999999999-"} {
			r := m.do(http.MethodGet, blobPath, "Range", asked).wantHeader(t, "Content-Range", "bytes */10000")
			if r.StatusCode != http.StatusRequestedRangeNotSatisfiable {
				t.Errorf("%s: %d", asked, r.StatusCode)
			}
		}
		for _, asked := range []string{"items=0-1", "bytes", "bytes=", "bytes=,", "bytes=a-b", "bytes=+1-2", "bytes=0-1,x"} {
			m.do(http.MethodGet, blobPath, "Range", asked).want(t, http.StatusOK, string(blob)).wantHeader(t, "Content-Range", "")
		}
		tag := `"` + blobDigest + `"`
		if r := m.do(http.MethodGet, blobPath, "Range", "bytes=5-", "If-Range", tag); r.StatusCode != http.StatusPartialContent {
			t.Errorf("If-Range with the tag: %d", r.StatusCode)
		}
		m.do(http.MethodGet, blobPath, "Range", "bytes=5-", "If-Range", `"other"`).want(t, http.StatusOK, string(blob))
		m.do(http.MethodHead, blobPath, "Range", "bytes=5-9").want(t, http.StatusOK, "").wantHeader(t, "Content-Length", "10000")
	}
}

// wantParts checks that a reply has exactly these parts, in this order.
func (r reply) wantParts(t *testing.T, content []byte, spans [][2]int) {
	t.Helper()
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" || r.StatusCode != http.StatusPartialContent || r.err != nil {
		t.Fatalf("status %d, type %q, %v", r.StatusCode, kind, r.err)
	}
	r.wantHeader(t, "Content-Length", fmt.Sprint(len(r.body)), "Accept-Ranges", "bytes")
	parts := multipart.NewReader(bytes.NewReader(r.body), parameters["boundary"])
	for i, span := range spans {
		part, err := parts.NextPart()
		check(t, err)
		raw, err := io.ReadAll(part)
		check(t, err)
		want := fmt.Sprintf("bytes %d-%d/%d", span[0], span[1], len(content))
		if got := part.Header.Get("Content-Range"); got != want || !bytes.Equal(raw, content[span[0]:span[1]+1]) {
			t.Fatalf("part %d: %s of %d bytes, want %s", i, got, len(raw), want)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("more than %d parts: %v", len(spans), err)
	}
}

func TestSeveralRanges(t *testing.T) {
	t.Parallel()
	for name, registry := range map[string]oci.Registry{"reader": filled(), "file": files(t, blob)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := start(t, registry)
			m.do(http.MethodGet, blobPath, "Range", "bytes=100-199,0-9,10-19,5-14,-1").
				wantParts(t, blob, [][2]int{{100, 199}, {0, 9}, {10, 19}, {5, 14}, {9999, 9999}})
			// More than the whole: the whole.
			m.do(http.MethodGet, blobPath, "Range", "bytes=0-8999,0-8999").want(t, http.StatusOK, string(blob))
		})
	}
}

// Podman asks for up to 1024 parts in one header of about 32 KiB.
func TestThousandRanges(t *testing.T) {
	t.Parallel()
	content := make([]byte, 3<<20)
	var spans [][2]int
	var asked []string
	for i := range 1024 {
		first := i * 2048
		content[first] = byte(i)
		spans = append(spans, [2]int{first, first + 99})
		asked = append(asked, fmt.Sprintf("%015d-%015d", first, first+99))
	}
	header := "bytes=" + strings.Join(asked, ",")
	if len(header) < 31<<10 {
		t.Fatalf("the header has only %d bytes", len(header))
	}
	start(t, giving(seekable{bytes.NewReader(content)}, oci.Result{
		Descriptor: oci.Descriptor{Digest: oci.Digest(blobDigest), Size: int64(len(content))}, Via: oci.Hit,
	})).do(http.MethodGet, blobPath, "Range", header).wantParts(t, content, spans)
}

type seekable struct{ io.ReadSeeker }

func (seekable) Close() error { return nil }

func TestEmptyBlob(t *testing.T) {
	t.Parallel()
	m := start(t, files(t, nil))
	m.do(http.MethodGet, blobPath).want(t, http.StatusOK, "").wantHeader(t, "Content-Length", "0")
	for _, asked := range []string{"bytes=0-", "bytes=-1", "bytes=-0", "bytes=0-0", "bytes=5-9", "bytes=0-0,-1"} {
		m.do(http.MethodGet, blobPath, "Range", asked).want(t, http.StatusOK, "").wantHeader(t, "Content-Length", "0", "Content-Range", "")
	}
}

// A HEAD has the status that a GET would have: RFC 9110, section 13.2.1.
func TestPreconditions(t *testing.T) {
	t.Parallel()
	for name, registry := range map[string]oci.Registry{"reader": filled(), "file": files(t, blob)} {
		m := start(t, registry)
		tag := `"` + blobDigest + `"`
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for header, want := range map[[2]string]int{
				{"If-None-Match", tag}:                 http.StatusNotModified,
				{"If-None-Match", `"other", W/` + tag}: http.StatusNotModified,
				{"If-None-Match", "*"}:                 http.StatusNotModified,
				{"If-None-Match", `"other"`}:           http.StatusOK,
				{"If-Match", tag}:                      http.StatusOK,
				{"If-Match", "*"}:                      http.StatusOK,
				{"If-Match", `"other"`}:                http.StatusPreconditionFailed,
			} {
				r := m.do(method, blobPath, header[0], header[1])
				if r.StatusCode != want || r.err != nil {
					t.Errorf("%s: %s, %s: status %d, want %d", name, method, header, r.StatusCode, want)
				}
				if e := <-m.events; e.Status != want || e.Err != nil || e.Cut {
					t.Errorf("%s: %s, %s: observed %+v", name, method, header, e)
				}
				r.wantHeader(t, "Docker-Content-Digest", blobDigest)
			}
		}
		m.do(http.MethodHead, blobPath, "Range", "bytes=99999-").want(t, http.StatusOK, "").wantHeader(t, "Content-Length", "10000", "Content-Range", "")
	}
}

// partial is a body that records the announced parts.
type partial struct {
	seekable
	announced *[]oci.Span
}

func (p partial) ReadParts(parts []oci.Span) { *p.announced = parts }

// Ranges that end within the content, or are counted from its end, are parts; an
// open range, or one that ends beyond the content, is the rest of the content.
func TestParts(t *testing.T) {
	t.Parallel()
	for asked, want := range map[string][]oci.Span{
		"":                         nil,
		"bytes=0-":                 nil,
		"bytes=9000-":              nil,
		"bytes=9000-10000":         nil, // how regclient resumes
		"bytes=9000-9999":          {{Begin: 9000, End: 10_000}},
		"bytes=0-9999":             {{Begin: 0, End: 10_000}},
		"bytes=-5":                 {{Begin: 9995, End: 10_000}},
		"bytes=-20000":             {{Begin: 0, End: 10_000}},
		"bytes=5-9,7000-,20-29,-1": {{Begin: 5, End: 10}, {Begin: 20, End: 30}, {Begin: 9999, End: 10_000}},
		"bytes=99999-":             nil,
		"bytes=-0":                 nil,
		"items=5-9":                nil,
	} {
		var announced []oci.Span
		m := start(t, giving(partial{seekable{bytes.NewReader(blob)}, &announced}, blobAnswer(10_000)))
		m.do(http.MethodGet, blobPath, "Range", asked)
		if !slices.Equal(announced, want) {
			t.Errorf("%s: announced %v, want %v", asked, announced, want)
		}
	}
}

func TestRangeOfAManifest(t *testing.T) {
	t.Parallel()
	m := start(t, filled())
	m.do(http.MethodGet, "/v2/alpine/manifests/3", "Range", "bytes=1-3").want(t, http.StatusPartialContent, image[1:4])
}
