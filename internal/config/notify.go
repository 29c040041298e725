package config

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"mirrord/internal/tagrule"
)

const notifyKey = "notify"

// maxWebhooks bounds the webhooks, whose names are labels of metrics.
const maxWebhooks = 20

// tagMoved is the event that Tags are for.
const tagMoved = "tag_moved"

// NotifyEvents are what a webhook can be sent.
var NotifyEvents = []string{"quota_low", "quota_gone", "upstream_down", "upstream_up", "degraded", "recovered", tagMoved}

// Webhook is sent events.
type Webhook struct {
	Name       string // unique; the host of URL if the file has none
	URL        string // may have secrets
	On         []string
	Tags       []string // patterns as of tagrule, for tag_moved; empty: all
	SecretFile string   // empty: not signed

	CAFile      string // PEM, trusted beside those of the system
	HeadersFile string // more headers of requests, such as a login; empty: none
}

var webhooks = list[Webhook]{
	table: table[Webhook]{
		scalar("name", parseListName, func(w *Webhook) *string { return &w.Name }),
		scalar("url", parseWebhookURL, func(w *Webhook) *string { return &w.URL }).
			required("has no url; write where events are sent, such as https://events.example.com/mirrord"),
		words("on", func(s string) (string, error) { return oneOf(NotifyEvents...)(s) }, func(w *Webhook) *[]string { return &w.On }).
			required("has no events; write on: with some of " + strings.Join(NotifyEvents, ", ")),
		words("tags", parseTagRule, func(w *Webhook) *[]string { return &w.Tags }),
		scalar("secret_file", parsePath, func(w *Webhook) *string { return &w.SecretFile }),
		scalar("ca_file", parsePath, func(w *Webhook) *string { return &w.CAFile }),
		scalar("headers_file", parsePath, func(w *Webhook) *string { return &w.HeadersFile }),
	},
	check: checkWebhook,
}

// checkWebhook checks the last webhook, and gives it a name.
func checkWebhook(l *loader, at place, all []Webhook) {
	w := &all[len(all)-1]
	u, _ := url.Parse(w.URL) // it is valid
	if w.Name == "" {
		w.Name = u.Hostname()
	}
	if w.CAFile != "" && u.Scheme != "https" {
		l.problem(at, "has a ca_file, which is for https alone; write the url with https, or leave ca_file out")
	}
	if len(w.On) == 0 {
		l.problem(at, "has no events; write on: with some of %s", strings.Join(NotifyEvents, ", "))
	}
	if len(w.Tags) > 0 && !slices.Contains(w.On, tagMoved) {
		l.problem(at, "has tags, which are for %s alone; add that to on, or leave tags out", tagMoved)
	}
	for i, other := range all[:len(all)-1] {
		if other.Name == w.Name {
			l.problem(at, "has the name %s, which %s already uses; give each a unique name", w.Name, at.sibling(i).name)
		}
	}
	if len(all) == maxWebhooks+1 {
		l.problem(at, "is one more than the %d webhooks that there may be; put something that distributes events behind one", maxWebhooks)
	}
}

// parseWebhookURL accepts a URL, which may have secrets: no error repeats it.
func parseWebhookURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || !printable(s) || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" || u.Port() != "" && !isPort(u.Port()) {
		return "", errors.New("is not the URL of a webhook; write http or https, a host and a path, such as https://events.example.com/mirrord")
	}
	return s, nil
}

func parseTagRule(s string) (string, error) { return s, tagrule.Check(s) }
