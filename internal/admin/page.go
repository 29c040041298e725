package admin

import (
	"net/http"

	"mirrord/internal/status"
	"mirrord/internal/status/page"
)

// page returns the status page. Like /v1/status it has names only for those with the
// token; browsers cannot send that, but can be led to the socket.
func (a *API) page() http.Handler {
	return page.Handler(page.Options{
		Status:  func(r *http.Request) status.Status { return a.currentStatus(a.opts.Token.trusts(r)) },
		History: func() status.History { return a.opts.Status.History() },
		Socket:  a.opts.Socket,
		Connect: a.opts.Connect,
	})
}
