package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// flaky serves content, breaks off after the first half, and then answers as
// again does.
func flaky(content []byte, again http.HandlerFunc) http.HandlerFunc {
	first := true
	return openly(func(w http.ResponseWriter, r *http.Request) {
		if !first {
			again(w, r)
			return
		}
		first = false
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
}

// part answers with the bytes from first up to and without end, and tells size as
// that of the whole.
func part(content []byte, first, end int, size string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", first, end-1, size))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[first:end])
	}
}

// inTurn answers each request by the next handler, and all that follow by the
// last one.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		handlers[min(int(n.Add(1)), len(handlers))-1](w, r)
	}
}

// What may come where the rest of a blob was asked for, and what becomes of it.
func TestResumeResponses(t *testing.T) {
	content := ocitest.Content(200_000, 5)
	const half = 100_000
	whole := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }
	noLength := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		whole(w, r)
	}
	ranges := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	whenWhole := func(otherwise http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				whole(w, r)
				return
			}
			otherwise(w, r)
		}
	}
	headed := func(name, value string, next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(name, value)
			next(w, r)
		}
	}
	limited := func(after string) http.HandlerFunc { return answer(429, "slow down", "Retry-After", after) }
	for name, test := range map[string]struct {
		again http.HandlerFunc
		ok    bool
		asked int // besides the ping
		waits time.Duration
	}{
		"whole":                      {again: whole, ok: true, asked: 2},
		"whole of no length":         {again: noLength, ok: true, asked: 2},
		"as asked":                   {again: part(content, half, 200_000, "200000"), ok: true, asked: 2},
		"no size":                    {again: part(content, half, 200_000, "*"), ok: true, asked: 2},
		"earlier":                    {again: part(content, 70_000, 200_000, "200000"), ok: true, asked: 2},
		"earlier, no size":           {again: part(content, 70_000, 200_000, "*"), ok: true, asked: 2},
		"a part of it":               {again: inTurn(part(content, half, 190_000, "200000"), ranges), ok: true, asked: 3},
		"a part of it, no size":      {again: inTurn(part(content, half, 190_000, "*"), ranges), ok: true, asked: 3},
		"a few bytes of it":          {again: inTurn(part(content, half, half+10, "*"), ranges), ok: true, asked: 3},
		"byte by byte":               {again: onlyOneByte(content), asked: maxFailures},
		"later":                      {again: whenWhole(part(content, 150_000, 200_000, "200000")), ok: true, asked: 3},
		"before it":                  {again: whenWhole(part(content, 0, half, "*")), ok: true, asked: 3},
		"416":                        {again: whenWhole(answer(416, "", "Content-Range", "bytes */200000")), ok: true, asked: 3},
		"416 of another size":        {again: whenWhole(answer(416, "", "Content-Range", "bytes */199999")), asked: 2},
		"416 that says nothing":      {again: whenWhole(answer(416, "")), ok: true, asked: 3},
		"416 to everything":          {again: answer(416, ""), asked: 3},
		"no range given":             {again: whenWhole(answer(206, "")), ok: true, asked: 3},
		"no range given at all":      {again: answer(206, ""), asked: 3},
		"several parts":              {again: whenWhole(answer(206, "--x--", "Content-Type", "multipart/byteranges; boundary=x", "Content-Range", "bytes 100000-199999/200000")), ok: true, asked: 3},
		"another unit":               {again: whenWhole(answer(206, "", "Content-Range", "pages 100000-199999/200000")), ok: true, asked: 3},
		"another size":               {again: part(content, half, 200_000, "300000"), asked: 2},
		"more than there was":        {again: part(append(content[:len(content):len(content)], 1), half, 200_001, "*"), asked: 2},
		"a whole of another size":    {again: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content[:200]) }, asked: 2},
		"no such blob":               {again: answer(404, "", version...), asked: 2},
		"denied once":                {again: inTurn(answer(403, "", version...), ranges), ok: true, asked: 3, waits: maxPause},
		"denied":                     {again: answer(403, "", version...), asked: 1 + maxRefusals, waits: (maxRefusals - 1) * maxPause},
		"limited once":               {again: inTurn(limited("60"), ranges), ok: true, asked: 3, waits: time.Minute},
		"limited twice":              {again: inTurn(limited("60"), limited("50"), ranges), ok: true, asked: 4, waits: 110 * time.Second},
		"limited for a minute twice": {again: inTurn(limited("60"), limited("60"), ranges), asked: 3, waits: time.Minute},
		"limited, not told how long": {again: inTurn(answer(429, ""), ranges), ok: true, asked: 3, waits: time.Second},
		"limited for too long":       {again: limited("121"), asked: 2},
		"a bad gateway":              {again: inTurn(answer(502, ""), answer(503, ""), answer(504, ""), ranges), ok: true, asked: 5},
		"a page of a company filter": {again: inTurn(headed("Content-Type", "text/html", answer(200, "<html>")), ranges), ok: true, asked: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inBubble(t, flaky(content, test.again))
				begun := time.Now()
				raw, err := read(t, c, blobRef(t, oci.FromBytes(content)))
				if (err == nil) != test.ok || test.ok && !bytes.Equal(raw, content) {
					t.Errorf("%d bytes, %v; want ok %v", len(raw), err, test.ok)
				}
				if n := len(c.sent.all()) - 1; n != test.asked {
					t.Errorf("%d requests, want %d", n, test.asked)
				}
				if took := time.Since(begun); took < test.waits || took > test.waits+2*maxPause {
					t.Errorf("took %v, want %v", took, test.waits)
				}
			})
		})
	}
}

