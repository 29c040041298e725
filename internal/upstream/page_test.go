package upstream

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// A page where a blob should be, of a login or of a proxy on the way, is refused
// before anybody is answered with its size.
func TestPageInPlaceOfBlob(t *testing.T) {
	t.Parallel()
	const page = "<html>log in</html>"
	c := connect(t, serve(t, openly(answer(200, page, "Content-Type", "text/html; charset=utf-8"))).URL)
	ref := blobRef(t, oci.FromBytes([]byte("blob")))
	_, err := c.Open(t.Context(), ref)
	c.wantCode(t, err, oci.Unavailable)
	_, err = c.Resolve(t.Context(), ref)
	c.wantCode(t, err, oci.Unavailable)
}

// A blob that is a page is one when its registry says so.
func TestBlobThatIsAPage(t *testing.T) {
	t.Parallel()
	const page = "<html>a report</html>"
	d := oci.FromBytes([]byte(page))
	c := connect(t, serve(t, openly(answer(200, page, "Content-Type", "text/html", "Docker-Content-Digest", d.String()))).URL)
	wantBlob(t, c, d, len(page))
}

// A page in the middle of a download is one more break of it.
func TestPageWhileResuming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := ocitest.Content(100_000, 1)
		c := inBubble(t, flaky(content, answer(200, "<html>", "Content-Type", "text/html")))
		raw, err := read(t, c, blobRef(t, oci.FromBytes(content)))
		c.wantCode(t, err, oci.Unavailable)
		if len(raw) >= len(content) {
			t.Errorf("%d bytes of %d", len(raw), len(content))
		}
	})
}

// A body that idles has no connection, and goes on where it was when it is read.
func TestIdleDisconnects(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	content := ocitest.Content(3<<20, 7)
	opened, err := connect(t, h.URL()).Open(t.Context(), blobRef(t, h.AddBlob(repo, content)))
	check(t, err)
	defer func() { _ = opened.Close() }()
	head := make([]byte, 1000)
	body := oci.Unverified(opened.Body)
	_, err = io.ReadFull(body, head)
	check(t, err)
	body.(oci.Idler).Idle()
	rest, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(append(head, rest...), content) {
		t.Errorf("%d bytes, %v", len(head)+len(rest), err)
	}
	if n := h.Counters(); n.CDNGETs != 2 || n.RangeGETs != 1 {
		t.Errorf("asked %d times, %d of them for a range", n.CDNGETs, n.RangeGETs)
	}
}
