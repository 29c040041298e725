package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mirrord/internal/notify"
)

// Webhook is one that is sent events, as JSON.
type Webhook struct {
	Name string `json:"name"`
}

// WebhookTest is what became of an event that was sent to a webhook, as JSON.
type WebhookTest struct {
	Name      string `json:"name"`
	Delivered bool   `json:"delivered"`
	Failed    string `json:"failed,omitempty"` // why it was not delivered
	Advice    string `json:"advice,omitempty"` // what to do about that
}

// WebhookLine is a line of the response to a request to test webhooks.
type WebhookLine struct {
	*WebhookTest
	Done bool `json:"done,omitempty"`
}

// webhooks returns those of the configuration.
func (a *API) webhooks(*http.Request) (any, error) {
	all := []Webhook{}
	for _, name := range a.opts.Events.Targets() {
		all = append(all, Webhook{name})
	}
	return all, nil
}

// testWebhooks sends an event to the webhook that the parameter name has, or to all.
func (a *API) testWebhooks(r *http.Request, lines *lineWriter) error {
	names := a.opts.Events.Targets()
	if len(names) == 0 {
		return badRequest(errors.New("the mirror has no webhooks; write notify in its configuration"))
	}
	if name := r.URL.Query().Get("name"); name != "" {
		if !slices.Contains(names, name) {
			return badRequest(fmt.Errorf("the mirror has no webhook %q; name one of %s", name, strings.Join(names, ", ")))
		}
		names = []string{name}
	}
	if !a.testing.TryLock() {
		return refuse(http.StatusConflict, errors.New("the webhooks are being tested already; try again in ten seconds"))
	}
	defer a.testing.Unlock()
	lines.begin() // a webhook may take ten seconds
	failed := 0
	a.opts.Events.Test(r.Context(), names, func(result notify.TestResult) {
		test := &WebhookTest{Name: result.Target, Delivered: result.Err == nil}
		if result.Err != nil {
			failed++
			test.Failed, test.Advice = result.Err.Error(), notify.Advice(result.Err)
		}
		lines.write(WebhookLine{WebhookTest: test})
	})
	noteOf(r).leftOut(failed, len(names), "delivered")
	lines.write(WebhookLine{Done: true})
	return nil
}

// Webhooks returns the webhooks of the mirror.
func (c *Client) Webhooks(ctx context.Context) (all []Webhook, err error) {
	_, err = c.get(ctx, "/v1/notify", nil, &all)
	return all, err
}

// TestWebhooks has the mirror send an event to the webhook of that name, or with an empty
// name to all, and calls each with the lines of the response and what they stand for.
func (c *Client) TestWebhooks(ctx context.Context, name string, each func(raw []byte, line WebhookLine)) error {
	query := url.Values{}
	if name != "" {
		query.Set("name", name)
	}
	return c.lines(ctx, http.MethodPost, "/v1/notify/test", query, nil, func(raw []byte) error {
		var line WebhookLine
		err := json.Unmarshal(raw, &line)
		if err == nil {
			each(raw, line)
		}
		return err
	})
}
