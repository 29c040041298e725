// Package oci is the vocabulary of the mirror: references, digests,
// descriptors, content, the errors of the distribution spec, and Registry, the
// interface that every layer implements and wraps.
package oci
