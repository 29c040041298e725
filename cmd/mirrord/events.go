package main

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/health"
	"mirrord/internal/notify"
	"mirrord/internal/oci"
	"mirrord/internal/stack"
	"mirrord/internal/tagrule"
	"mirrord/internal/tags"
	"mirrord/internal/telemetry"
)

// newEvents returns what sends events to the webhooks of a configuration.
func newEvents(cfg *config.Config, log *zap.Logger, metrics *telemetry.Metrics) (*notify.Notifier, error) {
	webhooks, err := webhooksOf(cfg)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname() // which is only a name
	n := notify.New(notify.Options{
		Source: "/mirrord/" + cmp.Or(host, "unknown"),
		Client: notify.NewClient(nil),
		Hooks: notify.Hooks{
			Failing: func(target string, err error, again bool) {
				text := "webhook fails; the event is tried again for up to 15 minutes"
				if !again {
					text = "webhook fails; it refused the event, which is not tried again: mirrord notify test says what to do"
				}
				log.Warn(text, zap.String("webhook", target), zap.Error(err))
			},
			Recovered: func(target string) { log.Info("webhook works again", zap.String("webhook", target)) },
			Undelivered: func(target string, n int) {
				log.Warn("events are not delivered, because the webhook is removed or the mirror ends", zap.String("webhook", target), zap.Int("events", n))
			},
		},
	})
	n.Set(webhooks)
	metrics.WatchWebhooks(func() []telemetry.Webhook { return webhookStats(n.Stats()) })
	return n, nil
}

// webhooksOf returns the webhooks of a configuration. It fails when a file of one cannot be
// read.
func webhooksOf(cfg *config.Config) (all []notify.Target, err error) {
	for _, w := range cfg.Notify {
		t := notify.Target{Name: w.Name, URL: w.URL, SecretFile: w.SecretFile, HeadersFile: w.HeadersFile}
		for _, event := range w.On {
			t.On = append(t.On, notify.Type(event))
		}
		if len(w.Tags) > 0 {
			var rules tagrule.Rules
			for _, pattern := range w.Tags {
				rules = append(rules, tagrule.Rule{Match: pattern})
			}
			t.Tag = func(ref oci.Ref) bool {
				_, ok := rules.Fresh(ref.Upstream(), ref.Repository(), ref.Tag())
				return ok
			}
		}
		if w.CAFile != "" {
			t.Roots = func() (*x509.CertPool, error) { return readCAs(w.CAFile) }
		}
		if wrong := t.CheckFiles(); wrong != nil {
			err = errors.Join(err, fmt.Errorf("notify: %s: %w", w.Name, wrong))
		}
		all = append(all, t)
	}
	return all, err
}

func webhookStats(stats []notify.Stats) (all []telemetry.Webhook) {
	for _, s := range stats {
		w := telemetry.Webhook{Name: s.Target, Deliveries: make(map[string]int64), Dropped: s.Dropped, Waiting: s.Waiting}
		for outcome, n := range s.Deliveries {
			w.Deliveries[string(outcome)] = n
		}
		all = append(all, w)
	}
	return all
}

// hostEvent is the data of upstream_down and upstream_up.
type hostEvent struct {
	Upstream string `json:"upstream"`
	Host     string `json:"host"`
	Error    string `json:"error,omitempty"`
}

// notifyOfHosts makes the hooks of upstreams send events, too.
func notifyOfHosts(n *notify.Notifier, upstreams []stack.Upstream) {
	for i := range upstreams {
		name, hooks := upstreams[i].Name, &upstreams[i].Hooks
		fails, recovered := hooks.HostFails, hooks.HostRecovered
		hooks.HostFails = func(host string, err error) {
			fails(host, err)
			n.Emit(notify.Event{Type: notify.UpstreamDown, Subject: name, Data: hostEvent{name, host, err.Error()}})
		}
		hooks.HostRecovered = func(host string) {
			recovered(host)
			n.Emit(notify.Event{Type: notify.UpstreamUp, Subject: name, Data: hostEvent{Upstream: name, Host: host}})
		}
	}
}

// partEvent is the data of degraded and recovered.
type partEvent struct {
	Part  health.Component `json:"part"`
	Error string           `json:"error,omitempty"`
}

// notifyOfHealth returns hooks that send events, too.
func notifyOfHealth(n *notify.Notifier, hooks health.Hooks) health.Hooks {
	return health.Hooks{
		Degraded: func(c health.Component, err error) {
			hooks.Degraded(c, err)
			n.Emit(notify.Event{Type: notify.Degraded, Subject: string(c), Data: partEvent{c, err.Error()}})
		},
		Recovered: func(c health.Component) {
			hooks.Recovered(c)
			n.Emit(notify.Event{Type: notify.Recovered, Subject: string(c), Data: partEvent{Part: c}})
		},
	}
}

// tagEvent is the data of tag_moved.
type tagEvent struct {
	Image    string     `json:"image"`
	Previous oci.Digest `json:"previous"`
	Digest   oci.Digest `json:"digest"`
}

// notifyOfTags returns hooks that send events, too.
func notifyOfTags(n *notify.Notifier, hooks tags.Hooks) tags.Hooks {
	hooks.Moved = func(ref oci.Ref, previous, now oci.Digest) {
		if ref.Kind() == oci.Manifest {
			n.Emit(notify.Event{Type: notify.TagMoved, Subject: ref.String(), Ref: ref, Data: tagEvent{ref.String(), previous, now}})
		}
	}
	return hooks
}
