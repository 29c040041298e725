package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/upstream"
)

const (
	downloadTimeout = 10 * time.Second

	// LeastBlob is how many bytes are downloaded: enough for a dozen full-size packets.
	LeastBlob = 16 << 10

	fullPacket = 1500 // bytes of Ethernet

	hintPull = "run this again after an image with a large layer was pulled through the mirror"
)

// tagsOfHub has several KB, and no pull limit counts it.
const tagsOfHub = "library/busybox"

// download checks whether full-size packets arrive, after small ones did: it gets the
// beginning of a blob, or a long list of tags. Neither counts as a pull. A login that was
// refused is not sent again: registry is that of another, nil if there is none.
func (u Upstream) download(ctx context.Context, registry *upstream.Registry) Check {
	if registry == nil {
		return Check{"download from " + u.Pool.Name(), Info, "not checked: no login works", "see what is said of the logins"}
	}
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	var r reached
	what, n, err := u.large(r.watch(ctx), registry)
	c := Check{Name: "download from " + u.Pool.Name()}
	switch {
	case what == "":
		c.State, c.Detail, c.Hint = Info, "not checked: nothing of several KB is known that costs no pull", hintPull
	case err == nil && n < fullPacket:
		c.State, c.Detail, c.Hint = Info, fmt.Sprintf("only %d bytes of %s arrived, which is not a full-size packet", n, what), hintPull
	case err == nil:
		c.State, c.Detail = OK, fmt.Sprintf("%d bytes of %s arrived", n, what)
	case r.address() == "":
		c.State, c.Detail, c.Hint = Info, "not checked: "+err.Error(), hintNotSent
	case isFree(err):
		c.State, c.Detail, c.Hint = Info, "not checked: "+err.Error(), hintPull
	case refuses(upstream.StatusOf(err)):
		c.State, c.Detail = Info, "not checked: "+err.Error()
		c.Hint = r.address() + " responds, and refuses this: if a proxy or a filter on the way does that, let it through; otherwise " + hintPull
	case isTimeout(err) && r.connected.Load():
		c.State, c.Detail = Warn, fmt.Sprintf("%s did not arrive from %s within %s, while small responses do", what, r.address(), downloadTimeout)
		c.Hint = hintMTU
	default:
		c.State, c.Detail = Fail, fmt.Sprintf("%s did not arrive from %s: %v", what, r.address(), err)
		c.Hint = r.hint(err, "registries send clients to other hosts for blobs: let this one through the firewall and the proxy")
	}
	return c
}

// isFree reports whether err says nothing about the way: the registry has responded, or
// nothing was sent.
func isFree(err error) bool {
	var limit *oci.LimitError
	return errors.As(err, &limit) || oci.IsUnknown(err) || oci.CodeOf(err) == oci.Denied || errors.Is(err, oci.ErrLogin)
}

// refuses reports whether a response of that status came from a host that works, and that
// the way to is open.
func refuses(status int) bool { return status > 0 && status < http.StatusInternalServerError }

// large gets something large and returns what, empty if nothing is known, and how many bytes
// arrived.
func (u Upstream) large(ctx context.Context, registry *upstream.Registry) (what string, n int64, err error) {
	switch {
	case u.Blob != (oci.Ref{}):
		n, err = beginning(ctx, registry, u.Blob)
		return "the beginning of a layer of " + u.Blob.Upstream() + "/" + u.Blob.Repository(), n, err
	case u.Pool.Name() == oci.DockerHub:
		n, err = listTags(ctx, registry, tagsOfHub)
		return "the list of tags of " + oci.DockerHub + "/" + tagsOfHub, n, err
	}
	return "", 0, nil
}

// beginning gets the beginning of a blob.
func beginning(ctx context.Context, registry *upstream.Registry, blob oci.Ref) (n int64, err error) {
	content, err := registry.Open(oci.WithPartHint(ctx, oci.Span{End: LeastBlob}), blob)
	if err != nil {
		return 0, err
	}
	body := oci.Unverified(content.Body) // which reads ahead, and these bytes are only counted
	n, err = io.CopyN(io.Discard, body, LeastBlob)
	return n, errors.Join(err, content.Close())
}

// listTags returns about how many bytes the tags of a repository took.
func listTags(ctx context.Context, registry *upstream.Registry, repository string) (n int64, err error) {
	listing, err := oci.ParseTags(oci.DockerHub, repository, "n=1000")
	if err != nil {
		return 0, err
	}
	page, err := registry.List(ctx, listing)
	if err != nil {
		return 0, err
	}
	for _, tag := range page.Tags {
		n += int64(len(tag) + len(`"",`))
	}
	return n, nil
}
