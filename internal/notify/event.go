// Package notify sends events of the mirror to webhooks, as CloudEvents 1.0. It decides
// who gets an event, and delivers it; what happens is told by others.
package notify

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"time"

	"mirrord/internal/oci"
)

// Type is what has happened. The set is closed.
type Type string

const (
	QuotaLow     Type = "quota_low"     // few pulls of a credential are left
	QuotaGone    Type = "quota_gone"    // none are left
	UpstreamDown Type = "upstream_down" // nothing is sent to a host of an upstream
	UpstreamUp   Type = "upstream_up"   // it is used again
	Degraded     Type = "degraded"      // the mirror works without its disk, its index or the bucket of its fleet
	Recovered    Type = "recovered"     // and with it again
	TagMoved     Type = "tag_moved"     // a tag names another digest than before
)

// Types are all there are.
var Types = []Type{QuotaLow, QuotaGone, UpstreamDown, UpstreamUp, Degraded, Recovered, TagMoved}

// Event is something that has happened.
type Event struct {
	ID      string    // of an event that may have been sent before; empty: a new one
	Time    time.Time // when it happened; zero: now
	Type    Type
	Subject string  // what it happened to
	Ref     oci.Ref // of TagMoved
	Data    any     // becomes JSON; it has no secret
}

// cloudEvent is an event on the wire: CloudEvents 1.0, structured mode, JSON.
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        any       `json:"data"`
}

const (
	contentType = "application/cloudevents+json"
	typePrefix  = "mirrord."
)

// message is an event that is to be delivered. Every attempt sends the same bytes.
type message struct {
	id      string
	created time.Time
	body    []byte
}

func newMessage(source string, e Event) (message, error) {
	m := message{id: cmp.Or(e.ID, rand.Text()), created: time.Now()}
	happened := e.Time
	if happened.IsZero() {
		happened = m.created
	}
	var err error
	m.body, err = json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: m.id, Source: source, Type: typePrefix + string(e.Type), Subject: e.Subject,
		Time: happened.UTC(), ContentType: "application/json", Data: e.Data,
	})
	return m, err
}
