// Package faultmatrix holds the mirror against every fault of an upstream in
// every state of its cache: what the client sees, what is kept after, and what
// the upstream was asked.
package faultmatrix
