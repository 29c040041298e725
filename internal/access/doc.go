// Package access decides who may pull what. The identity of a client is found out
// before a request is routed, and left in its context; a Filter refuses what the rules
// deny.
package access
