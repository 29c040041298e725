package s3

import (
	"errors"
	"io"
	"net/http"
)

// maxAnswer is how many bytes of a response are read that is not an object. A list of 1,000
// keys, each as long as a key may be and with every byte escaped, has less.
const maxAnswer = 16 << 20

var errLongAnswer = errors.New("the object store sends more than any answer has")

// bounded is a transport whose responses, but for those with an object, fail where they get
// so long that no store means them: the client reads them into memory.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil || r.Method == http.MethodGet && r.URL.RawQuery == "" {
		return resp, err
	}
	resp.Body = &boundedBody{resp.Body, maxAnswer}
	return resp, nil
}

// CloseIdleConnections is what http.Client looks for.
func (b bounded) CloseIdleConnections() { closeIdle(b.next) }

// boundedBody fails after so many bytes.
type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errLongAnswer
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
