package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Webhook is what became of the events of a webhook.
type Webhook struct {
	Name       string
	Deliveries map[string]int64 // by outcome
	Dropped    int64
	Waiting    int
}

var (
	webhookDeliveries = prometheus.NewDesc("mirrord_notify_deliveries_total", "Events whose delivery to a webhook is over, by outcome.", []string{"target", "outcome"}, nil)
	webhookDropped    = prometheus.NewDesc("mirrord_notify_dropped_total", "Events that were dropped, because too many waited for the webhook.", []string{"target"}, nil)
	webhookWaiting    = prometheus.NewDesc("mirrord_notify_waiting", "Events that wait for a webhook, or are being delivered.", []string{"target"}, nil)
)

// WatchWebhooks exports the state of webhooks. webhooks is called at each scrape.
func (m *Metrics) WatchWebhooks(webhooks func() []Webhook) {
	m.registry.MustRegister(webhookCollector(webhooks))
}

type webhookCollector func() []Webhook

// Describe implements prometheus.Collector.
func (c webhookCollector) Describe(out chan<- *prometheus.Desc) {
	out <- webhookDeliveries
	out <- webhookDropped
	out <- webhookWaiting
}

// Collect implements prometheus.Collector.
func (c webhookCollector) Collect(out chan<- prometheus.Metric) {
	for _, w := range c() {
		for outcome, n := range w.Deliveries {
			out <- prometheus.MustNewConstMetric(webhookDeliveries, prometheus.CounterValue, float64(n), w.Name, outcome)
		}
		out <- prometheus.MustNewConstMetric(webhookDropped, prometheus.CounterValue, float64(w.Dropped), w.Name)
		out <- prometheus.MustNewConstMetric(webhookWaiting, prometheus.GaugeValue, float64(w.Waiting), w.Name)
	}
}
