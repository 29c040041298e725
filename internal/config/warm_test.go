package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWarmLists(t *testing.T) {
	c, err := read([]byte(`warm:
  lists:
    - {name: base, file: /etc/mirrord/base.txt, schedule: 0 5 * * 1-5, time_zone: Europe/Berlin, platforms: [linux/amd64, linux/arm64], max_pulls: 50}
    - {name: ci, images: alpine:3, schedule: '@hourly'}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []WarmList{
		{Name: "base", File: "/etc/mirrord/base.txt", Schedule: "0 5 * * 1-5", TimeZone: "Europe/Berlin", Platforms: []string{"linux/amd64", "linux/arm64"}, MaxPulls: 50},
		{Name: "ci", Images: []string{"alpine:3"}, Schedule: "@hourly"},
	}
	if diff := cmp.Diff(want, c.Warm.Lists); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	roundTrip(t, c)
	c, err = load(t, "", nil, "--warm-list=name=base,file=/l,schedule=0 5 * * *,max-pulls=7")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]WarmList{{Name: "base", File: "/l", Schedule: "0 5 * * *", MaxPulls: 7}}, c.Warm.Lists); diff != "" {
		t.Errorf("of a flag (-want +got):\n%s", diff)
	}
}

func TestWarmListProblems(t *testing.T) {
	for _, test := range []struct{ list, want string }{
		{"{file: /l, schedule: '@daily'}", `mirrord.yaml:1:16: warm.lists[0]: has no name; write one, such as base-images`},
		{"{name: a b, file: /l, schedule: '@daily'}", `mirrord.yaml:1:23: warm.lists[0].name: "a b" is not a name of a list; write letters, digits, dots and dashes, such as base-images`},
		{"{name: a, file: /l}", `mirrord.yaml:1:16: warm.lists[0]: has no schedule; write when it is warmed, such as 0 5 * * 1-5`},
		{"{name: a, schedule: '@daily'}", `mirrord.yaml:1:16: warm.lists[0]: must have one of file and images; write one of them`},
		{"{name: a, file: /l, images: [a], schedule: '@daily'}", `mirrord.yaml:1:16: warm.lists[0]: must have one of file and images; write one of them`},
		{"{name: a, file: /l, schedule: '@daily', max_pulls: 0}", `mirrord.yaml:1:67: warm.lists[0].max_pulls: "0" is not a number of pulls, 1 or more; write for example 50, or leave it out`},
		{"{name: a, file: /l, schedule: '@daily', time_zone: CEST}", `mirrord.yaml:1:16: warm.lists[0]: "CEST" is not a time zone; write for example Europe/Berlin or UTC, or leave it out for that of this host`},
		{"{name: a, file: /l, schedule: 61 5 * * *}", `mirrord.yaml:1:16: warm.lists[0]: "61 5 * * *" is not a schedule: end of range (61) above maximum (59): "61"; write minute, hour, day, month and day of the week, such as 0 5 * * 1-5 for 5:00 on working days, or @daily`},
		{"{name: a, file: /l, schedule: '@daily'}, {name: a, file: /m, schedule: '@daily'}", `mirrord.yaml:1:57: warm.lists[1]: has the name a, which warm.lists[0] already uses; give each a unique name`},
	} {
		_, err := load(t, "warm: {lists: ["+test.list+"]}\n", nil)
		wantProblems(t, err, test.want)
	}
	var many strings.Builder
	for i := range 102 {
		fmt.Fprintf(&many, "{name: l%d, file: /l, schedule: '@daily'}, ", i)
	}
	_, err := load(t, "warm: {lists: ["+many.String()+"]}\n", nil)
	if err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.Contains(err.Error(), "one more than the 100 lists") {
		t.Errorf("%v", err)
	}
}
