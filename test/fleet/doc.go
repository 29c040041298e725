// Package fleet tests several mirrors that share one bucket, in front of a simulated
// registry, each put together as the daemon does it.
package fleet
