// Package faultmatrix tests the mirror with every fault of an upstream in every
// state of the cache: what the client sees, what is cached afterwards, and which
// requests the upstream gets.
package faultmatrix
