package notify

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ownHeaders are set for each request, and in no file.
var ownHeaders = []string{"Connection", "Content-Length", "Content-Type", "Host", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

const ownPrefix = "Webhook-" // of headers that sign sets

var (
	errHeader    = errors.New("not a header; write it as Name: value, such as Authorization: Bearer and a token")
	errOwnHeader = errors.New("mirrord sets this header itself; remove the line")
	errNoHeader  = errors.New("has no header; write one in each line as Name: value, such as Authorization: Bearer and a token")
)

// ReadHeaders returns the headers that a file has, one in each line as Name: value, between
// empty lines and comments that begin with #. The error has nothing of the content.
func ReadHeaders(path string) (http.Header, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	headers := make(http.Header)
	number := 0
	for line := range strings.Lines(string(raw)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, err := parseHeader(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, number, err)
		}
		headers.Add(name, value)
	}
	if len(headers) == 0 {
		return nil, fmt.Errorf("%s: %w", path, errNoHeader)
	}
	return headers, nil
}

func parseHeader(line string) (name, value string, err error) {
	name, value, _ = strings.Cut(line, ":")
	name, value = http.CanonicalHeaderKey(name), strings.TrimSpace(value)
	switch {
	case !httpguts.ValidHeaderFieldName(name) || value == "" || !httpguts.ValidHeaderFieldValue(value):
		return "", "", errHeader
	case slices.Contains(ownHeaders, name) || strings.HasPrefix(name, ownPrefix):
		return "", "", errOwnHeader
	}
	return name, value, nil
}
