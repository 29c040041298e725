package telemetry

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// diskWithin bounds how long a scrape waits for the disk.
const diskWithin = time.Second

var diskFree = prometheus.NewDesc("mirrord_cache_disk_free_bytes", "Bytes free on the file system of the cache; absent while it does not say.", nil, nil)

// WatchDisk exports the free bytes of the cache's file system. free is called at each
// scrape, by one goroutine at a time; a scrape does not wait for one that hangs.
func (m *Metrics) WatchDisk(free func() (int64, error)) {
	m.registry.MustRegister(&diskCollector{free: free})
}

type diskCollector struct {
	free    func() (int64, error)
	reading sync.Mutex // held by the goroutine that calls free
}

// Describe implements prometheus.Collector.
func (c *diskCollector) Describe(out chan<- *prometheus.Desc) { out <- diskFree }

// Collect implements prometheus.Collector.
func (c *diskCollector) Collect(out chan<- prometheus.Metric) {
	if !c.reading.TryLock() {
		return
	}
	read := make(chan int64, 1)
	go func() {
		defer c.reading.Unlock()
		defer close(read)
		if free, err := c.free(); err == nil {
			read <- free
		}
	}()
	timeout := time.NewTimer(diskWithin)
	defer timeout.Stop()
	select {
	case free, ok := <-read:
		if ok {
			out <- prometheus.MustNewConstMetric(diskFree, prometheus.GaugeValue, float64(free))
		}
	case <-timeout.C:
	}
}
