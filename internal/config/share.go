package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Share is a part of a whole: a percentage of it, or a fixed number. At most one of
// the two is not 0.
type Share struct {
	Percent int // 0 to 100
	Number  int // 0 or more
}

// Of returns the share of whole, which is 0 or more. A percentage is rounded up;
// Number is returned as it is, even if whole is less.
func (s Share) Of(whole int) int {
	if s.Percent == 0 {
		return s.Number
	}
	return whole/100*s.Percent + (whole%100*s.Percent+99)/100
}

// String returns the text that parseShare parses back to s.
func (s Share) String() string {
	if s.Percent == 0 {
		return strconv.Itoa(s.Number)
	}
	return strconv.Itoa(s.Percent) + "%"
}

// parseShare accepts 0% to 100%, or a number.
func parseShare(s string) (Share, error) {
	text, percent := strings.CutSuffix(s, "%")
	n, ok := number(text)
	switch {
	case !ok:
		return Share{}, fmt.Errorf("%q is neither a percentage nor a number; write for example 10%% or 20", s)
	case !percent:
		return Share{Number: n}, nil
	case n > 100:
		return Share{}, fmt.Errorf("%q is more than 100%%; write 0%% to 100%%", s)
	}
	return Share{Percent: n}, nil
}
