package config

import (
	"fmt"
	"strings"
)

// Error is everything that is wrong with a configuration. A problem is one line: the
// place, what is wrong there, and what to write instead.
type Error struct {
	Problems []string
}

// Error returns one line for each problem.
func (e *Error) Error() string { return strings.Join(e.Problems, "\n") }

// place is where a setting was written.
type place struct {
	position string // file:line:column; empty outside files
	name     string // the key, variable or flag; empty where position is enough
}

func (p place) String() string {
	if p.position == "" || p.name == "" {
		return p.position + p.name
	}
	return p.position + ": " + p.name
}

// index returns the place of entry i of the list at p.
func (p place) index(i int) place {
	p.name = fmt.Sprintf("%s[%d]", p.name, i)
	return p
}

// sibling returns the place of entry i of the list to which the entry at p belongs.
func (p place) sibling(i int) place {
	p.name = p.name[:strings.LastIndexByte(p.name, '[')]
	return p.index(i)
}

// child returns the place of key in the mapping at p.
func (p place) child(key string) place {
	if p.name != "" {
		key = p.name + "." + key
	}
	p.name = key
	return p
}
