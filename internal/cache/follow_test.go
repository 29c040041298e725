package cache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// paused is an upstream's body that stops at an offset until it is released.
type paused struct {
	io.ReadSeeker
	at     int64
	goOn   chan struct{}
	offset int64
	fail   error // instead of going on
}

func (p *paused) Read(b []byte) (int, error) {
	if p.offset >= p.at {
		<-p.goOn
		if p.fail != nil {
			return 0, p.fail
		}
	} else {
		b = b[:min(int64(len(b)), p.at-p.offset)]
	}
	n, err := p.ReadSeeker.Read(b)
	p.offset += int64(n)
	return n, err
}

// TestOpenInFlight finds what somebody gets who follows a fill that others have started:
// what has arrived at once, all but the last byte before it is verified, and how it ends. It
// starts nothing.
func TestOpenInFlight(t *testing.T) {
	all := func(oci.Ref) bool { return true }
	for name, test := range map[string]struct {
		at    int64
		fail  error
		wrong bool
	}{
		"whole":   {at: 30_000},
		"broken":  {at: 30_000, fail: oci.Errorf(oci.Denied, "denied")},
		"corrupt": {at: 99_999, wrong: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				refs, contents := blobs(t, fake, 1, 100_000)
				goOn := make(chan struct{})
				sent := bytes.Clone(contents[0])
				if test.wrong {
					sent[5] ^= 1
				}
				fake.Wrap(func(oci.Ref, io.ReadSeeker) io.Reader {
					return &paused{ReadSeeker: bytes.NewReader(sent), at: test.at, goOn: goOn, fail: test.fail}
				})
				f := start(t, fake)
				d := refs[0].Digest()
				if _, err := f.Cache.OpenInFlight(t.Context(), d, all); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("before: %v", err)
				}
				own, err := f.Cache.Open(t.Context(), refs[0])
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Cache.OpenInFlight(t.Context(), d, func(oci.Ref) bool { return false }); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("what is not allowed: %v", err)
				}
				content, err := f.Cache.OpenInFlight(t.Context(), d, all)
				if err != nil {
					t.Fatal(err)
				}
				if err := own.Close(); err != nil { // it goes on for who follows
					t.Fatal(err)
				}
				head := make([]byte, test.at)
				if _, err := io.ReadFull(content.Body, head); err != nil || !bytes.Equal(head, sent[:test.at]) || content.Size != 100_000 {
					t.Errorf("of %d bytes: %v", content.Size, err)
				}
				close(goOn)
				rest, err := io.ReadAll(content.Body)
				switch {
				case test.fail != nil || test.wrong:
					if err == nil || len(head)+len(rest) >= len(sent) {
						t.Errorf("%d bytes more, %v", len(rest), err)
					}
				case err != nil || !bytes.Equal(rest, sent[test.at:]):
					t.Errorf("%d bytes more, %v", len(rest), err)
				}
				if err := content.Close(); err != nil {
					t.Error(err)
				}
				if n := fake.Calls("Open", d.String()); n != 1 {
					t.Errorf("the upstream was asked %d times", n)
				}
			})
		})
	}
}

// TestOpenInFlightWaits finds that who follows waits for the upstream's response, as long as
// its context lets it.
func TestOpenInFlightWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs, _ := blobs(t, fake, 1, 100_000)
		goOn := make(chan struct{})
		fake.Fail(func(ocitest.Call) error { <-goOn; return nil })
		f := start(t, fake)
		go func() {
			if content, err := f.Cache.Open(context.Background(), refs[0]); err == nil {
				_ = content.Close()
			}
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := f.Cache.OpenInFlight(ctx, refs[0].Digest(), func(oci.Ref) bool { return true }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(goOn)
		f.Settled(t)
		content, err := f.Cache.OpenStored(t.Context(), refs[0].Digest())
		if err != nil {
			t.Fatal(err)
		}
		if err := content.Close(); err != nil {
			t.Error(err)
		}
	})
}
