package oci

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"
)

// MaxManifestSize is the largest manifest that is moved, in bytes: the limit of
// distribution and of containers/image.
const MaxManifestSize = 4 << 20

// UnknownSize is the Size of content whose upstream tells no length.
const UnknownSize = -1

// Registry is a read-only view of a container registry. Methods may be called
// concurrently. Errors are an *Error or a *LimitError, or wrap a context's.
type Registry interface {
	// Resolve returns what ref names now, moving no content. Upstream this is
	// a HEAD, which may not tell all: a Result for a manifest that is not
	// Complete names its digest for certain, and an error that wraps
	// ErrNeedsGet says that only Open tells. A Cache, and with it the quota,
	// decides whether that is worth a pull; its own Results are Complete.
	Resolve(ctx context.Context, ref Ref) (Result, error)

	// Open returns the content that ref names; the caller closes it. It returns
	// once the size is known. Body yields exactly Size bytes that hash to
	// Digest, or fails before the last byte. A Body that is also an io.Seeker
	// reads any part; but no part of a blob can be verified alone. One that
	// comes by Fill, read from any offset to the end, withholds the last byte
	// until the whole is verified, and fails when it is not: whoever resumes a
	// download never completes a wrong one. Parts that PartReader was told of
	// are excepted. ctx bounds the reader, never a fill behind it.
	//
	// An upstream that tells no length has Size UnknownSize; its Body is
	// verified all the same. A Cache always knows the size.
	Open(ctx context.Context, ref Ref) (*Content, error)

	// List returns one page of a repository's tags or of a manifest's
	// referrers. It fails with ErrNoReferrers where the upstream has no API for
	// these, and with ErrParameter where it does not take the query.
	List(ctx context.Context, q Listing) (*Page, error)
}

// Descriptor says what content is. MediaType is what a manifest's bytes say, or
// where they leave it open what the upstream says; it is empty for a blob. Size
// is in bytes.
type Descriptor struct {
	MediaType string
	Digest    Digest
	Size      int64
}

// Result is a Descriptor and how it came.
type Result struct {
	Descriptor
	Via Via

	// Of a Stale answer, and only of one:
	Reason  StaleReason
	Checked time.Time // when the upstream last said that the tag named it
}

// Content is a Result with its bytes.
type Content struct {
	Result
	Body io.ReadCloser // an io.Seeker too where that is cheap

	// Done, when not nil, is called once by Close: what lends the Body learns
	// that it is no longer read. It leaves Body free to be an *os.File itself.
	Done func()
}

// Span is a part of content: from the byte at Begin up to, and without, the one
// at End.
type Span struct{ Begin, End int64 }

type partKey struct{}

// WithPartHint tells an Open which part of a blob its caller reads first: what is
// fetched may begin there and, if End is not 0, end there. It is a hint, and
// changes nothing of what Open promises.
func WithPartHint(ctx context.Context, part Span) context.Context {
	return context.WithValue(ctx, partKey{}, part)
}

// PartHint returns what WithPartHint told, or the zero Span.
func PartHint(ctx context.Context) Span {
	part, _ := ctx.Value(partKey{}).(Span)
	return part
}

// PartReader is a Body that can fetch parts by themselves. ReadParts names, before
// the first Read, the spans after which the caller stops, because it asked for no
// more: each is read after a Seek to its Begin. They may come ahead of the rest,
// and then nobody has verified them, their last byte included. It is for the
// goroutine that reads.
type PartReader interface{ ReadParts(parts []Span) }

// ErrNoParts says that an upstream sends a blob whole when it is asked for a part.
var ErrNoParts = errors.New("the upstream sends no byte ranges of a blob")

// Reopener is a Body of which parts can be had while it is read. Reopen asks for
// one and returns when its first byte has come; nobody has verified it. It fails
// with ErrNoParts, and may be called concurrently. The caller closes what it
// returns; ctx bounds it.
type Reopener interface {
	Reopen(ctx context.Context, part Span) (io.ReadCloser, error)
}

