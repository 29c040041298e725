package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/fleet"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

// queue is a Queue that outlives Uploads.
type queue struct {
	removing func(ref oci.Ref) // is called before; may be nil

	mu   sync.Mutex // guards refs
	refs map[oci.Ref]bool
}

func (q *queue) Uploads() iter.Seq2[oci.Ref, error] {
	return func(yield func(oci.Ref, error) bool) {
		for ref := range q.all() {
			if !yield(ref, nil) {
				return
			}
		}
	}
}

func (q *queue) all() map[oci.Ref]bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.refs)
}

func (q *queue) PutUpload(ref oci.Ref) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refs[ref] = true
	return nil
}

func (q *queue) RemoveUpload(ref oci.Ref) error {
	if q.removing != nil {
		q.removing(ref)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.refs, ref)
	return nil
}

// mirror is what Uploads needs of one.
type mirror struct {
	*testing.T
	memory  *buckettest.Memory
	queue   *queue
	cached  map[oci.Digest][]byte
	private bool
	unknown error // why it cannot be said whether it is private

	registry *fleet.Registry
	refused  []error
}

func newMirror(t *testing.T) *mirror {
	return &mirror{T: t, memory: buckettest.NewMemory(), queue: &queue{refs: make(map[oci.Ref]bool)}, cached: make(map[oci.Digest][]byte)}
}

// cache caches content and returns what names it.
func (m *mirror) cache(content []byte) oci.Ref {
	ref := ocitest.BlobRef(m.T, oci.FromBytes(content))
	m.cached[ref.Digest()] = content
	return ref
}

// run runs uploads until nothing happens any more or for a time, and calls work before.
func (m *mirror) run(d time.Duration, work func(u *fleet.Uploads)) {
	m.Helper()
	if m.registry == nil {
		hooks := fleet.Hooks{Refused: func(_ oci.Ref, err error) { m.refused = append(m.refused, err) }}
		m.registry = fleet.New(fleet.Options{Next: new(ocitest.Fake), Bucket: guard.New(m.memory, guard.Hooks{}), Hooks: hooks})
	}
	u := fleet.NewUploads(fleet.UploadOptions{
		Registry: m.registry, Queue: m.queue,
		Open: func(_ context.Context, ref oci.Ref) (*oci.Content, error) {
			content, ok := m.cached[ref.Digest()]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return &oci.Content{Result: oci.Result{Descriptor: oci.Descriptor{Size: int64(len(content))}}, Body: body{bytes.NewReader(content)}}, nil
		},
		Public: func(context.Context, oci.Ref) (bool, error) { return !m.private, m.unknown },
	})
	ctx, cancel := context.WithCancel(m.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := u.Run(ctx); err != nil {
			m.Error(err)
		}
	})
	if work != nil {
		work(u)
	}
	synctest.Wait()
	time.Sleep(d)
	synctest.Wait()
	if waiting, want := u.Waiting(), len(m.queue.all()); waiting != want {
		m.Errorf("%d uploads wait, the queue has %d", waiting, want)
	}
	cancel()
	running.Wait()
}

type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

// want wants content in the bucket, or none for nil.
func (m *mirror) want(ref oci.Ref, content []byte) {
	m.Helper()
	o, err := m.memory.Get(m.Context(), key(ref.Digest()), 0, "")
	if content == nil {
		if !errors.Is(err, bucket.ErrAbsent) {
			m.Errorf("%s is in the bucket: %v", ref, err)
		}
		return
	}
	if err != nil {
		m.Errorf("%s: %v", ref, err)
		return
	}
	if got, err := io.ReadAll(o.Body); err != nil || !bytes.Equal(got, content) {
		m.Errorf("%s: %d bytes, %v", ref, len(got), err)
	}
}

// wantWaiting wants so many in the queue.
func (m *mirror) wantWaiting(n int) {
	m.Helper()
	if all := m.queue.all(); len(all) != n {
		m.Errorf("waiting: %v, want %d", all, n)
	}
}

