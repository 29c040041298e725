package server

import (
	"net/http"
	"time"
)

// bodyTime is how long the body of a request may take.
const bodyTime = 10 * time.Second

// boundBodies bounds the time that the body of a request may take. net/http reads what
// a handler has left of it, without a bound: a client that announces a body and sends
// none would occupy its connection, and what the handler holds, for ever. The bound
// ends with the body: the response may take longer. After a request with a body its
// connection is closed, so that no rest of one is taken for the next request.
func boundBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
				panic(http.ErrAbortHandler)
			}
			if r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close")
			}
		}
		next.ServeHTTP(w, r)
	})
}
