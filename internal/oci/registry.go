package oci

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// MaxManifestSize is the maximum size of a manifest, in bytes: the limit of
// distribution and of containers/image.
const MaxManifestSize = 4 << 20

// UnknownSize is the Size of content whose upstream sends no Content-Length.
const UnknownSize = -1

// Registry is a read-only view of a container registry. Methods may be called
// concurrently. Errors are an *Error or a *LimitError, or wrap a context's.
type Registry interface {
	// Resolve returns what ref names now, without its content. For an upstream
	// this is a HEAD, which may not describe a manifest: a Result that is not
	// Complete still has the right digest, and an error that wraps ErrNeedsGet
	// says that only Open can tell. The cache decides, within the quota, whether
	// that is worth a pull; the Results of the cache are always Complete.
	Resolve(ctx context.Context, ref Ref) (Result, error)

	// Open returns the content that ref names as soon as its size is known. The
	// caller closes it. Body yields exactly Size bytes that hash to Digest, or
	// fails before the last byte. ctx bounds the reader, never a fill behind it.
	//
	// A Body that is also an io.Seeker reads from any offset, but a part of a
	// blob cannot be verified on its own. With Via Fill, a Body that is read from
	// any offset to the end withholds the last byte until the whole blob is
	// verified, and fails when it is corrupt, so a client that resumes a download
	// never completes a corrupt one. The parts of PartReader are the exception.
	//
	// The Size is UnknownSize when the upstream sends no Content-Length; Body is
	// verified nevertheless. The cache always knows the size.
	Open(ctx context.Context, ref Ref) (*Content, error)

	// List returns one page of a repository's tags or of a manifest's
	// referrers. It fails with ErrNoReferrers when the upstream has no referrers
	// API, and with ErrParameter when it rejects the query.
	List(ctx context.Context, q Listing) (*Page, error)
}

// Descriptor describes content. MediaType is that of a manifest according to its
// bytes or, where they do not determine it, according to the upstream; it is
// empty for a blob. Size is in bytes.
type Descriptor struct {
	MediaType string
	Digest    Digest
	Size      int64
}

// Result is a Descriptor and where it came from.
type Result struct {
	Descriptor
	Via Via

	// Source is the reference for which the upstream has just named or sent this
	// content: that of the request, or of another one whose fetch it shares. The
	// zero Ref says that it was not asked: the content was cached.
	Source Ref

	Reason  StaleReason // only set when Via is Stale
	Checked time.Time   // when the upstream last confirmed that the tag names it; only set when Via is Stale, or Shared by tag
}

// Content is a Result with its bytes. It is for one goroutine.
type Content struct {
	Result
	Body io.ReadCloser // also an io.Seeker where seeking is cheap

	// Done, when not nil, is called once by Close, so that the owner of Body
	// learns that it is no longer read. A wrapper around Body would do the same,
	// but then Body could not be an *os.File, which sendfile needs.
	Done func()
}

// Span is the part of content from the offset Begin up to, but not including,
// the offset End.
type Span struct{ Begin, End int64 }

type partKey struct{}

// WithPartHint tells Open which part of a blob the caller will read first, so that
// a request to the upstream can begin there and, if End is not 0, end there. It is
// a hint and changes nothing in the contract of Open. It is in the context, not an
// optional interface of the Body, because it is needed before there is a Body.
func WithPartHint(ctx context.Context, part Span) context.Context {
	return context.WithValue(ctx, partKey{}, part)
}

// PartHint returns the Span that WithPartHint has set, or the zero Span.
func PartHint(ctx context.Context) Span {
	part, _ := ctx.Value(partKey{}).(Span)
	return part
}

// PartReader is a Body that can fetch parts of a blob separately. ReadParts
// announces, before the first Read, the only spans that the caller will read, each
// after a Seek to its Begin. They may arrive before the rest of the blob, and are
// then not verified, not even their last byte. ReadParts is called by the
// goroutine that reads.
type PartReader interface{ ReadParts(parts []Span) }

// ErrNoParts says that an upstream ignores ranges and sends the whole blob.
var ErrNoParts = errors.New("the upstream sends no byte ranges of a blob")

// Reopener is a Body that can fetch parts of the blob while it is being read.
// Reopen returns when the first byte of the part has arrived; the part is not
// verified. It fails with ErrNoParts, and may be called concurrently. The caller
// closes the part; ctx bounds it.
type Reopener interface {
	Reopen(ctx context.Context, part Span) (io.ReadCloser, error)
}

// Idler is a Body that can release its connection while it is not being read; the
// next Read connects again. Idle must not be called during a Read.
type Idler interface{ Idle() }

