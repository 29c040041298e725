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
	Unauthorized    Code = "UNAUTHORIZED"
	Denied          Code = "DENIED"
	Unsupported     Code = "UNSUPPORTED"
	TooManyRequests Code = "TOOMANYREQUESTS"
	// Unavailable is an extension of distribution: the upstream did not respond,
	// or its response was not usable.
	Unavailable Code = "UNAVAILABLE"
)

// Error is the error of a Registry with its code. Message is for people and
// contains no secret; Err wraps the causes.
type Error struct {
	Code    Code
	Message string
	Err     error
}

// Errorf returns an Error; it wraps the causes given with %w.
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

// Temporary reports whether err is about the state of the upstream and not about
// the requested content. Then cached content may be served instead.
func Temporary(err error) bool {
	if err == nil {
		return false
	}
	var limit *LimitError
	if errors.As(err, &limit) && limit.Kind == LimitLogins {
		return false
	}
	code := CodeOf(err)
	return code == Unavailable || code == TooManyRequests
}

// ErrNoReferrers says that an upstream has no referrers API, or does not know the
// subject. Clients then fall back to the referrers tag, see "Unavailable
// Referrers API" in distribution-spec 1.1.
var ErrNoReferrers = errors.New("no referrers API")

// ErrLogin says that an upstream refuses the mirror's login, or that the login cannot be
// read: another one may work.
var ErrLogin = errors.New("the login failed")

// ErrOffline says that the mirror is not to ask its upstreams.
var ErrOffline = errors.New("the mirror is offline")

// ErrParameter marks an invalid query, for which the spec has no error code.
var ErrParameter = errors.New("invalid query parameter")

// IsUnknown reports whether err says that the registry does not have what was asked
// for.
func IsUnknown(err error) bool {
	switch CodeOf(err) {
	case ManifestUnknown, BlobUnknown, NameUnknown:
		return true
	}
	return false
}
