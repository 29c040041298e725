package oci_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"mirrord/internal/oci"
)

func body(p []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(p)) }

// Intact content arrives whole, whatever the size of the reads.
func TestVerifyYieldsAll(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	for _, size := range []int{0, 1, 2, 3, 31, 32<<10 - 1, 32 << 10, 32<<10 + 1, 100_000} {
		p := content[:size]
		want := oci.Descriptor{Digest: oci.FromBytes(p), Size: int64(size)}
		for name, read := range map[string]func(io.Reader) io.Reader{
			"whole":       func(r io.Reader) io.Reader { return r },
			"one by one":  iotest.OneByteReader,
			"end at once": iotest.DataErrReader,
		} {
			got, err := io.ReadAll(read(oci.Verify(body(p), want)))
			if err != nil || !bytes.Equal(got, p) {
				t.Errorf("%d bytes, %s: %d bytes, %v", size, name, len(got), err)
			}
		}
		want.Size = oci.UnknownSize
		if got, err := io.ReadAll(oci.Verify(body(p), want)); err != nil || len(got) != size {
			t.Errorf("%d bytes of unknown size: %d, %v", size, len(got), err)
		}
	}
}

// The last byte of bad content is never returned.
func TestVerifyWithholds(t *testing.T) {
	right := []byte("the right content")
	want := oci.Descriptor{Digest: oci.FromBytes(right), Size: int64(len(right))}
	for name, test := range map[string]struct {
		content []byte
		broken  bool
		err     error
	}{
		"wrong byte": {[]byte("the wrong content"), false, oci.ErrCorrupt},
		"short":      {right[:10], false, io.ErrUnexpectedEOF},
		"empty":      {nil, false, io.ErrUnexpectedEOF},
		"long":       {append(right[:len(right):len(right)], 'x'), false, oci.ErrCorrupt},
		"broken":     {right, true, iotest.ErrTimeout},
	} {
		for _, buffer := range []int{1, 5, 100} {
			b := body(test.content)
			if test.broken {
				b = io.NopCloser(iotest.TimeoutReader(iotest.OneByteReader(b)))
			}
			got, err := io.ReadAll(smallReads{oci.Verify(b, want), buffer})
			if !errors.Is(err, test.err) {
				t.Errorf("%s, %d at a time: %v, want %v", name, buffer, err, test.err)
			}
			if len(got) >= len(right) && name != "long" {
				t.Errorf("%s, %d at a time: all %d bytes came", name, buffer, len(got))
			}
		}
	}
}

// smallReads reads n bytes at a time.
type smallReads struct {
	io.Reader
	n int
}

func (s smallReads) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), s.n)]) }

func TestVerifyWithoutSeek(t *testing.T) {
	v := oci.Verify(io.NopCloser(io.MultiReader()), oci.Descriptor{Digest: oci.FromBytes(nil)})
	if _, ok := v.(io.Seeker); ok {
		t.Error("a body that cannot seek says that it can")
	}
}

type seekable struct{ *bytes.Reader }

func (seekable) Close() error { return nil }

// Seeking to find the size does not end verification; reading elsewhere does.
func TestVerifySeek(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 10_000)
	want := oci.Descriptor{Digest: oci.FromBytes(content), Size: int64(len(content))}
	wrong := bytes.Clone(content)
	wrong[5] = 'x'
	v := oci.Verify(seekable{bytes.NewReader(wrong)}, want).(io.ReadSeeker)
	if size, err := v.Seek(0, io.SeekEnd); size != want.Size || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	if _, err := v.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(v); !errors.Is(err, oci.ErrCorrupt) || len(got) >= len(content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	v = oci.Verify(seekable{bytes.NewReader(content)}, want).(io.ReadSeeker)
	for _, offset := range []int64{50_000, 10, 99_990} {
		if _, err := v.Seek(offset, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 10)
		if _, err := io.ReadFull(v, got); err != nil || !bytes.Equal(got, content[offset:offset+10]) {
			t.Errorf("at %d: %q, %v", offset, got, err)
		}
	}
}

func TestCloseCallsDoneOnce(t *testing.T) {
	var calls int
	c := &oci.Content{Body: body(nil), Done: func() { calls++ }}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 1 {
		t.Errorf("called %d times", calls)
	}
}
