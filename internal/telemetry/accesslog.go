package telemetry

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mirrord/internal/oci"
	"mirrord/internal/proxy"
)

// AccessOptions say which requests are logged.
type AccessOptions struct {
	Which  string // log.access of the configuration: off, errors or all
	Sample int    // one of so many requests that are not errors is logged; 0 and 1: each
}

// AccessLog returns an observer that writes one line for each request that o selects. It
// is a warning when the content was temporarily unavailable, with the upstream's error
// message; a client that disconnects is not an error.
func AccessLog(log *zap.Logger, o AccessOptions) func(*http.Request, proxy.Event) {
	if o.Which == "off" {
		return func(*http.Request, proxy.Event) {}
	}
	var ordinary atomic.Uint64
	return func(r *http.Request, e proxy.Event) {
		if !isError(r, e) && (o.Which == "errors" || o.Sample > 1 && ordinary.Add(1)%uint64(o.Sample) != 1) {
			return
		}
		level := zapcore.InfoLevel
		if failed(r, e) {
			level = zapcore.WarnLevel
		}
		if entry := log.Check(level, "request"); entry != nil {
			entry.Write(accessFields(r, e)...)
		}
	}
}

// isError reports whether a request belongs to log.access errors. Clients ask for what
// does not exist, and are asked for a login, all the time.
func isError(r *http.Request, e proxy.Event) bool {
	return e.Cut || failed(r, e) || e.Status >= http.StatusInternalServerError ||
		e.Status == http.StatusForbidden || e.Status == http.StatusTooManyRequests
}

func accessFields(r *http.Request, e proxy.Event) []zap.Field {
	fields := append(make([]zap.Field, 0, 16),
		zap.String("method", r.Method),
		zap.String("kind", e.Kind),
		zap.String("upstream", e.Upstream),
		zap.String("repository", e.Repository),
		zap.String("reference", e.Reference),
		zap.Int("status", e.Status),
		zap.Int64("bytes", e.Bytes),
		zap.Duration("duration", e.Duration.Round(time.Microsecond)),
		zap.String("via", string(e.Via)),
		zap.String("client", clientOf(r)),
		zap.String("agent", r.UserAgent()),
	)
	optional := func(key, value string) {
		if value != "" {
			fields = append(fields, zap.String(key, value))
		}
	}
	optional("request_id", requestID(r))
	optional("trace_id", traceID(r))
	optional("user", oci.ClientOf(r.Context()).Name())
	optional("stale", string(e.Reason))
	if e.Err != nil && !errors.Is(e.Err, context.Canceled) {
		fields = append(fields, zap.NamedError("error", e.Err))
	}
	return fields
}

// clientOf returns the address of the client itself, or that of the connection when it
// is not known.
func clientOf(r *http.Request) string {
	if address := oci.ClientOf(r.Context()).Address; address.IsValid() {
		return address.String()
	}
	return r.RemoteAddr
}