// Idler is a Body that can let go of its connection while nobody reads it; the
// next Read connects again. It is not called while a Read is under way.
type Idler interface{ Idle() }

// Close closes the Body and tells its lender.
func (c *Content) Close() error {
	err := c.Body.Close()
	if done := c.Done; done != nil {
		c.Done = nil
		done()
	}
	return err
}

// Via tells how an answer came.
type Via string

const (
	Hit         Via = "hit"         // from the cache, nothing asked
	Known       Via = "known"       // of a HEAD: what the tag names, nothing asked; its content is not cached
	Revalidated Via = "revalidated" // from the cache, after the upstream said that the tag has not moved
	Fill        Via = "fill"        // from the upstream into the cache, led or joined
	Stale       Via = "stale"       // from the cache, which may be behind the upstream: that could not be asked, or its quota is spared
	Pass        Via = "pass"        // from the upstream, past the cache
)

// StaleReason tells why an older copy is the answer. A LimitKind is one too, and
// there are no others, so it serves as a metric's label.
type StaleReason string

const (
	StaleUnavailable StaleReason = "unavailable" // the upstream does not answer as it should
	StaleSlow        StaleReason = "slow"        // the upstream has not answered soon enough
	StaleRefreshing  StaleReason = "refreshing"  // the upstream is being asked meanwhile
)

// ListKind tells what a Listing lists.
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

// Listing asks for one page. Make one with ParseTags or ParseReferrers.
type Listing struct {
	upstream   string
	repository string
	kind       ListKind
	subject    Digest
	query      string
}

// ParseTags makes the Listing of a repository's tags. query holds the paging
// parameters, encoded and opaque: they are the upstream's. It fails with
// NAME_INVALID.
func ParseTags(upstream, name, query string) (Listing, error) {
	repository, err := ParseRepository(upstream, name)
	return Listing{upstream: upstream, repository: repository, kind: Tags, query: query}, err
}

// ParseReferrers makes the Listing of what refers to the manifest subject. It
// fails with NAME_INVALID or DIGEST_INVALID.
func ParseReferrers(upstream, name, subject, query string) (Listing, error) {
	repository, err := ParseRepository(upstream, name)
	if err != nil {
		return Listing{}, err
	}
	d, err := ParseDigest(subject)
	return Listing{upstream: upstream, repository: repository, kind: Referrers, subject: d, query: query}, err
}

func (l Listing) Upstream() string   { return l.upstream }
func (l Listing) Repository() string { return l.repository }
func (l Listing) Kind() ListKind     { return l.kind }
func (l Listing) Subject() Digest    { return l.subject }
func (l Listing) Query() string      { return l.query }

// String is different for different Listings.
func (l Listing) String() string {
	return strings.Join([]string{l.upstream, l.repository, l.kind.String(), l.subject.String(), l.query}, " ")
}

// Page is one page of a Listing: Tags or, for referrers, the upstream's image
// index byte for byte.
type Page struct {
	Tags           []string
	Index          []byte
	FiltersApplied string // the upstream's OCI-Filters-Applied
	Next           string // the query of the next page, empty at the end
	Via            Via

	// Of a Stale page, and only of one:
	Reason  StaleReason
	Checked time.Time // when the upstream sent it
}

// Empty reports whether the page has no entries.
func (p *Page) Empty() bool {
	var index struct{ Manifests []json.RawMessage }
	if len(p.Index) > 0 {
		_ = json.Unmarshal(p.Index, &index) // what is no index has no entries
	}
	return len(p.Tags) == 0 && len(index.Manifests) == 0
}

// Size is about how many bytes of memory the page takes.
func (p *Page) Size() int64 {
	const header = 16 // bytes of a string, its content apart
	size := len(p.Index) + len(p.Next) + len(p.FiltersApplied) + header*len(p.Tags)
	for _, tag := range p.Tags {
		size += len(tag)
	}
	return int64(size)
}
