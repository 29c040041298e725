package upstream

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestReopen(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	content := ocitest.Content(100_000, 7)
	opened, err := connect(t, h.URL()).Open(t.Context(), blobRef(t, h.AddBlob(repo, content)))
	check(t, err)
	defer func() { _ = opened.Close() }()
	other, err := oci.Unverified(opened.Body).(oci.Reopener).Reopen(t.Context(), oci.Span{Begin: 98_000, End: 99_000})
	check(t, err)
	raw, err := io.ReadAll(other)
	if err != nil || !bytes.Equal(raw, content[98_000:99_000]) {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	check(t, other.Close())
	if n := h.Counters(); n.CDNBytes > int64(len(content))+1000 {
		t.Errorf("%d bytes for a blob of %d and a part of 1000", n.CDNBytes, len(content))
	}
	if raw, err = io.ReadAll(opened.Body); err != nil || !bytes.Equal(raw, content) {
		t.Errorf("the first reader: %d bytes, %v", len(raw), err)
	}
}

// What is at hand already is not fetched again: the first request asks for the
// rest.
func TestPartHint(t *testing.T) {
	t.Parallel()
	content := ocitest.Content(100_000, 8)
	for name, test := range map[string]struct {
		offset              int64
		whole, parts, bytes int
	}{
		"rest":           {offset: 60_000, parts: 1, bytes: 40_000},
		"nothing at all": {offset: 0, whole: 1, bytes: 100_000},
		"refused":        {offset: 200_000, whole: 1, bytes: 100_000},
		"all at hand":    {offset: 100_000, parts: 1, bytes: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := startHub(t, hubsim.Options{})
			d := h.AddBlob(repo, content)
			opened, err := connect(t, h.URL()).Open(oci.WithPartHint(t.Context(), oci.Span{Begin: test.offset}), blobRef(t, d))
			check(t, err)
			defer func() { _ = opened.Close() }()
			if opened.Size != 100_000 {
				t.Errorf("size %d", opened.Size)
			}
			from := test.offset
			if from > opened.Size {
				from = 0
			}
			body := oci.Unverified(opened.Body).(io.ReadSeeker)
			_, err = body.Seek(from, io.SeekStart)
			check(t, err)
			raw, err := io.ReadAll(body)
			if err != nil || !bytes.Equal(raw, content[from:]) {
				t.Errorf("%d bytes, %v", len(raw), err)
			}
			n := h.Counters()
			if n.BlobGETsByDigest[d.String()] != test.whole || n.RangeGETs < test.parts || int(n.CDNBytes) > test.bytes+100 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// One who does not seek, in spite of the hint, gets all of it, verified.
func TestPartHintIsOnlyAHint(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	content := ocitest.Content(200_000, 9)
	ref := blobRef(t, h.AddBlob(repo, content))
	for _, part := range []oci.Span{{Begin: 500}, {End: 2}, {Begin: 500, End: 600}, {Begin: 500, End: 150_000}, {Begin: 199_999, End: 300_000}, {Begin: 200_000, End: 300_000}} {
		opened, err := connect(t, h.URL()).Open(oci.WithPartHint(t.Context(), part), ref)
		check(t, err)
		if raw, err := io.ReadAll(opened.Body); err != nil || !bytes.Equal(raw, content) {
			t.Errorf("%+v: %d bytes, %v", part, len(raw), err)
		}
		check(t, opened.Close())
	}
}

// What a reader says he stops after is asked for with its end, and what lies
// close together in one request; who reads on gets what follows.
func TestReadParts(t *testing.T) {
	t.Parallel()
	h := startHub(t, hubsim.Options{})
	content := ocitest.Content(4<<20, 10)
	parts := []oci.Span{{Begin: 1 << 20, End: 1<<20 + 1000}, {Begin: 1<<20 + 40_000, End: 1<<20 + 50_000}, {Begin: 3 << 20, End: 3<<20 + 100_000}, {Begin: 0, End: 10}}
	opened, err := connect(t, h.URL()).Open(oci.WithPartHint(t.Context(), parts[0]), blobRef(t, h.AddBlob(repo, content)))
	check(t, err)
	defer func() { _ = opened.Close() }()
	opened.Body.(oci.PartReader).ReadParts(parts)
	body := opened.Body.(io.ReadSeeker)
	read := func(begin, end int64) {
		t.Helper()
		_, err := body.Seek(begin, io.SeekStart)
		got := make([]byte, end-begin)
		_, failed := io.ReadFull(body, got)
		if err := errors.Join(err, failed); err != nil || !bytes.Equal(got, content[begin:end]) {
			t.Errorf("from %d to %d: %v", begin, end, err)
		}
	}
	for _, part := range parts {
		read(part.Begin, part.End)
	}
	if n := h.Counters(); n.CDNBytes > 160_000 || n.CDNGETs > 4 {
		t.Errorf("%d bytes in %d requests", n.CDNBytes, n.CDNGETs)
	}
	read(3<<20, 3<<20+200_000)
}
