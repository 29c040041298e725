package cache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
	"mirrord/test/cachetest"
)

// split is an upstream that behaves differently for each repository.
type split struct {
	oci.Registry
	open  func(ref oci.Ref) error                         // may be nil
	body  func(ref oci.Ref, body io.ReadSeeker) io.Reader // may be nil
	opens atomic.Int32
}

func (s *split) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	s.opens.Add(1)
	if s.open != nil {
		if err := s.open(ref); err != nil {
			return nil, err
		}
	}
	content, err := s.Registry.Open(ctx, ref)
	if err == nil && s.body != nil {
		body := s.body(ref, oci.Unverified(content.Body).(io.ReadSeeker)).(io.ReadSeeker)
		content.Body = oci.Verify(seeking{body}, content.Descriptor)
	}
	return content, err
}

type seeking struct{ io.ReadSeeker }

func (seeking) Close() error { return nil }

// shared adds one blob to n repositories and returns its reference in each.
func shared(t *testing.T, fake *ocitest.Fake, blob []byte, n int) (refs []oci.Ref) {
	t.Helper()
	for i := range n {
		repository := fmt.Sprintf("team/app%d", i)
		ref, err := oci.ParseBlob(ocitest.Upstream, repository, fake.AddBlob(repository, blob).String())
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	return refs
}

// The same holds for a manifest, which costs one pull for each repository.
func TestFailureOfAnotherRepositorysManifest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		var refs []oci.Ref
		raw := []byte(`{"schemaVersion":2}`)
		for _, repository := range []string{"team/app0", "team/app1"} {
			d := fake.AddManifest(repository, "", ocispec.MediaTypeImageManifest, raw)
			ref, err := oci.ParseManifest(ocitest.Upstream, repository, d.String())
			if err != nil {
				t.Fatal(err)
			}
			refs = append(refs, ref)
		}
		next := &split{Registry: fake, open: func(ref oci.Ref) error {
			<-time.After(time.Second)
			if ref == refs[0] {
				return cachetest.ErrDown
			}
			return nil
		}}
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = next })
		var clients sync.WaitGroup
		clients.Go(func() {
			if _, _, err := ocitest.Read(t.Context(), f, refs[0]); !oci.Temporary(err) {
				t.Errorf("%v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			clients.Go(func() { f.MustRead(t, refs[1], raw, oci.Fill) })
		}
		clients.Wait()
		if n := next.opens.Load(); n != 2 {
			t.Errorf("%d pulls for two repositories", n)
		}
	})
}

// A client that leaves while another repository's request fails does not read that
// flight's error while it is written.
func TestJoinedClientLeavesWhileTheFillFails(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			fake := new(ocitest.Fake)
			refs := shared(t, fake, ocitest.Content(1000, 1), 2)
			fake.Fail(func(ocitest.Call) error { <-time.After(time.Second); return cachetest.ErrDown })
			f := start(t, fake)
			var clients sync.WaitGroup
			clients.Go(func() { _, _ = f.Open(t.Context(), refs[0]) })
			synctest.Wait()
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			defer leave()
			clients.Go(func() {
				if _, err := f.Open(ctx, refs[1]); err == nil {
					t.Error("a client that has left gets a response")
				}
			})
			clients.Wait()
		})
	}
}

// The upstream's response for one repository does not decide for another that waits for
// the same digest: that one sends its own request before it fails.
func TestFailureOfAnotherRepository(t *testing.T) {
	for _, failure := range []error{
		oci.Errorf(oci.Unavailable, "the token service hangs up"),
		&oci.LimitError{Kind: oci.LimitRequests, Upstream: ocitest.Upstream},
		oci.Errorf(oci.Denied, "no"),
	} {
		t.Run(string(oci.CodeOf(failure)), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				blob := ocitest.Content(1000, 1)
				refs := shared(t, fake, blob, 2)
				next := &split{Registry: fake, open: func(ref oci.Ref) error {
					<-time.After(time.Second)
					if ref == refs[0] {
						return failure
					}
					return nil
				}}
				f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = next })
				var clients sync.WaitGroup
				for range 10 {
					clients.Go(func() {
						if _, _, err := ocitest.Read(t.Context(), f, refs[0]); oci.CodeOf(err) != oci.CodeOf(failure) {
							t.Errorf("%v, want %v", err, failure)
						}
					})
				}
				synctest.Wait() // this client has started the flight
				for range 10 {
					clients.Go(func() { f.MustRead(t, refs[1], blob, oci.Fill) })
				}
				clients.Wait()
				if n := next.opens.Load(); n != 2 {
					t.Errorf("%d requests upstream for two repositories", n)
				}
			})
		})
	}
}

// Many repositories that all fail cause one request each.
func TestEachRepositoryAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs := shared(t, fake, ocitest.Content(1000, 1), 10)
		next := &split{Registry: fake, open: func(oci.Ref) error {
			<-time.After(100 * time.Millisecond)
			return cachetest.ErrDown
		}}
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = next })
		var clients sync.WaitGroup
		for i := range 100 {
			clients.Go(func() {
				if _, _, err := ocitest.Read(t.Context(), f, refs[i%len(refs)]); !oci.Temporary(err) {
					t.Errorf("%v", err)
				}
			})
		}
		clients.Wait()
		if n := int(next.opens.Load()); n != len(refs) {
			t.Errorf("%d requests upstream for %d repositories", n, len(refs))
		}
	})
}

