package tag

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/oci"
)

// object is what is written for a tag.
type object struct {
	Digest    oci.Digest `json:"digest"`
	MediaType string     `json:"media_type,omitempty"`
	Size      int64      `json:"size"`      // in bytes, or oci.UnknownSize
	Confirmed time.Time  `json:"confirmed"` // when the upstream was asked, by the store's clock

	// Boot and Seq make each object another one, so that it has an ETag of its own.
	Boot string `json:"boot"`
	Seq  int64  `json:"seq"`
}

const maxObject = 4096 // bytes

// found is what was read.
type found struct {
	named oci.Descriptor
	age   time.Duration // since the upstream was asked
	cond  bucket.Cond   // under which it may be replaced
}

func (f found) result() oci.Result {
	return oci.Result{Descriptor: f.named, Via: oci.Shared, Checked: time.Now().Add(-f.age)}
}

// read reads what others were told of ref. It fails with ErrAbsent, with ErrForeign or
// ErrNewer for what this mirror does not believe or understand, and with any other error
// when the bucket fails or is to be left alone.
func (r *Registry) read(ctx context.Context, ref oci.Ref) (found, error) {
	key := r.opts.Secret.Tag(ref)
	begun := time.Now()
	raw, info, err := r.get(ctx, key)
	if beat := oci.Progress(ctx); beat != nil {
		beat() // the silence of the upstream has not begun yet
	}
	if errors.Is(err, bucket.ErrAbsent) {
		return found{cond: bucket.IfAbsent()}, err
	}
	if err != nil {
		return found{}, err
	}
	f := found{cond: bucket.IfMatch(info.ETag)}
	var o object
	if err := r.opts.Secret.Open(key, raw, &o); err != nil {
		return f, err
	}
	if f.named, err = o.descriptor(); err != nil {
		return f, fmt.Errorf("%s: %w: %w", key, keys.ErrForeign, err)
	}
	now, told := r.opts.Bucket.Now()
	if !told {
		return found{}, errors.New("the object store does not say what time it is")
	}
	f.age = max(info.Age+time.Since(begun), now.Sub(o.Confirmed))
	return f, nil
}

// get reads an object whole.
func (r *Registry) get(ctx context.Context, key string) (raw []byte, info bucket.Info, err error) {
	bounded, cancel := context.WithTimeoutCause(ctx, readTime, bucket.ErrTimeout)
	defer cancel()
	o, err := r.opts.Bucket.Get(bounded, key, 0, "")
	if err != nil {
		return nil, info, err
	}
	raw, err = io.ReadAll(io.LimitReader(o.Body, maxObject))
	return raw, o.Info, errors.Join(err, o.Body.Close())
}

// descriptor returns what the tag names. Like that of a response to a HEAD it is not
// complete where it cannot be true.
func (o object) descriptor() (oci.Descriptor, error) {
	d, err := oci.ParseDigest(o.Digest.String())
	if err != nil {
		return oci.Descriptor{}, err
	}
	named := oci.Descriptor{MediaType: o.MediaType, Digest: d, Size: o.Size}
	if !named.Complete() || o.Size > oci.MaxManifestSize {
		named.MediaType, named.Size = "", oci.UnknownSize
	}
	return named, nil
}