func TestUploads(t *testing.T) {
	for name, test := range map[string]func(m *mirror){
		"uploads": func(m *mirror) {
			var refs []oci.Ref
			for i := range 20 {
				refs = append(refs, m.cache(ocitest.Content(1000, byte(i))))
			}
			m.run(0, func(u *fleet.Uploads) {
				for _, ref := range refs {
					u.Add(ref)
					u.Add(ref) // twice is once
				}
			})
			m.wantWaiting(0)
			for _, ref := range refs {
				m.want(ref, m.cached[ref.Digest()])
			}
			if n := m.memory.Counts()[buckettest.Upload]; n != len(refs) {
				m.Errorf("%d uploads of %d blobs", n, len(refs))
			}
		},
		"not for everybody": func(m *mirror) {
			m.private = true
			ref := m.cache(ocitest.Content(1000, 1))
			m.run(time.Hour, func(u *fleet.Uploads) { u.Add(ref) })
			m.want(ref, nil)
			m.wantWaiting(0)
		},
		"perhaps for everybody": func(m *mirror) {
			m.unknown = errors.New("the upstream is down")
			ref := m.cache(ocitest.Content(1000, 1))
			m.run(time.Minute, func(u *fleet.Uploads) { u.Add(ref) })
			m.want(ref, nil)
			m.wantWaiting(1)
			m.unknown = nil
			m.run(0, nil)
			m.want(ref, m.cached[ref.Digest()])
		},
		"evicted meanwhile": func(m *mirror) {
			ref := ocitest.BlobRef(m.T, oci.FromBytes(ocitest.Content(1000, 1)))
			m.run(0, func(u *fleet.Uploads) { u.Add(ref) })
			m.want(ref, nil)
			m.wantWaiting(0)
		},
		"damaged on the disk": func(m *mirror) {
			ref := m.cache(ocitest.Content(1000, 1))
			m.cached[ref.Digest()] = ocitest.Content(1000, 2)
			m.run(0, func(u *fleet.Uploads) { u.Add(ref) })
			m.want(ref, nil)
			m.wantWaiting(0)
			if len(m.refused) != 1 || !errors.Is(m.refused[0], oci.ErrCorrupt) {
				m.Errorf("refused: %v", m.refused)
			}
		},
		"added again while it is forgotten": func(m *mirror) {
			ref := m.cache(ocitest.Content(1000, 1))
			m.run(0, func(u *fleet.Uploads) {
				var once sync.Once
				m.queue.removing = func(ref oci.Ref) { once.Do(func() { u.Add(ref) }) }
				u.Add(ref)
			})
			m.wantWaiting(0)
			if n := m.memory.Counts()[buckettest.Upload]; n != 1 {
				m.Errorf("%d uploads; the queue does not know of the second", n)
			}
		},
		"another was faster": func(m *mirror) {
			ref := m.cache(ocitest.Content(1000, 1))
			put(m.T, m.memory, ref.Digest(), m.cached[ref.Digest()])
			m.run(0, func(u *fleet.Uploads) { u.Add(ref) })
			m.wantWaiting(0)
		},
		"down, across a restart": func(m *mirror) {
			m.memory.Faults = func(buckettest.Op, string) buckettest.Fault { return buckettest.Fault{Err: bucket.ErrSlow} }
			ref := m.cache(ocitest.Content(1000, 1))
			m.run(time.Minute, func(u *fleet.Uploads) { u.Add(ref) })
			m.wantWaiting(1)
			m.memory.Faults = nil
			m.want(ref, nil)
			m.registry = nil // the next process
			m.run(0, nil)
			m.want(ref, m.cached[ref.Digest()])
		},
		"down for an hour": func(m *mirror) {
			begun := time.Now()
			m.memory.Faults = func(buckettest.Op, string) buckettest.Fault {
				if time.Since(begun) < time.Hour {
					return buckettest.Fault{Err: bucket.ErrSlow}
				}
				return buckettest.Fault{}
			}
			ref := m.cache(ocitest.Content(1000, 1))
			m.run(time.Hour+2*time.Minute, func(u *fleet.Uploads) { u.Add(ref) })
			m.want(ref, m.cached[ref.Digest()])
			if n := m.memory.Counts()[buckettest.Upload]; n > 80 {
				m.Errorf("%d tries in an hour", n)
			}
		},
		"wrong bytes are replaced": func(m *mirror) {
			content := ocitest.Content(1000, 1)
			ref := m.cache(content)
			put(m.T, m.memory, ref.Digest(), ocitest.Content(1000, 2))
			m.run(0, nil) // makes the registry
			if err := fill(m.T, m.registry, ref); !errors.Is(err, oci.ErrCorrupt) {
				m.Errorf("fill: %v", err)
			}
			m.run(0, func(u *fleet.Uploads) { u.Add(ref) })
			m.want(ref, content)
			wantRead(m.T, m.registry, ref, content, oci.Shared)
		},
		"an empty object is replaced": func(m *mirror) {
			content := ocitest.Content(1000, 1)
			ref := m.cache(content)
			put(m.T, m.memory, ref.Digest(), nil)
			m.run(0, nil)
			if err := fill(m.T, m.registry, ref); !oci.IsUnknown(err) { // the upstream was asked, and has nothing
				m.Errorf("fill: %v", err)
			}
			m.run(0, func(u *fleet.Uploads) { u.Add(ref) })
			m.want(ref, content)
		},
		"right bytes are not replaced": func(m *mirror) {
			content := ocitest.Content(1000, 1)
			ref := m.cache(content)
			put(m.T, m.memory, ref.Digest(), ocitest.Content(1000, 2))
			m.run(0, nil)
			if err := fill(m.T, m.registry, ref); !errors.Is(err, oci.ErrCorrupt) {
				m.Errorf("fill: %v", err)
			}
			put(m.T, m.memory, ref.Digest(), content) // by another mirror, which has found the same
			m.run(0, func(u *fleet.Uploads) { u.Add(ref) })
			wantRead(m.T, m.registry, ref, content, oci.Shared)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(newMirror(t)) })
		})
	}
}

// TestManifestsDoNotWait finds that a manifest is uploaded at once while blobs hold up each
// other, also those that the queue has at the start.
func TestManifestsDoNotWait(t *testing.T) {
	for name, before := range map[string]bool{"added": false, "at the start": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMirror(t)
				var refs []oci.Ref
				for i := range 10 {
					refs = append(refs, m.cache(ocitest.Content(1000, byte(i))))
				}
				manifest := []byte(`{"schemaVersion":2}`)
				ref := ocitest.ManifestRef(t, oci.FromBytes(manifest).String())
				m.cached[ref.Digest()] = manifest
				refs = append(refs, ref)
				m.memory.Faults = func(op buckettest.Op, k string) buckettest.Fault {
					if op == buckettest.Upload && k != key(ref.Digest()) {
						return buckettest.Fault{Before: 50 * time.Second}
					}
					return buckettest.Fault{}
				}
				add := func(u *fleet.Uploads) {
					for _, ref := range refs {
						u.Add(ref)
					}
				}
				if before {
					for _, ref := range refs {
						m.queue.refs[ref] = true
					}
					add = nil
				}
				m.run(time.Second, add)
				m.want(ref, manifest)
				m.wantWaiting(10)
				m.registry = nil // the next process
				m.run(6*time.Minute, nil)
				m.wantWaiting(0)
			})
		})
	}
}
