// Package registries tests the mirror in front of every profile of internal/hubsim:
// pulls, refusals, limits and lists, as its clients see them.
package registries