// Checked is a Body that wants to know whether what was read of it has the digest: who
// hashes the bytes below Verify tells it, once all were read. err is nil or wraps
// ErrCorrupt.
type Checked interface{ Checked(err error) }

// Close closes the Body and calls Done.
func (c *Content) Close() error {
	err := c.Body.Close()
	if done := c.Done; done != nil {
		c.Done = nil
		done()
	}
	return err
}

// Via says where a response came from.
type Via string

const (
	Hit         Via = "hit"         // the cache, without asking the upstream
	Known       Via = "known"       // for a HEAD: the cached digest of a tag whose content is not cached, without asking the upstream
	Revalidated Via = "revalidated" // the cache, after the upstream confirmed that the tag has not moved
	Fill        Via = "fill"        // the upstream, by a fill of the cache that was started or joined
	Stale       Via = "stale"       // the cache, possibly outdated: the upstream is unavailable, or its quota is saved
	Pass        Via = "pass"        // the upstream, bypassing the cache
	Shared      Via = "shared"      // the fleet's bucket, into the cache at the same time
	Peer        Via = "peer"        // another mirror of the fleet, into the cache at the same time
)

// StaleReason says why a stale copy is served. A LimitKind is a StaleReason, too.
// The set is closed, so the reason can be a metric label.
type StaleReason string

const (
	StaleUnavailable StaleReason = "unavailable" // the upstream fails or cannot be reached
	StaleSlow        StaleReason = "slow"        // the upstream has not responded in time
	StaleRefreshing  StaleReason = "refreshing"  // the upstream is asked in the background
	StaleFallback    StaleReason = "fallback"    // the upstream is unavailable, and a fallback says what the tag names
	StaleOffline     StaleReason = "offline"     // the mirror is not to ask the upstream
)

// ListKind says what a Listing lists.
type ListKind uint8

const (
	Tags ListKind = iota + 1
	Referrers
)

func (k ListKind) String() string {
	if k == Referrers {
		return "referrers"
	}
	return "tags"
}

// Listing is a request for one page of a list. ParseTags and ParseReferrers
// create one.
type Listing struct {
	upstream   string
	repository string
	kind       ListKind
	subject    Digest
	query      string
}

// ParseTags returns the Listing of a repository's tags. query holds the encoded
// paging parameters, which are opaque: only the upstream interprets them. It fails
// with NAME_INVALID.
func ParseTags(upstream, name, query string) (Listing, error) {
	repository, err := ParseRepository(upstream, name)
	return Listing{upstream: upstream, repository: repository, kind: Tags, query: query}, err
}

// ParseReferrers returns the Listing of the manifests that refer to the manifest
// subject. It fails with NAME_INVALID or DIGEST_INVALID.
func ParseReferrers(upstream, name, subject, query string) (Listing, error) {
	repository, err := ParseRepository(upstream, name)
	if err != nil {
		return Listing{}, err
	}
	d, err := ParseDigest(subject)
	return Listing{upstream: upstream, repository: repository, kind: Referrers, subject: d, query: query}, err
}

// Upstream is the name of the upstream, such as docker.io.
func (l Listing) Upstream() string { return l.upstream }

// Repository is the repository at the upstream, such as library/alpine.
func (l Listing) Repository() string { return l.repository }

// Kind says what is listed.
func (l Listing) Kind() ListKind { return l.kind }

// Subject is the manifest whose referrers are listed; empty for tags.
func (l Listing) Subject() Digest { return l.subject }

// Query holds the encoded paging parameters for the upstream.
func (l Listing) Query() string { return l.query }

// String returns different strings for different Listings.
func (l Listing) String() string {
	return strings.Join([]string{l.upstream, l.repository, l.kind.String(), l.subject.String(), l.query}, " ")
}

// Page is one page of a Listing: Tags or, for referrers, Index, the image index
// with the upstream's bytes.
type Page struct {
	Tags           []string
	Index          []byte
	FiltersApplied string // the upstream's OCI-Filters-Applied header
	Next           string // the query of the next page, empty on the last
	Via            Via

	// Only set when Via is Stale:
	Reason  StaleReason
	Checked time.Time // when the upstream sent it
}

// Empty reports whether the page has no entries.
func (p *Page) Empty() bool {
	var index struct{ Manifests []json.RawMessage }
	if len(p.Index) > 0 {
		_ = json.Unmarshal(p.Index, &index) // an invalid index has no entries
	}
	return len(p.Tags) == 0 && len(index.Manifests) == 0
}

// Size returns approximately how many bytes of memory the page takes.
func (p *Page) Size() int64 {
	const header = 16 // bytes of a string header
	size := len(p.Index) + len(p.Next) + len(p.FiltersApplied) + header*len(p.Tags)
	for _, tag := range p.Tags {
		size += len(tag)
	}
	return int64(size)
}
