package config

import (
	"fmt"
	"regexp"
	"strings"

	"mirrord/internal/schedule"
)

const warmListsKey = "warm.lists"

// maxWarmLists bounds the lists, whose names are labels of metrics.
const maxWarmLists = 100

// WarmList is a list of images that are warmed by a schedule.
type WarmList struct {
	Name      string   // unique
	File      string   // path; empty: Images
	Images    []string // as clients write them; empty: File
	Schedule  string   // as schedule.Parse accepts it
	TimeZone  string   // of the tz database; empty: that of this host
	Platforms []string // empty: that of this host
	MaxPulls  int      // of one run; 0: no limit but those of the upstreams
}

var warmLists = list[WarmList]{
	table: table[WarmList]{
		scalar("name", parseListName, func(w *WarmList) *string { return &w.Name }).
			required("has no name; write one, such as base-images"),
		scalar("file", parsePath, func(w *WarmList) *string { return &w.File }),
		words("images", parseText, func(w *WarmList) *[]string { return &w.Images }),
		scalar("schedule", parseText, func(w *WarmList) *string { return &w.Schedule }).
			required("has no schedule; write when it is warmed, such as 0 5 * * 1-5"),
		scalar("time_zone", parseText, func(w *WarmList) *string { return &w.TimeZone }),
		words("platforms", parseText, func(w *WarmList) *[]string { return &w.Platforms }),
		scalar("max_pulls", parsePulls, func(w *WarmList) *limit { return (*limit)(&w.MaxPulls) }),
	},
	check: checkWarmList,
}

// checkWarmList checks the last list.
func checkWarmList(l *loader, at place, lists []WarmList) {
	w := lists[len(lists)-1]
	if (w.File == "") == (len(w.Images) == 0) {
		l.problem(at, "must have one of file and images; write one of them")
	}
	if _, err := schedule.Parse(w.Schedule, w.TimeZone); err != nil {
		l.problem(at, "%v", err)
	}
	for i, other := range lists[:len(lists)-1] {
		if other.Name == w.Name {
			l.problem(at, "has the name %s, which %s already uses; give each a unique name", w.Name, at.sibling(i).name)
		}
	}
	if len(lists) == maxWarmLists+1 {
		l.problem(at, "is one more than the %d lists that there may be; join some", maxWarmLists)
	}
}

var listNameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func parseListName(s string) (string, error) {
	if !listNameRE.MatchString(s) {
		return "", fmt.Errorf("%.80q is not a name of a list; write letters, digits, dots and dashes, such as base-images", s)
	}
	return s, nil
}

func parsePulls(s string) (limit, error) {
	n, ok := number(s)
	if !ok || n == 0 {
		return 0, fmt.Errorf("%.80q is not a number of pulls, 1 or more; write for example 50, or leave it out", strings.TrimSpace(s))
	}
	return limit(n), nil
}
