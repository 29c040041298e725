package fleetsim

import "time"

// Sizes and bandwidths are a four-hundredth of real ones, so that times are real: the image
// stands for one of 530 MB, with a layer of 419 MB and nine of 12 MB.
const (
	scale = 400

	layers      = 9
	layerSize   = 30 << 10
	largeLayer  = 1 << 20
	configSize  = 1 << 10
	parallel    = 3 // layers that a client pulls at once, as containerd does
	arrivalTime = time.Second

	upstreamLatency = 50 * time.Millisecond // of each request
	upstreamSpeed   = 50e6 / scale          // bytes a second, of one connection
	siteSpeed       = 125e6 / scale         // of all mirrors together from the upstream
	nodeSpeed       = 1250e6 / scale        // of one mirror, in each direction

	storeLatency = 20 * time.Millisecond // of each request
	storeSpeed   = 90e6 / scale          // of one connection
	storeReads   = 5500                  // a second of a prefix, beyond which the store responds with 503
	storeWrites  = 3500
)
