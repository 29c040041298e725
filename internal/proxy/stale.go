package proxy

import (
	"net/http"
	"strconv"
	"time"

	"mirrord/internal/oci"
)

// staleBecause is what a client's user is told of an older copy. To be asked
// meanwhile is nothing to worry about.
var staleBecause = map[oci.StaleReason]string{
	oci.StaleUnavailable:               "its registry is unavailable",
	oci.StaleSlow:                      "its registry did not respond in time",
	oci.StaleReason(oci.LimitPulls):    "its registry allows no more pulls for now",
	oci.StaleReason(oci.LimitRequests): "its registry allows no more requests for now",
	oci.StaleReason(oci.LimitReserve):  "the last pulls are reserved for images that were never pulled",
	oci.StaleReason(oci.LimitClient):   "this client has used up its share of the pulls",
}

// setStale says that an answer is an older copy: code 110 and the age as HTTP
// has it (RFC 7234, sections 5.1 and 5.5), code 299 for containers/image (podman,
// skopeo, buildah, CRI-O), which shows that one to its users.
func setStale(header http.Header, reason oci.StaleReason, checked time.Time) {
	header.Set("Warning", `110 - "Response is Stale"`)
	if because, ok := staleBecause[reason]; ok {
		header.Add("Warning", `299 - "mirrord serves a stale copy: `+because+`"`)
	}
	age := max(0, time.Since(checked))
	header.Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
}
