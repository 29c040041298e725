package oci

import (
	"errors"
	"fmt"
)

// Code is an error code of distribution-spec 1.1, or Unavailable.
type Code string

const (
	BlobUnknown     Code = "BLOB_UNKNOWN"
	DigestInvalid   Code = "DIGEST_INVALID"
	ManifestInvalid Code = "MANIFEST_INVALID"
	ManifestUnknown Code = "MANIFEST_UNKNOWN"
	NameInvalid     Code = "NAME_INVALID"
	NameUnknown     Code = "NAME_UNKNOWN"
	Denied          Code = "DENIED"
	Unsupported     Code = "UNSUPPORTED"
	TooManyRequests Code = "TOOMANYREQUESTS"
	// Unavailable is distribution's extension: the upstream did not answer, or
	// not with what it promised.
	Unavailable Code = "UNAVAILABLE"
)

// Error is what a Registry answers instead of content. Message is for a person
// and repeats no secret; Err wraps the causes.
type Error struct {
	Code    Code
	Message string
	Err     error
}

// Errorf makes an Error; causes given with %w are kept.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: err}
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of err: its own, TooManyRequests for a LimitError,
// and Unavailable for anything else.
func CodeOf(err error) Code {
	var limit *LimitError
	if errors.As(err, &limit) {
		return TooManyRequests
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Unavailable
}

// Temporary reports whether err tells of the upstream's state and not of what
// was asked for: then what is cached may be served instead.
func Temporary(err error) bool {
	if err == nil {
		return false
	}
	code := CodeOf(err)
	return code == Unavailable || code == TooManyRequests
}

// ErrNoReferrers says that an upstream has no referrers API, or does not know the
// subject. Clients then look under the tag that stands for it, as the section
// "Unavailable Referrers API" of distribution-spec 1.1 has it.
var ErrNoReferrers = errors.New("no referrers API")

// ErrParameter marks what is wrong with a query: no code of the spec says so.
var ErrParameter = errors.New("invalid query parameter")
