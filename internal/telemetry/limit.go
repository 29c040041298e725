package telemetry

import (
	"errors"

	"mirrord/internal/oci"
)

// limitSettings are the settings of the limits that clients are held to.
var limitSettings = map[oci.LimitKind]string{
	oci.LimitInFlight: "max_requests",
	oci.LimitRate:     "requests_per_second",
	oci.LimitClient:   "per_client",
}

// observeLimit counts a request that a limit of its client has ended.
func (m *Metrics) observeLimit(err error) {
	var limit *oci.LimitError
	if !errors.As(err, &limit) {
		return
	}
	if setting, ok := limitSettings[limit.Kind]; ok {
		m.limited.WithLabelValues(setting).Inc()
	}
}
