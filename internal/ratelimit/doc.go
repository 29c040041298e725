// Package ratelimit knows what upstreams allow and who may spend it: it reads
// the quota headers of every answer, turns a 429 into an error that says when to
// ask again and until then sends nothing that is known to fail, remembers
// budgets across restarts, and gives clients their shares.
package ratelimit
