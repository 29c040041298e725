// Package ratelimit keeps to the limits of upstreams and shares them between
// clients. It reads the quota headers of every response, turns a 429 into an error
// with the time of the next attempt and sends nothing before that is known to
// fail, remembers budgets across restarts, and gives each client its share: of the
// pulls, of the requests, of the connections and of the line.
package ratelimit
