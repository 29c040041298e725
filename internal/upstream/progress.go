package upstream

import (
	"context"
	"crypto/tls"
	"io"
	"net/http/httptrace"

	"mirrord/internal/oci"
)

// tracing returns a context whose requests, those for a token and the hops of
// redirects included, tell oci.Progress of all that comes from a host.
func tracing(ctx context.Context) context.Context {
	told := oci.Progress(ctx)
	if told == nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				told()
			}
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				told()
			}
		},
		GotFirstResponseByte: told,
	})
}

// progressed tells oci.Progress that the upstream is at work.
func progressed(ctx context.Context) {
	if told := oci.Progress(ctx); told != nil {
		told()
	}
}

// progressing tells oci.Progress of each part of body that comes.
func progressing(ctx context.Context, body io.Reader) io.Reader {
	if told := oci.Progress(ctx); told != nil {
		return progressReader{body, told}
	}
	return body
}

type progressReader struct {
	io.Reader
	told func()
}

func (r progressReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.told()
	}
	return n, err
}
