package faultmatrix

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

const (
	layerSize = 8 << 20
	roundTrip = 50 * time.Millisecond // of each request to the hub
)

var layer = ocitest.Content(layerSize, 2)

// lazyClient is a client that reads parts of a layer which is not cached.
type lazyClient struct {
	*mirror
	layer []byte
	first time.Duration // time until its first part far from the beginning was complete
}

// request sends a request for the layer; the caller closes the body of the response.
func (c *lazyClient) request(method, ranges string) *http.Response {
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+mirrorAt+"/v2/"+repo+"/blobs/"+oci.FromBytes(c.layer).String(), nil)
	check(c.t, err)
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	resp, err := c.client.Do(req)
	check(c.t, err)
	return resp
}

// span returns a range in the notation of HTTP.
func span(begin, end int) string { return fmt.Sprintf("%d-%d", begin, end-1) }

// part requests one range and checks its bytes.
func (c *lazyClient) part(ranges string, begin, end int) {
	resp := c.request(http.MethodGet, "bytes="+ranges)
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusPartialContent || err != nil || !bytes.Equal(got, c.layer[begin:end]) {
		c.t.Errorf("range %s: %s, %d bytes, %v", ranges, resp.Status, len(got), err)
	}
}

// parts requests several ranges in one request and checks their bytes.
func (c *lazyClient) parts(spans ...[2]int) (via string) {
	var asked []string
	for _, s := range spans {
		asked = append(asked, span(s[0], s[1]))
	}
	resp := c.request(http.MethodGet, "bytes="+strings.Join(asked, ","))
	defer func() { _ = resp.Body.Close() }()
	_, parameters, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	check(c.t, err)
	parts := multipart.NewReader(resp.Body, parameters["boundary"])
	for _, s := range spans {
		part, err := parts.NextPart()
		check(c.t, err)
		got, err := io.ReadAll(part)
		if err != nil || !bytes.Equal(got, c.layer[s[0]:s[1]]) {
			c.t.Errorf("range %v: %d bytes, %v", s, len(got), err)
		}
	}
	return resp.Header.Get("X-Mirrord-Cache")
}

// chunk requests everything from begin on, and disconnects when it has read up to end,
// which is how containerd fetches a layer in parallel.
func (c *lazyClient) chunk(begin, end int) {
	resp := c.request(http.MethodGet, fmt.Sprintf("bytes=%d-", begin))
	defer func() { _ = resp.Body.Close() }()
	got := make([]byte, end-begin)
	if _, err := io.ReadFull(resp.Body, got); err != nil || !bytes.Equal(got, c.layer[begin:end]) {
		c.t.Errorf("from %d on: %v", begin, err)
	}
}

// inParallel runs do for each chunk of that size, so many at a time.
func inParallel(workers, size int, do func(begin, end int)) {
	queue := make(chan int)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for begin := range queue {
				do(begin, min(begin+size, layerSize))
			}
		})
	}
	for begin := 0; begin < layerSize; begin += size {
		queue <- begin
	}
	close(queue)
	all.Wait()
}

// timed measures how long the first far part takes.
func (c *lazyClient) timed(ask func()) {
	begun := time.Now()
	ask()
	c.first = time.Since(begun)
}

// lazyClients request ranges like the clients in docs/clients.md.
var lazyClients = map[string]func(*lazyClient){
	"stargz": func(c *lazyClient) {
		c.part("0-1", 0, 2)
		_ = c.request(http.MethodHead, "").Body.Close()
		c.timed(func() { c.part(span(layerSize-51, layerSize), layerSize-51, layerSize) })
		c.part(span(layerSize-200_000, layerSize-51), layerSize-200_000, layerSize-51)
		for i := range 40 {
			at := i * 7919 % 160 * 50_000
			c.parts([2]int{at, at + 50_000}, [2]int{at + 60_000, at + 70_000})
		}
	},
	"SOCI": func(c *lazyClient) {
		c.part("0-0", 0, 1)
		inParallel(4, 1<<20, func(begin, end int) { c.part(span(begin, end), begin, end) })
	},
	"containerd": func(c *lazyClient) {
		inParallel(4, 1<<20, c.chunk)
	},
	"podman": func(c *lazyClient) {
		c.timed(func() {
			via := c.parts([2]int{layerSize - 160_000, layerSize - 70_000}, [2]int{layerSize - 70_000, layerSize - 200})
			if via != string(oci.Pass) {
				c.t.Errorf("the first parts came via %s", via)
			}
		})
		var wanted [][2]int
		for at := 0; at < layerSize-10_000; at += 100_000 {
			wanted = append(wanted, [2]int{at, at + 10_000})
		}
		c.parts(wanted...)
	},
	"eighths": func(c *lazyClient) {
		inParallel(8, layerSize/8, func(begin, end int) { c.part(span(begin, end), begin, end) })
	},
	"the end": func(c *lazyClient) {
		c.timed(func() { c.part(span(layerSize-60_000, layerSize-1000), layerSize-60_000, layerSize-1000) })
	},
	"the very end": func(c *lazyClient) {
		c.timed(func() { c.part("-60000", layerSize-60_000, layerSize) })
	},
	"the end, late": func(c *lazyClient) {
		resp := c.request(http.MethodGet, "")
		_, err := io.CopyN(io.Discard, resp.Body, layerSize-400_000)
		check(c.t, err)
		c.timed(func() { c.part("-60000", layerSize-60_000, layerSize) })
		_ = resp.Body.Close()
	},
	"resumed": func(c *lazyClient) {
		c.part(fmt.Sprintf("%d-", layerSize/2), layerSize/2, layerSize)
		c.part(fmt.Sprintf("%d-%d", layerSize-100_000, layerSize), layerSize-100_000, layerSize) // as regclient does
	},
}

