// Package hubsim simulates Docker Hub on loopback, for tests, benchmarks and the
// demonstration: a registry that requires tokens with one scope each; a token
// service; a CDN on a second port to which blobs are redirected; a pull quota with
// its headers and both kinds of 429; injected faults; and counters of everything.
//
// It behaves like Docker Hub, not like any registry that follows the spec: a GET of
// a manifest counts as a pull, a HEAD does not; a missing repository looks like a
// forbidden one; a link to the CDN expires, is valid for one method and rejects an
// Authorization header.
//
// A Profile makes it behave like another registry.
//
// In one point it is stricter than Docker Hub. The CDN differs from the registry
// only in its port, and net/http forwards Authorization in a redirect to another
// port of the same host; a client must remove it itself.
package hubsim
