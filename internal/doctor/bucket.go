package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mirrord/internal/fleet/bucket"
)

// Bucket reads from the bucket of a fleet, and lists it; at names the bucket for a person.
// Nothing is written: whether the key may write is not checked. It takes ten seconds at
// most.
func Bucket(ctx context.Context, at string, b bucket.Bucket) Check {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	const what = "fleet bucket"
	sent := time.Now()
	err := read(ctx, b)
	switch {
	case err == nil:
		return Check{what, OK, fmt.Sprintf("%s can be read, and responds after %s", at, time.Since(sent).Round(time.Millisecond)), ""}
	case errors.Is(err, bucket.ErrDenied):
		return Check{what, Fail, at + ": " + err.Error(), "check access_key and its secret in fleet.s3; the key must be allowed to list the bucket and to read, write and delete objects"}
	}
	return Check{what, Fail, at + ": " + err.Error(), "check endpoint, bucket, region, path_style and ca_file in fleet.s3, and the way to the store; clients are served without it"}
}

// read asks for an object that is not there. That alone any web server would pass, so it
// lists that object, too.
func read(ctx context.Context, b bucket.Bucket) error {
	const key = "v1/doctor"
	object, err := b.Get(ctx, key, 0, "")
	if err == nil {
		return object.Body.Close()
	}
	if !errors.Is(err, bucket.ErrAbsent) {
		return err
	}
	for _, err := range b.List(ctx, key) {
		return err
	}
	return nil
}
