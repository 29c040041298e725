// Package ratelimit knows what an upstream allows: it reads the quota headers
// of every answer and turns a 429 into an error that says when to ask again.
package ratelimit
