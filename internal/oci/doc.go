// Package oci is the vocabulary of the mirror: references, digests,
// descriptors, content, the errors of the distribution spec, and Registry, the
// one noun that every layer implements or wraps.
package oci
