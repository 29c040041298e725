package config

import (
	"testing"
	"time"
)

func TestBandwidthAt(t *testing.T) {
	limits := []Bandwidth{
		{Limit: 1, From: "08:00", To: "18:00", Days: "mon-fri"},
		{Limit: 2, From: "22:00", To: "06:00", Days: "sat,fri"}, // ends on the next day
		{Limit: 3, Days: "sat-sun"},
		{Limit: 4, From: "20:00"},
	}
	for at, want := range map[string]int64{
		"Mon 07:59": 0, "Mon 08:00": 1, "Fri 17:59": 1, "Fri 18:00": 0, "Fri 20:00": 4, "Fri 22:00": 2, "Sat 05:59": 2, "Sat 06:00": 3,
		"Sat 08:30": 3, "Sun 05:00": 2, "Sun 06:00": 3, "Mon 05:00": 0, "Thu 23:59": 4,
	} {
		now, err := time.Parse("2006-01-02 Mon 15:04", dates[at[:3]]+" "+at)
		if err != nil {
			t.Fatal(err)
		}
		if got := BandwidthAt(limits, now); got != want {
			t.Errorf("%s: %d, want %d", at, got, want)
		}
	}
	if got := BandwidthAt(nil, time.Now()); got != 0 {
		t.Errorf("without limits: %d", got)
	}
}

var dates = map[string]string{
	"Mon": "2026-11-23", "Thu": "2026-11-26", "Fri": "2026-11-27", "Sat": "2026-11-28", "Sun": "2026-11-29",
}
