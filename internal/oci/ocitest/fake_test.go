package ocitest_test

import (
	"testing"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

func TestFake(t *testing.T) {
	ocitest.Run(t, func(_ *testing.T, fake *ocitest.Fake) oci.Registry { return fake })
}
