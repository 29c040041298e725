package access

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/oci"
	"mirrord/internal/oci/ocitest"
)

const (
	week       = 7 * 24 * time.Hour
	imageType  = ocispec.MediaTypeImageManifest
	configType = ocispec.MediaTypeImageConfig
	layerType  = ocispec.MediaTypeImageLayerGzip
)

// artifact adds a manifest with a configuration and a layer of those types.
func artifact(t *testing.T, fake *ocitest.Fake, configType, config, layerType string, annotations string) oci.Ref {
	t.Helper()
	raw := fmt.Sprintf(`{"mediaType":%q,"config":{"mediaType":%q,"digest":%q},"layers":[{"mediaType":%q}],"annotations":{%s}}`,
		imageType, configType, fake.AddBlob(ocitest.Repo, []byte(config)), layerType, annotations)
	return ocitest.ManifestRef(t, fake.AddManifest(ocitest.Repo, "", imageType, []byte(raw)).String())
}

func createdAgo(ago time.Duration) string {
	return fmt.Sprintf(`{"created":%q}`, time.Now().Add(-ago).Format(time.RFC3339Nano))
}

func TestAge(t *testing.T) {
	const helmConfig, helmChart = "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	annotated := func(ago time.Duration) string {
		return fmt.Sprintf(`%q:%q`, ocispec.AnnotationCreated, time.Now().Add(-ago).Format(time.RFC3339))
	}
	synctest.Test(t, func(t *testing.T) {
		for name, test := range map[string]struct {
			config, content, layer, annotations string
			refusal                             string // empty: it is served
		}{
			"old":                {configType, createdAgo(week), layerType, "", ""},
			"young":              {configType, createdAgo(51 * time.Hour), layerType, "", "it is 2 days old (created 1999-12-29T21:00:00Z), and 7 days are required; it is allowed from 2000-01-05T21:00:00Z on"},
			"just built":         {configType, createdAgo(90 * time.Second), layerType, "", "it is 1m30s old"},
			"in the future":      {configType, createdAgo(-time.Hour), layerType, "", "its date is in the future (created 2000-01-01T01:00:00Z)"},
			"Docker's":           {"application/vnd.docker.container.image.v1+json", createdAgo(time.Hour), "application/vnd.docker.image.rootfs.diff.tar.gzip", "", "it is 1h0m0s old"},
			"odd configuration":  {"application/x-odd", createdAgo(time.Hour), layerType, "", "it is 1h0m0s old"},
			"no type":            {"", createdAgo(time.Hour), "", "", "it is 1h0m0s old"},
			"reproducible":       {configType, `{"created":"1970-01-01T00:00:00Z"}`, layerType, "", ""},
			"no date":            {configType, `{}`, layerType, "", ""},
			"no date but text":   {configType, `{"created":"yesterday"}`, layerType, "", ""},
			"no JSON":            {configType, `created`, layerType, "", ""},
			"large":              {configType, strings.Repeat(" ", maxConfigSize) + "{}", layerType, "", "too many to check"},
			"chart":              {helmConfig, createdAgo(time.Hour), helmChart, "", ""},
			"young chart":        {helmConfig, `{}`, helmChart, annotated(time.Hour), "it is 1h0m0s old"},
			"old chart":          {helmConfig, `{}`, helmChart, annotated(2 * week), ""},
			"signature":          {configType, createdAgo(time.Hour), signatureTypes[0], "", ""},
			"annotation and not": {configType, `{}`, layerType, annotated(time.Hour), ""},
			"bundle":             {ocispec.MediaTypeEmptyJSON, `{}`, "application/vnd.dev.sigstore.bundle.v0.3+json", annotated(time.Hour), ""},
		} {
			fake := new(ocitest.Fake)
			ref := artifact(t, fake, test.config, test.content, test.layer, test.annotations)
			err := NewAge(week).Check(t.Context(), fake, ref, "")
			if test.refusal == "" && err != nil || test.refusal != "" && (oci.CodeOf(err) != oci.Denied || !strings.Contains(fmt.Sprint(err), test.refusal)) {
				t.Errorf("%s: %v, want %q", name, err, test.refusal)
			}
		}
	})
}

// What is not an image of today's formats has no configuration with a date.
func TestAgeOfOthers(t *testing.T) {
	for _, test := range []struct {
		mediaType, raw string
		code           oci.Code
	}{
		{ocispec.MediaTypeImageIndex, `{"manifests":[],"annotations":{"org.opencontainers.image.created":"2999-01-01T00:00:00Z"}}`, ""},
		{oci.DockerSchema1, `{"fsLayers":[]}`, oci.Denied},
		{imageType, `{"layers":7}`, oci.Denied},
		{imageType, `{"config":{"digest":"sha256:1"}}`, oci.Denied},
		{"application/vnd.example+json", `{}`, ""},
	} {
		fake := new(ocitest.Fake)
		ref := ocitest.ManifestRef(t, fake.AddManifest(ocitest.Repo, "", test.mediaType, []byte(test.raw)).String())
		if err := NewAge(week).Check(t.Context(), fake, ref, ""); err == nil != (test.code == "") || err != nil && oci.CodeOf(err) != test.code {
			t.Errorf("%s: %v", test.raw, err)
		}
	}
}

// A configuration of unknown size is not read without end.
func TestAgeOfUnknownSize(t *testing.T) {
	fake := new(ocitest.Fake)
	ref := artifact(t, fake, configType, strings.Repeat(" ", maxConfigSize)+"{}", layerType, "")
	fake.HideSize()
	if err := NewAge(week).Check(t.Context(), fake, ref, ""); oci.CodeOf(err) != oci.Denied {
		t.Error(err)
	}
}

// A date is read once. A young image is served as soon as it is old enough, and a
// failure to read it is temporary.
func TestAgeIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := new(ocitest.Fake)
		ref := artifact(t, fake, configType, createdAgo(0), layerType, "")
		age := NewAge(week)
		fake.Fail(func(c ocitest.Call) error {
			if c.Reference == ref.Reference() {
				return nil
			}
			return oci.Errorf(oci.Unavailable, "down")
		})
		if err := age.Check(t.Context(), fake, ref, ""); !oci.Temporary(err) {
			t.Errorf("without the configuration: %v", err)
		}
		fake.Fail(nil)
		if err := age.Check(t.Context(), fake, ref, ""); oci.CodeOf(err) != oci.Denied {
			t.Errorf("young: %v", err)
		}
		fake.Fail(func(ocitest.Call) error { return oci.Errorf(oci.Unavailable, "down") })
		time.Sleep(week - time.Nanosecond)
		if err := age.Check(t.Context(), fake, ref, ""); oci.CodeOf(err) != oci.Denied {
			t.Errorf("almost old enough: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := age.Check(t.Context(), fake, ref, ""); err != nil {
			t.Errorf("old enough: %v", err)
		}
	})
}
