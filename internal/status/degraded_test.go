package status

import (
	"errors"
	"testing"

	"mirrord/internal/health"
)

// What fails now comes first, with advice for each component.
func TestDegrade(t *testing.T) {
	r, _ := newTest(noon)
	r.Note(failing(manifest("1"), errors.New("down")))
	s := statusOf(r)
	s.Fail("docker.io", 2)
	for _, c := range []health.Component{health.Disk, health.Fleet, health.Bucket, health.Index} {
		s.Degrade(string(c), errors.New("no space left"))
		if p := s.Errors[0]; !p.Ongoing || p.Advice == "" || p.Error != string(c)+": no space left" || s.Degraded[string(c)] != "no space left" {
			t.Errorf("%+v", p)
		}
	}
	if s.Failing["docker.io"] != 2 || len(s.Errors) != 6 || s.Errors[5].Image == "" {
		t.Errorf("%+v", s)
	}
	s.Withhold()
	if s.Errors[0].Error != "index: no space left" {
		t.Errorf("%+v", s.Errors[0])
	}
}
