package proxy

import (
	"net/http"
	"strconv"
	"time"

	"mirrord/internal/oci"
)

// staleMessages are the reasons for a stale copy that a client's user is shown. A
// refresh in the background is not worth a message.
var staleMessages = map[oci.StaleReason]string{
	oci.StaleUnavailable:               "its registry is unavailable",
	oci.StaleOffline:                   "this mirror is offline",
	oci.StaleFallback:                  "its registry is unavailable, and a fallback was asked",
	oci.StaleSlow:                      "its registry did not respond in time",
	oci.StaleReason(oci.LimitPulls):    "its registry allows no more pulls for now",
	oci.StaleReason(oci.LimitRequests): "its registry allows no more requests for now",
	oci.StaleReason(oci.LimitReserve):  "the last pulls are reserved for images that were never pulled",
	oci.StaleReason(oci.LimitClient):   "this client has used up its share of the pulls",
}

// setStale marks a response as stale: with Age and warning code 110 as HTTP
// defines them (RFC 7234, sections 5.1 and 5.5), and with code 299, which
// containers/image (podman, skopeo, buildah, CRI-O) shows to its users.
func setStale(header http.Header, reason oci.StaleReason, checked time.Time) {
	header.Set("Warning", `110 - "Response is Stale"`)
	if message, ok := staleMessages[reason]; ok {
		header.Add("Warning", `299 - "mirrord serves a stale copy: `+message+`"`)
	}
	age := max(0, time.Since(checked))
	header.Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
}
