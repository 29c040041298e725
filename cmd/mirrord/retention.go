package main

import (
	"context"

	"github.com/docker/go-units"
	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/index"
	"mirrord/internal/oci"
	"mirrord/internal/retention"
)

// buildRetention puts the pins that ix has in effect, before anything is evicted.
func (d *daemon) buildRetention(ix *index.Index) {
	d.pins = retention.New(context.Background(), retention.Options{
		Images: d.images, Tags: d.mirror.Tags, Cache: d.mirror.Cache, Index: ix, Max: maxPinned(d.cfg),
		TooLarge: func(ref oci.Ref, short int64) {
			d.log.Warn("a pinned image no longer fits and can be evicted; unpin others, or raise cache.max_pinned",
				zap.Stringer("image", ref), zap.String("short", units.BytesSize(float64(short))))
		},
		IndexFailed: func(err error) {
			d.log.Warn("pins cannot be read or written; a restart may lose them", zap.Error(err))
		},
	})
}

// maxPinned is how many bytes may be pinned.
func maxPinned(cfg *config.Config) int64 { return int64(cfg.Cache.MaxPinned.Of(cfg.Cache.MaxSize)) }
