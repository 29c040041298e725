package status

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	maxProblems = 50
	maxMissing  = 10 // of those that are the client's mistake, which are not to drive out others
	problemTime = 24 * time.Hour
	maxError    = 300 // bytes
)

type problemKey struct {
	image
	cause *cause
}

// problems are the last ones, those of the same image and cause as one.
type problems struct {
	serious, missing *simplelru.LRU[problemKey, *Problem]
}

func newProblems() problems {
	return problems{newLRU[problemKey, *Problem](maxProblems), newLRU[problemKey, *Problem](maxMissing)}
}

// note notes that a request for i has failed.
func (p problems) note(i image, err error, now time.Time) {
	c := causeOf(err)
	if c == nil {
		return
	}
	among := p.serious
	if c.minor {
		among = p.missing
	}
	key := problemKey{i, c}
	known, ok := among.Get(key)
	if !ok {
		key.image = i.clone()
		known = &Problem{Upstream: key.upstream, Image: key.String(), Summary: c.summary, Advice: c.advice, Minor: c.minor}
		among.Add(key, known)
	}
	known.Count++
	known.Time, known.Error = now, oneLine(err.Error())
}

// list returns the problems of the last day, the latest first; the minor ones come last.
func (p problems) list(now time.Time) []Problem {
	all := []Problem{}
	for _, among := range []*simplelru.LRU[problemKey, *Problem]{p.serious, p.missing} {
		found := among.Values()
		slices.Reverse(found)
		for _, problem := range found {
			if now.Sub(problem.Time) < problemTime {
				all = append(all, *problem)
			}
		}
	}
	return all
}

// oneLine returns the beginning of the first line of text, as a terminal may show it.
func oneLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	return strings.ToValidUTF8(text[:min(len(text), maxError)], "")
}
