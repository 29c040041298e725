package upstream

import (
	"context"
	"crypto/tls"
	"io"
	"net/http/httptrace"

	"mirrord/internal/oci"
)

// withProgressTrace returns a context whose requests, including token requests and
// redirects, report to oci.Progress whenever something arrives from a host.
func withProgressTrace(ctx context.Context) context.Context {
	report := oci.Progress(ctx)
	if report == nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				report()
			}
		},
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			if err == nil {
				report()
			}
		},
		GotFirstResponseByte: report,
	})
}

// reportProgress reports to oci.Progress that the upstream makes progress.
func reportProgress(ctx context.Context) {
	if report := oci.Progress(ctx); report != nil {
		report()
	}
}

// progressing reports to oci.Progress each part of a body that arrives.
func progressing(ctx context.Context, body io.Reader) io.Reader {
	if report := oci.Progress(ctx); report != nil {
		return progressReader{body, report}
	}
	return body
}

type progressReader struct {
	io.Reader
	report func()
}

func (r progressReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.report()
	}
	return n, err
}
