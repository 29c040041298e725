package oci_test

import (
	"strings"
	"testing"

	"mirrord/internal/oci"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseRepository(t *testing.T) {
	for _, test := range []struct{ upstream, name, want string }{
		{oci.DockerHub, "alpine", "library/alpine"},
		{oci.DockerHub, "library/alpine", "library/alpine"},
		{oci.DockerHub, "a/b/c", "a/b/c"},
		{"quay.io", "alpine", "alpine"},
		{"quay.io", "a.b__c-d---e/f", "a.b__c-d---e/f"},
		{"quay.io", "", ""},
		{"quay.io", "Alpine", ""},
		{"quay.io", "a//b", ""},
		{"quay.io", "/a", ""},
		{"quay.io", "a/", ""},
		{"quay.io", "a..b", ""},
		{"quay.io", "../etc", ""},
		{"quay.io", "a%2fb", ""},
		{"quay.io", "a\x00b", ""},
		{"quay.io", strings.Repeat("a", 256), ""},
		{oci.DockerHub, strings.Repeat("a", 248), ""},
		{oci.DockerHub, "", ""},
	} {
		got, err := oci.ParseRepository(test.upstream, test.name)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s %q: %q, %v, want %q", test.upstream, test.name, got, err, test.want)
		}
		if err != nil && oci.CodeOf(err) != oci.NameInvalid {
			t.Errorf("%q: code %s", test.name, oci.CodeOf(err))
		}
	}
}

func TestParseManifest(t *testing.T) {
	for _, test := range []struct {
		reference, want string
		code            oci.Code
	}{
		{"latest", "docker.io/library/alpine:latest", ""},
		{someDigest, "docker.io/library/alpine@" + someDigest, ""},
		{"sha256:short", "", oci.DigestInvalid},
		{"md5:d41d8cd98f00b204e9800998ecf8427e", "", oci.DigestInvalid},
		{"", "", oci.ManifestUnknown},
		{".hidden", "", oci.ManifestUnknown},
		{"a/b", "", oci.ManifestUnknown},
		{strings.Repeat("a", 129), "", oci.ManifestUnknown},
	} {
		ref, err := oci.ParseManifest(oci.DockerHub, "alpine", test.reference)
		switch {
		case test.code == "" && (err != nil || ref.String() != test.want || ref.Reference() != test.reference):
			t.Errorf("%q: %s, %v, want %s", test.reference, ref, err, test.want)
		case test.code != "" && (err == nil || oci.CodeOf(err) != test.code):
			t.Errorf("%q: %v, want code %s", test.reference, err, test.code)
		}
	}
}

func TestAt(t *testing.T) {
	tag, err := oci.ParseManifest(oci.DockerHub, "alpine", "3")
	if err != nil {
		t.Fatal(err)
	}
	want, err := oci.ParseManifest(oci.DockerHub, "alpine", someDigest)
	if err != nil {
		t.Fatal(err)
	}
	if got := tag.At(someDigest); got != want || !got.ByDigest() || tag.ByDigest() {
		t.Errorf("%s at a digest is %s", tag, got)
	}
}

// An error repeats only so much of the client input.
func TestErrorsAreBounded(t *testing.T) {
	_, err := oci.ParseManifest(oci.DockerHub, "alpine", strings.Repeat("a", 1<<20))
	if len(err.Error()) > 300 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}
