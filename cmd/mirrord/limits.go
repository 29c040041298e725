package main

import (
	"mirrord/internal/config"
	"mirrord/internal/proxy"
	"mirrord/internal/ratelimit"
)

// pacer returns what limits how fast clients are sent to, nil when nothing does: then
// the body of a response is written as it is.
func pacer(cfg *config.Config) proxy.Pacer {
	each, total := int64(cfg.Clients.Bandwidth), int64(cfg.Clients.TotalBandwidth)
	if each == 0 && total == 0 {
		return nil
	}
	return ratelimit.NewLine(each, total)
}
