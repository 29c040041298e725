// Package status is what a person wants to know of a running mirror: whether it helps,
// what is left of the pull limits, and what is wrong. It collects what requests and
// fills report, and keeps a history of the last day and year in bounded memory.
package status

import "time"

// Status is a mirror at one moment. Sizes are in bytes.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Now     time.Time `json:"now"`
	Offline bool      `json:"offline,omitempty"`

	// Withheld says that images, clients, repositories, digests and texts of errors were
	// left out, because the request had no token.
	Withheld bool `json:"names_withheld,omitempty"`

	Degraded map[string]string `json:"degraded,omitempty"` // component to error, such as disk
	Failing  map[string]int    `json:"failing,omitempty"`  // upstream to hosts that do not respond

	Start Traffic `json:"since_start"`
	Today Traffic `json:"today"` // since midnight, in the mirror's time zone
	Month Traffic `json:"month"` // since the first of the month

	Budgets []Budget `json:"budgets"`
	Cache   Cache    `json:"cache"`
	Fills   []Fill   `json:"fills"`

	Fleet *Fleet `json:"fleet,omitempty"` // nil: this mirror is by itself

	Warm []WarmList `json:"warm,omitempty"` // lists that are warmed by a schedule, in the order of the configuration

	Images  []Use     `json:"images"`            // of the last day, most pulled first
	Clients []Use     `json:"clients,omitempty"` // the same; absent when they are not to be shown
	Errors  []Problem `json:"errors"`            // latest first, minor ones last
}

// Traffic is what clients were served in a time.
type Traffic struct {
	Requests   int64 `json:"requests"` // manifests and blobs that clients asked for by GET or HEAD
	Hits       int64 `json:"hits"`     // of them served without asking for the content upstream
	Failed     int64 `json:"failed"`   // of them answered with status 500 or more, or 429, or cut short, or with 404 for a blob that was unavailable
	Bytes      int64 `json:"bytes"`    // sent to clients
	Fetched    int64 `json:"fetched"`  // received from upstreams
	PullsSaved int64 `json:"pulls_saved"`
	PullsSpent int64 `json:"pulls_spent"`
}

// BytesSaved is what clients were sent and upstreams were not asked for.
func (t Traffic) BytesSaved() int64 { return max(0, t.Bytes-t.Fetched) }

// HitRatio is the part of the requests that were hits, 0 to 1; 0 without requests.
func (t Traffic) HitRatio() float64 { return ratio(t.Hits, t.Requests) }

// ByteHitRatio is the part of the bytes that were not fetched, 0 to 1; 0 without bytes.
func (t Traffic) ByteHitRatio() float64 { return ratio(t.BytesSaved(), t.Bytes) }

func ratio(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// Budget is what is left of an upstream's pull limit for one credential.
type Budget struct {
	Upstream   string     `json:"upstream"`
	Credential string     `json:"credential"`
	Remaining  *int       `json:"remaining,omitempty"` // nil: unknown
	Limit      int        `json:"limit,omitempty"`     // 0: none known
	ResetBy    *time.Time `json:"reset_by,omitempty"`
	State      string     `json:"state"` // in a few words; "ok" when all is well
}

// Cache is how full the disk is.
type Cache struct {
	Bytes     int64   `json:"bytes"`
	Max       int64   `json:"max_bytes"`
	Free      int64   `json:"free_bytes"` // of the file system
	Blobs     int     `json:"blobs"`
	Pinned    int64   `json:"pinned_bytes"`
	MaxPinned int64   `json:"max_pinned_bytes"`
	Pins      int     `json:"pins"`                    // images that are pinned, those not in effect too
	Evicted   int64   `json:"evicted_bytes"`           // since the start
	Oldest    float64 `json:"oldest_seconds"`          // since the least recently used blob was used
	Holds     float64 `json:"holds_seconds,omitempty"` // how long content would stay at the present rate of fills; 0: unknown
}

// Fill is a download in flight.
type Fill struct {
	Upstream   string    `json:"upstream"`
	Repository string    `json:"repository"`
	Digest     string    `json:"digest"`
	Bytes      int64     `json:"bytes"` // received
	Size       int64     `json:"size"`  // -1: unknown
	Waiters    int       `json:"waiters"`
	Background bool      `json:"background,omitempty"` // no client asked for it
	Queued     bool      `json:"queued,omitempty"`     // it waits for its turn
	Started    time.Time `json:"started"`
	Rate       float64   `json:"bytes_per_second"`
}

// WarmList is a list of images that is warmed by a schedule. Counts are of its last run.
type WarmList struct {
	Name    string     `json:"name"`
	Running bool       `json:"running,omitempty"` // or waiting for its turn
	Next    *time.Time `json:"next,omitempty"`    // nil: never, or the mirror is offline
	Last    *time.Time `json:"last,omitempty"`    // end of the last run since the start
	Outcome string     `json:"outcome,omitempty"` // of that: done, waiting or failed
	Images  int        `json:"images"`
	Cached  int        `json:"cached"` // of them, at the end of the run
}

// Use is how much of one image, or by one client, was pulled. A pull is a request for a
// tag, or, where only digests are asked for, a GET of a manifest; layers are not counted.
type Use struct {
	Name     string    `json:"name"`
	Pulls    int64     `json:"pulls"`
	Requests int64     `json:"requests"` // as in Traffic, that is with layers
	Hits     int64     `json:"hits"`     // of the requests
	Bytes    int64     `json:"bytes"`
	Last     time.Time `json:"last"`
}

// Problem is an error that clients met, and what to do about it.
type Problem struct {
	Time     time.Time `json:"time"` // of the last one
	Count    int       `json:"count"`
	Upstream string    `json:"upstream,omitempty"`
	Image    string    `json:"image,omitempty"`
	Summary  string    `json:"summary"` // the kind of error in a few words, without names
	Error    string    `json:"error"`
	Advice   string    `json:"advice"`
	Minor    bool      `json:"minor,omitempty"`   // the client asked for what does not exist
	Ongoing  bool      `json:"ongoing,omitempty"` // it is so now, whether or not clients ask
}

// Point is one span of the history: a minute of the last day, or a day of the last year.
type Point struct {
	Time time.Time `json:"time"` // when it begins
	Traffic
}

// History is what the mirror did, oldest first, without gaps.
type History struct {
	Minutes []Point `json:"minutes"` // 1440 at the most
	Days    []Point `json:"days"`    // 366 at the most
}
