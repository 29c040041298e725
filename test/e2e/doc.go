// Package e2e pulls images through the real daemon with the clients that people
// use, those of Debian 12 and the newest. Docker Hub is a simulator in the
// test's process, so that what a pull costs upstream is an assertion.
package e2e
