package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/felixge/httpsnoop"
)

// Action is a request that may have changed something, and what became of it.
type Action struct {
	Address netip.Addr // of the client; invalid when it came over a unix socket
	UID     *uint32    // of the client over a unix socket; nil: not known
	User    string     // the name of UID on this host, empty if it has none

	Request     string   // method, path and query
	List        string   // of warm.lists
	Images      []string // that it was about, the first maxNoted of them; none: no image, or it failed before they were known
	ImagesTotal int

	Status int   // of the response; 500 when the handler panicked, whatever was sent by then
	Err    error // why it failed, or not all of it was done, also when Status is 200
}

const (
	maxNoted     = 20  // images of an Action
	maxNotedName = 256 // bytes of the name of one
)

// note is what the handler of a request tells of it. It is used by one goroutine at a time.
type note struct {
	looked bool // it was a dry run or a plan
	list   string
	images []string
	total  int
	err    error
}

type noteKey struct{}

// noteOf returns the note of a request. Where nobody reads it, it is a new one.
func noteOf(r *http.Request) *note {
	if n, ok := r.Context().Value(noteKey{}).(*note); ok {
		return n
	}
	return new(note)
}

// addImage notes an image that the request is about.
func (n *note) addImage(name string) {
	n.total++
	if len(n.images) < maxNoted {
		if len(name) > maxNotedName {
			name = strings.ToValidUTF8(name[:maxNotedName], "") // of whole characters
		}
		n.images = append(n.images, name)
	}
}

// leftOut notes that some of what was asked for could not be done, as a response has it
// that ends as if all were.
func (n *note) leftOut(some, of int, done string) {
	if some > 0 {
		n.err = fmt.Errorf("%d of %d not %s", some, of, done)
	}
}

// reportActions returns a handler that reports what may have changed something: all but GET
// and HEAD, and dry runs and plans that succeed.
func (a *API) reportActions(next http.Handler) http.Handler {
	if a.opts.Acted == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		n, status := new(note), 0
		defer func() {
			p := recover()
			if p != nil {
				status, n.err = http.StatusInternalServerError, fmt.Errorf("panic: %v", p)
			}
			a.report(r, n, status)
			if p != nil {
				panic(p)
			}
		}()
		status = httpsnoop.CaptureMetrics(next, w, r.WithContext(context.WithValue(r.Context(), noteKey{}, n))).Code
	})
}

// report reports a request that had that status, with what its handler has noted, unless it
// was a dry run or a plan that has succeeded.
func (a *API) report(r *http.Request, n *note, status int) {
	if n.looked && status == http.StatusOK && n.err == nil {
		return
	}
	action := Action{
		Request: r.Method + " " + r.URL.RequestURI(), List: n.list,
		Images: n.images, ImagesTotal: n.total, Status: status, Err: n.err,
	}
	action.UID, action.User = peerOf(r.Context())
	if address, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		action.Address = address.Addr().Unmap()
	}
	a.opts.Acted(action)
}