// onlyOneByte keeps to the range, and breaks it off for no reason.
func onlyOneByte(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
		first, err := strconv.Atoi(from)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		part(content, first, first+1, "*")(w, r)
	}
}

// A blob of unknown size ends where the upstream's body ends.
func TestBlobOfUnknownSize(t *testing.T) {
	t.Parallel()
	content := ocitest.Content(300_000, 6)
	for name, refused := range map[string][]string{
		"told by the refusal": {"Content-Range", "bytes */300000"},
		"not told":            nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, serve(t, openly(func(w http.ResponseWriter, r *http.Request) {
				var first int
				_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first) // without: 0
				switch {
				case r.Method == http.MethodHead:
					w.WriteHeader(http.StatusBadGateway)
				case r.Header.Get("Range") == "" && first == 0 && refused == nil:
					_ = http.NewResponseController(w).Flush()
					_, _ = w.Write(content)
				case first == len(content):
					answer(416, "", refused...)(w, r)
				default:
					w.Header().Set("Transfer-Encoding", "chunked")
					part(content, first, min(first+100_000, len(content)), "*")(w, r)
				}
			})).URL)
			wantBlob(t, c, oci.FromBytes(content), len(content))
			opened, err := c.Open(oci.WithPartHint(t.Context(), oci.Span{Begin: 150_000}), blobRef(t, oci.FromBytes(content)))
			check(t, err)
			defer func() { _ = opened.Close() }()
			body := oci.Unverified(opened.Body).(io.ReadSeeker)
			_, err = body.Seek(150_000, io.SeekStart)
			check(t, err)
			if raw, err := io.ReadAll(body); err != nil || !bytes.Equal(raw, content[150_000:]) {
				t.Errorf("%d bytes, %v", len(raw), err)
			}
		})
	}
}

// A part is at hand and the upstream hangs: who asks is told in the time that it
// takes without, and no second time at offset 0.
func TestPartHintAndSilentUpstream(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	noByte := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_ = http.NewResponseController(w).Flush()
		hang(w, r)
	}
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		asked  int
	}{
		"no answer":                       {hang, 1},
		"no byte":                         {noByte, 1},
		"no size either":                  {inTurn(headless, hang), 2},
		"a wrong range, and then nothing": {inTurn(answer(416, ""), hang), 2},
		"slow refusals":                   {slowRefusal, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := inBubble(t, openly(test.handle))
				begun := time.Now()
				opened, err := c.Open(oci.WithPartHint(t.Context(), oci.Span{Begin: 500}), blobRef(t, oci.FromBytes(nil)))
				took := time.Since(begun)
				if err == nil {
					check(t, opened.Close())
				}
				if took > responseTimeout {
					t.Errorf("%v after %v", err, took)
				}
				if n := len(c.sent.all()) - 1; n != test.asked {
					t.Errorf("%d requests, want %d", n, test.asked)
				}
			})
		})
	}
}

// headless sends a byte and tells no size.
func headless(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).Flush()
	_, _ = w.Write([]byte{1})
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// slowRefusal takes ten seconds to say that it knows no such range.
func slowRefusal(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(10 * time.Second):
	case <-r.Context().Done():
	}
	w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
}

// Without a length, the end of a shorter whole is not the end of the blob.
func TestEOFWhileSkippingIsAnError(t *testing.T) {
	t.Parallel()
	content := ocitest.Content(1000, 6)
	c := connect(t, serve(t, openly(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // so that no length is told
		_, _ = w.Write(content[:200])
	})).URL)
	b := c.newBody(t.Context(), blobRef(t, oci.FromBytes(content)), 500)
	check(t, b.connect())
	if _, err := b.read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("skipped past the end: %v", err)
	}
	check(t, b.Close())
}