// An upstream that hangs probably does so for all repositories: a client that has waited
// long for another's request does not wait as long again.
func TestHangingUpstreamIsNotWaitedForTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		refs := shared(t, fake, ocitest.Content(1000, 1), 2)
		next := &split{Registry: fake, open: func(oci.Ref) error {
			<-time.After(15 * time.Second)
			return cachetest.ErrDown
		}}
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = next })
		begun := time.Now()
		var clients sync.WaitGroup
		for _, ref := range refs {
			clients.Go(func() {
				if _, _, err := ocitest.Read(t.Context(), f, ref); !oci.Temporary(err) {
					t.Errorf("%v", err)
				}
			})
		}
		clients.Wait()
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("failed after %s", took)
		}
	})
}

// A download that fails in the middle for one repository is resumed for another that
// has joined it.
func TestOtherRepositoryResumesAFailedFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(4*mebibyte, 1)
		refs := shared(t, fake, blob, 2)
		var moved atomic.Int64
		next := &split{Registry: fake, body: func(ref oci.Ref, body io.ReadSeeker) io.Reader {
			if ref == refs[0] {
				body = &broken{ReadSeeker: body, left: 2 * mebibyte, from: func(int64) {}}
			}
			return metered{cachetest.Slow(body, mebibyte), &moved}
		}}
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = next })
		var clients sync.WaitGroup
		clients.Go(func() {
			if got, _, err := ocitest.Read(t.Context(), f, refs[0]); err == nil || len(got) != 2*mebibyte {
				t.Errorf("the repository that fails: %d bytes, %v", len(got), err)
			}
		})
		synctest.Wait()
		for range 5 {
			clients.Go(func() {
				if got, err := tail(t.Context(), f, refs[1], 100); err != nil || !bytes.Equal(got, blob[100:]) {
					t.Errorf("the other: %d bytes, %v", len(got), err)
				}
			})
		}
		clients.Wait()
		if n := moved.Load(); n > 4*mebibyte+cachetest.Piece {
			t.Errorf("%d bytes for a blob of %d", n, 4*mebibyte)
		}
	})
}

// A corrupt blob is not fetched again for clients that have read its beginning: no other
// download could continue from there.
func TestWrongBlobIsWrongForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		blob := ocitest.Content(mebibyte, 1)
		refs := shared(t, fake, blob, 2)
		wrong := bytes.Clone(blob)
		wrong[100] ^= 1
		next := &split{Registry: fake, body: func(oci.Ref, io.ReadSeeker) io.Reader {
			return cachetest.Slow(bytes.NewReader(wrong), mebibyte)
		}}
		f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = next })
		var clients sync.WaitGroup
		for _, ref := range refs {
			clients.Go(func() {
				if got, _, err := ocitest.Read(t.Context(), f, ref); err == nil || len(got) >= len(blob) {
					t.Errorf("%d bytes of a wrong blob, %v", len(got), err)
				}
			})
		}
		clients.Wait()
		if n := next.opens.Load(); n != 1 {
			t.Errorf("%d requests upstream", n)
		}
	})
}

// A client that has read bytes ahead of a fill that fails for another repository
// continues with its own fill, unless those bytes turn out to be wrong.
func TestPassResumesAFailedFill(t *testing.T) {
	const length = 100_000
	for _, wrong := range []bool{false, true} {
		t.Run(fmt.Sprint("wrong ", wrong), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := new(ocitest.Fake)
				blob := ocitest.Content(4*mebibyte, 1)
				refs := shared(t, fake, blob, 2)
				var opens atomic.Int32
				next := &split{Registry: fake, body: func(ref oci.Ref, body io.ReadSeeker) io.Reader {
					switch n := opens.Add(1); {
					case n == 1:
						body = &broken{ReadSeeker: body, left: 2 * mebibyte, from: func(int64) {}}
					case n == 2 && wrong:
						body = &spoilt{ReadSeeker: body, at: int64(len(blob) - length/2)}
					}
					return cachetest.Slow(body, mebibyte)
				}}
				f := start(t, fake, func(o *cachetest.Options) { o.Cache.Next = next })
				var other sync.WaitGroup
				other.Go(func() { _, _, _ = ocitest.Read(t.Context(), f, refs[0]) })
				synctest.Wait()
				got, err := tail(t.Context(), f, refs[1], int64(len(blob)-length))
				if wrong && (len(got) == length || !errors.Is(err, oci.ErrCorrupt)) {
					t.Errorf("with wrong bytes: %d bytes, %v", len(got), err)
				}
				if !wrong && (err != nil || !bytes.Equal(got, blob[len(blob)-length:])) {
					t.Errorf("%d bytes of %d, %v", len(got), length, err)
				}
				other.Wait()
			})
		})
	}
}
