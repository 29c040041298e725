// Package hubsim is a Docker Hub on loopback for tests, benchmarks and the
// demonstration: a registry that wants tokens, one scope each; a token service;
// a CDN on a second port that blobs are redirected to; a pull quota with its
// headers and both kinds of 429; faults on demand; and counters of all it did.
//
// It answers as Docker Hub is known to answer and not as a registry may: a
// manifest GET costs, a HEAD does not; a missing repository looks like a
// forbidden one; a link to the CDN expires, holds for one method and refuses
// an Authorization header.
//
// One thing is stricter than life. The CDN differs from the registry in its
// port only, and net/http lets Authorization follow a redirect to another port
// of the same host; a client must drop it by itself.
package hubsim
