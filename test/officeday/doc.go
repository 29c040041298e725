// Package officeday has a simulation of two days of an office in front of a
// Docker Hub with a limit, for the figures of docs/quota.md.
package officeday
