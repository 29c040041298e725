package proxy

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"mirrord/internal/oci"
)

// repeaters are the clients, by how their User-Agent begins, that ask three to
// six times in 4 to 7 s for a manifest that was answered 503 before they turn to
// the next host or give up, and that after 403 do so at once, with the message
// of the error. docs/clients.md has the measurements.
var repeaters = []string{"buildkit/", "crane/", "oras/"}

// patience is longer than any of them repeats.
const patience = 10 * time.Second

// refusal is the status of a manifest that cannot be had now: 503, and 403 for
// a client that would ask in vain until a limit is over that outlasts it.
//
// A signature is never refused with 403, which might be read as that there is
// none to be had.
func refusal(r *http.Request, e Event, err error) int {
	var limit *oci.LimitError
	if e.Kind != oci.Manifest.String() || oci.IsReferrersTag(e.Reference) ||
		!errors.As(err, &limit) || time.Until(limit.RetryAt) < patience {
		return http.StatusServiceUnavailable
	}
	for _, name := range repeaters {
		if strings.HasPrefix(r.UserAgent(), name) {
			return http.StatusForbidden
		}
	}
	return http.StatusServiceUnavailable
}
