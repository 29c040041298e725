package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/minio/minio-go/v7"

	"mirrord/internal/fleet/bucket"
)

// translate returns err as an error of a Bucket, with what the store said; nil for nil.
func translate(what, key string, err error) error {
	if err == nil {
		return nil
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err // without the URL, of which the key is enough
	}
	var told minio.ErrorResponse
	if !errors.As(err, &told) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", what, key, err)
	}
	if known := meaning(told); known != nil {
		return fmt.Errorf("%s %s: %w (%s)", what, key, known, clip(told.Code))
	}
	if told.Message == "" {
		return fmt.Errorf("%s %s: the object store says %s", what, key, clip(told.Code))
	}
	return fmt.Errorf("%s %s: the object store says %s: %s", what, key, clip(told.Code), clip(told.Message))
}

const maxSaid = 300 // characters of what a store says that an error has

// clip returns what a store says as an error may have it: printable, and not all of it if
// it is long.
func clip(said string) string {
	said = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, said[:min(len(said), 4*maxSaid)])
	all := []rune(said)
	return string(all[:min(len(all), maxSaid)])
}

// translateWrite is translate for a write with a condition. Where an object must be as it
// was and there is none, Amazon says NoSuchKey.
func translateWrite(what, key string, err error) error {
	err = translate(what, key, err)
	if errors.Is(err, bucket.ErrAbsent) {
		return fmt.Errorf("%s %s: %w", what, key, bucket.ErrPrecondition)
	}
	return err
}

// meaning is what an error of the store means, by its code and else by its status; nil
// when neither is known.
func meaning(e minio.ErrorResponse) error {
	switch e.Code {
	case minio.NoSuchBucket, minio.NoSuchUpload:
		return nil // not that an object is absent
	case minio.NoSuchKey:
		return bucket.ErrAbsent
	case "XAdminUserNotFound": // versitygw, of an unknown access key, with 404
		return bucket.ErrDenied
	case minio.PreconditionFailed, "InvalidRange":
		return bucket.ErrPrecondition
	case "ConditionalRequestConflict", "OperationAborted":
		return bucket.ErrConflict
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "TooManyRequests":
		return bucket.ErrSlow
	case "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "EntityTooLarge":
		return bucket.ErrFull
	case "NotImplemented":
		return bucket.ErrUnsupported
	}
	switch e.StatusCode { // 404 with another code is not of the object
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		return bucket.ErrPrecondition
	case http.StatusConflict:
		return bucket.ErrConflict
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return bucket.ErrSlow
	case http.StatusUnauthorized, http.StatusForbidden:
		return bucket.ErrDenied
	case http.StatusInsufficientStorage:
		return bucket.ErrFull
	case http.StatusNotImplemented:
		return bucket.ErrUnsupported
	}
	return nil
}
