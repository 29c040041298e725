// Package officeday simulates two days of an office in front of a Docker Hub with a
// pull limit, for the figures in docs/quota.md.
package officeday
