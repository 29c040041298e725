package hubsim

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
)

// Transport returns a transport that serves requests to the registry and to the CDN in
// memory. It is for bubbles of testing/synctest, where time does not advance while a
// goroutine waits for a socket. Start the Hub outside of the bubble. A response is
// returned when its body is complete; one that the hub cuts ends with
// io.ErrUnexpectedEOF.
func (h *Hub) Transport() http.RoundTripper { return memoryTransport{h} }

type memoryTransport struct{ hub *Hub }

// memoryClient is the address of clients without a network.
const memoryClient = "192.0.2.1:1024"

func (t memoryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, context.Cause(req.Context())
	}
	asked := req.Clone(req.Context())
	asked.RemoteAddr = memoryClient
	asked.RequestURI = req.URL.RequestURI()
	var handle http.Handler = t.hub
	switch req.URL.Host {
	case t.hub.cdn.address():
		handle = t.hub.cdn.handler
	case t.hub.other.address():
		handle = t.hub.other.handler
	}
	w := httptest.NewRecorder()
	cut := serveCut(handle, w, asked)
	if req.Context().Err() != nil {
		return nil, context.Cause(req.Context())
	}
	resp := w.Result()
	resp.Request = req
	if cut {
		resp.Body = io.NopCloser(io.MultiReader(resp.Body, broken{}))
	}
	return resp, nil
}

// serveCut reports whether the handler has cut the response short.
func serveCut(handle http.Handler, w http.ResponseWriter, r *http.Request) (cut bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			cut = true
		} else if p != nil {
			panic(p)
		}
	}()
	handle.ServeHTTP(w, r)
	return false
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
