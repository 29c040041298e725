package config

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sampleFile(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSample(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A sample changes nothing as it stands, nor with every comment removed.
func TestSampleHasTheDefaults(t *testing.T) {
	sample := sampleFile(t)
	want, err := read(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(sample)
	if err != nil {
		t.Fatalf("%v\n%s", err, sample)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the sample sets (-default +sample):\n%s", diff)
	}

	sample = regexp.MustCompile(`(?m)^ *#\w+: [A-Z]+$`).ReplaceAll(sample, nil) // has no default
	all := regexp.MustCompile(`(?m)^( *)#([^ ].*|  .*)$`).ReplaceAll(sample, []byte("$1$2"))
	got, err = read(all)
	if err != nil {
		t.Fatalf("%v\n%s", err, all)
	}
	want.Cache.DirSet, want.ListenSet, want.Admin.ListenSet = true, true, true
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the sample without comments sets (-default +sample):\n%s", diff)
	}
}

func TestSampleHasEverySetting(t *testing.T) {
	sample := string(sampleFile(t))
	for _, s := range settings {
		if !strings.Contains(sample, "#"+leaf(s.key)+":") {
			t.Errorf("the sample lacks %s", s.key)
		}
	}
	if long := regexp.MustCompile(`(?m)^.{93,}$`).FindString(sample); long != "" {
		t.Errorf("a line of the sample is long: %s", long)
	}
}
