// Package private tests that what an upstream shows to the mirror's login only is not
// shown to clients that may not have it: the tests try to get at private content in every
// way in which the cache serves content by digest.
package private
