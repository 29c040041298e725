package status

import "time"

// Fleet is what the mirror shares with others through a bucket. Counts and sizes are since
// the start.
type Fleet struct {
	Bucket string `json:"bucket"` // its name, and where it is
	Node   string `json:"node"`   // the name of this mirror
	Boot   string `json:"boot"`   // of this process

	Probed     bool   `json:"probed"` // what the store can is known
	Conditions bool   `json:"conditions"`
	Ages       bool   `json:"ages"`
	Touch      bool   `json:"touch"`
	Secret     string `json:"secret"` // none, unknown, ok or wrong

	Problem string      `json:"problem,omitempty"` // why less is shared than is configured
	Outage  *FleetError `json:"outage,omitempty"`  // nil: the bucket works, as far as is known

	Leases         *int         `json:"leases_held,omitempty"` // nil: mirrors do not agree on who fetches what
	UploadsWaiting int          `json:"uploads_waiting"`
	BytesRead      int64        `json:"bytes_read"`
	BytesWritten   int64        `json:"bytes_written"`
	Reads          FleetLatency `json:"reads"`
	Writes         FleetLatency `json:"writes"`
}

// FleetError is why the bucket is left alone, and since when.
type FleetError struct {
	Since time.Time `json:"since"`
	Error string    `json:"error"`
}

// FleetLatency is how long requests took until their response.
type FleetLatency struct {
	Requests int64   `json:"requests"`
	Most     float64 `json:"p95_seconds,omitempty"` // that 95 % took at the most, to the bucket of a histogram; 0: unknown, or longer than the last
}

// withhold returns f without the texts of errors.
func (f *Fleet) withhold() *Fleet {
	if f == nil {
		return nil
	}
	without := *f
	if f.Outage != nil {
		without.Outage = &FleetError{Since: f.Outage.Since, Error: "the bucket fails"}
	}
	if f.Problem != "" {
		without.Problem = "less is shared than is configured"
	}
	return &without
}
