// Package conformance tests the whole mirror against the pull and the content
// discovery sections of the OCI distribution spec. docs/conformance.md is the table of
// their requirements.
package conformance