// No pattern of ranges makes a blob cost more than 1.2 times its size upstream, and a
// part far ahead takes only a round trip and the time for its bytes.
func TestLazyClients(t *testing.T) {
	for name, pull := range lazyClients {
		for _, rate := range []int64{1 << 20, 8 << 20} {
			for _, noRanges := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d MiB a second, no ranges %t", name, rate>>20, noRanges), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { tryLazyClient(t, pull, rate, noRanges) })
				})
			}
		}
	}
}

func tryLazyClient(t *testing.T, pull func(*lazyClient), rate int64, noRanges bool) {
	c := &lazyClient{mirror: newMirror(t, nil), layer: layer}
	c.hub.AddBlob(repo, layer)
	c.hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: rate, Latency: roundTrip, NoRanges: noRanges})
	c.mustGet(tagPath) // with a token and a connection
	c.hub.Reset()
	pull(c)
	if bound := 3*roundTrip + 200_000*time.Second/time.Duration(rate); c.first > bound && !noRanges {
		t.Errorf("the first part took %s, more than %s", c.first, bound)
	}
	<-time.After(fillTime)
	n := c.hub.Counters()
	if n.CDNBytes > layerSize*12/10 || n.CDNBytes < layerSize {
		t.Errorf("%d bytes for a layer of %d, in %d requests", n.CDNBytes, layerSize, n.CDNGETs)
	}
	if noRanges && n.CDNGETs > 2 {
		t.Errorf("%d requests to an upstream that ignores ranges", n.CDNGETs)
	}
	t.Logf("%.2f times the size in %d requests, the first part after %s", float64(n.CDNBytes)/layerSize, n.CDNGETs, c.first)
	c.checkCached()
}

// A layer that does not fit into the cache is read in parts, too, at the cost of their
// bytes and with one request for each, plus one to learn its size.
func TestPartsPastTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &lazyClient{mirror: newMirror(t, nil), layer: ocitest.Content(maxSize+layerSize, 3)}
		c.hub.AddBlob(repo, c.layer)
		c.hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 8 << 20})
		c.mustGet(tagPath)
		c.hub.Reset()
		size, asked := len(c.layer), 0
		for i := range 20 {
			begin := i * 7919 % 100 * 200_000
			c.part(span(begin, begin+50_000), begin, begin+50_000)
			asked += 50_000
		}
		c.part("-1000", size-1000, size)
		c.parts([2]int{0, 1000}, [2]int{20_000, 30_000}, [2]int{5 << 20, 6 << 20}, [2]int{7 << 20, 8 << 20})
		asked += 1000 + 30_000 + 2<<20
		n := c.hub.Counters()
		if most := asked + 3*200_000; n.CDNBytes > int64(most) || n.CDNGETs > 1+20+2+3 {
			t.Errorf("%d bytes in %d requests, for %d bytes", n.CDNBytes, n.CDNGETs, asked)
		}
		t.Logf("%d bytes in %d requests, for %d bytes", n.CDNBytes, n.CDNGETs, asked)
	})
}

// The end of a corrupt blob never completes for a client that resumes, also if the
// fill is right and only the separately fetched part is corrupt.
func TestWrongTail(t *testing.T) {
	flip := func(at int64) *int64 { return &at }
	for name, faults := range map[string][]hubsim.Fault{
		"wrong blob, before": {{Op: "cdn", Bandwidth: 8 << 20, FlipAt: flip(100)}},
		"wrong blob, behind": {{Op: "cdn", Bandwidth: 8 << 20, FlipAt: flip(layerSize - 100)}},
		"wrong part":         {{Op: "cdn", Bandwidth: 8 << 20, Times: 1}, {Op: "cdn", FlipAt: flip(layerSize - 100)}},
	} {
		for _, ranges := range []string{"bytes=%d-", "bytes=%d-8388608", "bytes=0-9,%d-"} {
			t.Run(name+", "+ranges, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c := &lazyClient{mirror: newMirror(t, nil), layer: layer}
					c.hub.AddBlob(repo, layer)
					for _, f := range faults {
						c.hub.Inject(f)
					}
					ctx, cancel := context.WithTimeout(t.Context(), clientTime)
					defer cancel()
					resp := c.request(http.MethodGet, fmt.Sprintf(ranges, layerSize-100_000))
					defer func() { _ = resp.Body.Close() }()
					got, err := io.ReadAll(resp.Body)
					if err == nil || int64(len(got)) >= resp.ContentLength || ctx.Err() != nil {
						t.Errorf("%s, %d of %d bytes, %v", resp.Status, len(got), resp.ContentLength, err)
					}
					<-time.After(fillTime)
					c.checkCached()
				})
			})
		}
	}
}
