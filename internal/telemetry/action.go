package telemetry

import (
	"net/http"
	"net/netip"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mirrord/internal/oci"
)

// Action is a request to the admin API that may have changed something, and what became of
// it. Fields that do not apply are zero.
type Action struct {
	Address netip.Addr // of the client
	UID     *uint32    // of the client over a unix socket; nil: not known
	User    string     // the name of UID

	Request     string   // method, path and query
	List        string   // of warm.lists
	Images      []string // the first of them
	ImagesTotal int

	Status int   // of the response
	Err    error // why it failed, or not all of it was done, also when Status is 200
}

const (
	maxRequest = 256  // bytes of Request that are written
	maxError   = 1024 // bytes of the text of Err
)

// Acted returns an observer that writes each Action to the audit log, or without one to log.
// Of those that were refused, because the client may not act, log gets some: someone who
// guesses must not fill it.
func Acted(log *zap.Logger, audit *Audit) func(Action) {
	lines := rate.NewLimiter(rate.Every(loginLineEvery), loginLines)
	return func(a Action) {
		line := auditLine{
			Event: "admin", UID: a.UID, User: a.User, Action: bound(a.Request, maxRequest),
			List: a.List, Images: a.Images, Total: a.ImagesTotal, Status: a.Status,
		}
		if a.Err != nil {
			line.Error = bound(a.Err.Error(), maxError)
		}
		refused := a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden
		if audit != nil {
			audit.add(line, oci.Client{Address: a.Address})
		} else if !refused || lines.Allow() {
			log.Info("admin action", actionFields(a, line)...)
		}
	}
}

// actionFields are the fields of line, by the same names.
func actionFields(a Action, line auditLine) []zap.Field {
	fields := []zap.Field{zap.String("action", line.Action), zap.Int("status", line.Status)}
	optional := func(present bool, field zap.Field) {
		if present {
			fields = append(fields, field)
		}
	}
	optional(a.Address.IsValid(), zap.Stringer("client", a.Address))
	optional(line.UID != nil, zap.Uint32p("uid", line.UID))
	optional(line.User != "", zap.String("user", line.User))
	optional(line.List != "", zap.String("list", line.List))
	optional(line.Total > 0, zap.Strings("images", line.Images))
	optional(line.Total > 0, zap.Int("images_total", line.Total))
	optional(line.Error != "", zap.String("error", line.Error))
	return fields
}

// bound returns the first bytes of s, at most n, as whole characters.
func bound(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
