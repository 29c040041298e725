package upstream

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// wantOpen checks that an error of a Registry is the refusal of a breaker, with
// nothing around it.
func wantOpen(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, errOpen) || oci.CodeOf(err) != oci.Unavailable || !strings.HasPrefix(err.Error(), "docker.io: host ") {
		t.Errorf("error %v, want the refusal of a breaker", err)
	}
}

// A storage that fails is not asked any more, and the registry still is.
func TestStorageFails(t *testing.T) {
	h := startHub(t, hubsim.Options{})
	var blobs []oci.Digest
	for i := range hostFailures {
		blobs = append(blobs, h.AddBlob(repo, ocitest.Content(100, byte(i))))
	}
	manifest := fill(h, repo, 1)[0]
	h.Inject(hubsim.Fault{Op: "cdn", Status: 503})
	synctest.Test(t, func(t *testing.T) {
		u, err := url.Parse(h.URL())
		check(t, err)
		c := connectBy(t, u, newBreakers(h.Transport()))
		for _, blob := range blobs { // of two tries each, but for the last one
			_, err = read(t, c, blobRef(t, blob))
			c.wantCode(t, err, oci.Unavailable)
			<-time.After(between)
		}
		_, err = read(t, c, blobRef(t, blobs[0]))
		wantOpen(t, err)
		check(t, pull(t, c, repo, manifest))
		if n := h.Counters(); n.CDNGETs != 2*hostFailures-1 || n.ManifestGETs != 1 {
			t.Errorf("the storage was asked %d times; %d manifests", n.CDNGETs, n.ManifestGETs)
		}
	})
}

// A registry that accepts connections and never answers: the first request waits,
// later ones fail at once.
func TestBreakerOpensForASilentUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var silent atomic.Bool
		u, transport := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
			if silent.Load() {
				<-r.Context().Done()
			} else if r.URL.Path != "/v2/" {
				answer(200, "{}", "Content-Type", imageType)(w, r)
			}
		})
		b := newBreakers(transport)
		defer b.run(t)()
		c := connectBy(t, u, b)
		_, err := read(t, c, manifestRef(t, "v1"))
		check(t, err)

		silent.Store(true)
		var waiting sync.WaitGroup
		for i := range hostFailures {
			waiting.Go(func() {
				if _, err := c.Resolve(t.Context(), manifestRef(t, "v"+strconv.Itoa(i))); err == nil || errors.Is(err, errOpen) {
					t.Errorf("error %v, want the transport's", err)
				}
			})
		}
		waiting.Wait()
		begun := time.Now()
		_, err = c.Open(t.Context(), blobRef(t, oci.FromBytes(nil)))
		wantOpen(t, err)
		_, err = c.Resolve(t.Context(), manifestRef(t, "v1"))
		wantOpen(t, err)
		if took := time.Since(begun); took != 0 {
			t.Errorf("took %v", took)
		}

		silent.Store(false)
		<-time.After(probeTime + 2*probeEvery)
		_, err = read(t, c, manifestRef(t, "v1"))
		check(t, err)
	})
}

// A download in flight when its upstream fails is resumed when the upstream is
// back within outageTime, and sends few requests meanwhile.
func TestDownloadOutlivesAnOutage(t *testing.T) {
	content := ocitest.Content(100_000, 1)
	for name, test := range map[string]struct {
		outage time.Duration
		ok     bool
	}{
		"a moment":    {time.Second, true},
		"half of it":  {outageTime / 2, true},
		"twice of it": {2 * outageTime, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := time.Now().Add(test.outage)
				var failed atomic.Int32
				whole := flaky(content, func(w http.ResponseWriter, r *http.Request) {
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
				})
				var begun atomic.Bool
				u, transport := inMemory(t, func(w http.ResponseWriter, r *http.Request) {
					blob := r.URL.Path != "/v2/"
					if begun.Load() && time.Now().Before(back) {
						if blob {
							failed.Add(1)
						}
						w.WriteHeader(http.StatusBadGateway)
						return
					}
					if blob {
						begun.Store(true)
					}
					whole(w, r)
				})
				b := newBreakers(transport)
				defer b.run(t)()
				c := connectBy(t, u, b)
				resumed := 0
				c.opts.Resumed = func() { resumed++ }
				raw, err := read(t, c, blobRef(t, oci.FromBytes(content)))
				took := time.Since(back)
				if test.ok && (err != nil || !bytes.Equal(raw, content) || took > probeEvery+2*maxPause) {
					t.Errorf("%d bytes, %v, %v after the outage", len(raw), err, took)
				}
				if took += test.outage; !test.ok && (err == nil || took < outageTime || took > outageTime+2*maxPause) {
					t.Errorf("%v after %v", err, took)
				}
				if n := failed.Load(); n > 30 || resumed > 31 { // it pauses for five seconds each time in the end
					t.Errorf("%d failed requests, %d reported", n, resumed)
				}
			})
		})
	}
}

// The time that a download waits begins with its last byte.
func TestDownloadWaitsFromItsLastByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := &oci.Error{Code: oci.Unavailable, Err: errOpen}
		b := connect(t, "http://127.0.0.1:1").newBody(t.Context(), blobRef(t, oci.FromBytes(nil)), 0)
		check(t, b.recover(refused))
		b.advance(1)
		<-time.After(2 * outageTime)
		check(t, b.recover(refused))
		<-time.After(outageTime)
		if err := b.recover(refused); !errors.Is(err, errOpen) {
			t.Errorf("error %v after %v", err, outageTime)
		}
	})
}

// An outage neither disables a login nor counts as a limit.
func TestOutageOfAPool(t *testing.T) {
	h := startHub(t, hubsim.Options{Users: users, Limit: 10})
	digests := fill(h, repo, 1)
	var others [15]string // no token is known for them
	var other [15]oci.Digest
	for i := range others {
		others[i] = "library/other" + strconv.Itoa(i)
		other[i] = fill(h, others[i], 1)[0]
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBreakers(h.Transport())
		defer b.run(t)()
		p := poolBy(t, h, b, "small", "large", "anonymous")
		check(t, pull(t, p, repo, digests[0]))
		mend := h.Inject(hubsim.Fault{Status: http.StatusServiceUnavailable})
		h.Reset()
		var err error
		for i := range others {
			<-time.After(between)
			if err = pull(t, p, others[i], other[i]); oci.CodeOf(err) != oci.Unavailable {
				t.Errorf("error %v", err)
			}
		}
		wantOpen(t, err)
		if n := h.Counters(); n.Requests != hostFailures {
			t.Errorf("%d requests, want %d", n.Requests, hostFailures)
		}
		mend()
		<-time.After(2 * probeEvery)
		check(t, pull(t, p, others[0], other[0]))
		p.wantEvents(t)
		for _, known := range p.ledger.Budgets() {
			if !known.PullsAt.IsZero() || !known.RequestsAt.IsZero() || !known.LimitedAt.IsZero() {
				t.Errorf("%s is limited: %+v", known.Credential, known)
			}
		}
	})
}
