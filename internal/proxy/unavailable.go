package proxy

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"mirrord/internal/oci"
)

// retryingClients are the prefixes of the User-Agent of clients that retry a
// manifest three to six times in 4 to 7 s after a 503 before they try the next host
// or fail. After a 403 they do so at once, and show the error message.
// docs/clients.md has the measurements.
var retryingClients = []string{"buildkit/", "crane/", "oras/"}

// retryPeriod is longer than the retries of any of them.
const retryPeriod = 10 * time.Second

// unavailableStatus returns the status for a manifest or list that is temporarily
// unavailable: 503, or 403 for a client whose retries would all fail because they
// end before the limit does.
//
// A signature never gets 403, which a client might take to mean that there is
// none.
func unavailableStatus(r *http.Request, e Event, err error) int {
	var limit *oci.LimitError
	if e.Kind != oci.Manifest.String() || oci.IsReferrersTag(e.Reference) ||
		!errors.As(err, &limit) || time.Until(limit.RetryAt) < retryPeriod {
		return http.StatusServiceUnavailable
	}
	for _, name := range retryingClients {
		if strings.HasPrefix(r.UserAgent(), name) {
			return http.StatusForbidden
		}
	}
	return http.StatusServiceUnavailable
}
