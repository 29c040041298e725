// Package fleetsim simulates fleets of 10, 100 and 1,000 mirrors, each put together as the
// daemon does it, whose clients all pull one new image at the same time, for the figures in
// docs/fleet.md. Time is virtual; sizes and bandwidths are those of scale_test.go.
package fleetsim
