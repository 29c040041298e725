package upstream

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"mirrord/internal/oci"
)

// Reopen implements oci.Reopener.
func (b *body) Reopen(ctx context.Context, part oci.Span) (io.ReadCloser, error) {
	ctx, answered, cancel := b.registry.withResponseTimeout(ctx)
	defer answered()
	other := b.registry.newBody(ctx, b.ref, part.Begin)
	other.size, other.end, other.release = b.size, part.End, cancel
	if err := other.connectWithRetry(); err != nil {
		cancel()
		return nil, err
	}
	return other, nil
}

// ReadParts implements oci.PartReader.
func (b *body) ReadParts(parts []oci.Span) { b.parts = parts }

// byteRange is the Range to request: from offset to where the reader stops.
func (b *body) byteRange() string {
	end := cmp.Or(b.end, b.stop())
	switch {
	case b.noRange:
		return ""
	case end > 0:
		return fmt.Sprintf("bytes=%d-%d", b.offset, end-1)
	case b.offset > 0:
		return fmt.Sprintf("bytes=%d-", b.offset)
	}
	return ""
}

// stop returns where the part that is being read ends, together with the parts that
// follow it closely, or 0 outside of all parts.
func (b *body) stop() (end int64) {
	begin := b.offset
	for _, p := range b.parts {
		inside := end == 0 && p.Begin <= b.offset && b.offset < p.End
		if inside || end > 0 && begin <= p.Begin && p.Begin <= end+maxSkip {
			begin, end = p.Begin, max(end, p.End)
		} else if end > 0 {
			break
		}
	}
	return end
}
