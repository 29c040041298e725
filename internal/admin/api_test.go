package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"mirrord/internal/archive"
	"mirrord/internal/doctor"
	"mirrord/internal/notify"
)

// A cache is verified by one at a time: two would read the disk for nothing.
func TestOneVerificationAtATime(t *testing.T) {
	a := New(Options{Dir: t.TempDir()})
	a.verifying.Lock()
	defer a.verifying.Unlock()
	w := httptest.NewRecorder()
	stream(a.verify)(w, httptest.NewRequest(http.MethodPost, "/verify", nil))
	if w.Code != http.StatusConflict || !strings.Contains(w.Body.String(), "in progress already") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// The doctor works once at a time: two would ask the upstreams twice, and slow the disk.
func TestOneDoctorAtATime(t *testing.T) {
	a := New(Options{})
	a.opts.Doctor = func(context.Context, func(doctor.Check)) doctor.Served {
		w := httptest.NewRecorder()
		stream(a.doctor)(w, httptest.NewRequest(http.MethodPost, "/v1/doctor", nil))
		if w.Code != http.StatusConflict {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		return doctor.Served{}
	}
	for range 2 {
		w := httptest.NewRecorder()
		stream(a.doctor)(w, httptest.NewRequest(http.MethodPost, "/v1/doctor", nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"done":true`) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// Webhooks are tested once at a time: each request would open connections for ten seconds.
func TestOneTestOfWebhooksAtATime(t *testing.T) {
	a := New(Options{})
	status := 0
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		w := httptest.NewRecorder()
		stream(a.testWebhooks)(w, httptest.NewRequest(http.MethodPost, "/v1/notify/test", nil))
		status = w.Code
	}))
	defer receiver.Close()
	a.opts.Events = notify.New(notify.Options{Client: receiver.Client()})
	a.opts.Events.Set([]notify.Target{{Name: "ops", URL: receiver.URL}})
	for range 2 {
		w := httptest.NewRecorder()
		stream(a.testWebhooks)(w, httptest.NewRequest(http.MethodPost, "/v1/notify/test", nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"delivered":true`) || status != http.StatusConflict {
			t.Errorf("%d %s, meanwhile %d", w.Code, w.Body, status)
		}
	}
}

// A person reads all of what a mirror refuses with, also when it lists what is missing.
func TestLongRefusal(t *testing.T) {
	long := strings.Repeat("quay.io/organisation/application:v1: layer is missing; ", 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { writeError(w, badRequest(errors.New(long))) }))
	defer s.Close()
	_, err := NewClient(s.Listener.Addr().String(), "").Directory(t.Context())
	if err == nil || err.Error() != long {
		t.Errorf("got %v", err)
	}
}

// An archive that cannot be read is not a mirror that does not respond.
func TestUnreadableArchive(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, t.TempDir()+"\n")
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer s.Close()
	wrong := errors.New("input/output error")
	body := io.MultiReader(strings.NewReader("begins"), iotest.ErrReader(wrong))
	_, err := NewClient(s.Listener.Addr().String(), "").ImportArchive(t.Context(), nil, body, -1, func(archive.Summary) {})
	if err != wrong {
		t.Errorf("got %v", err)
	}
}

// Whoever is interrupted while the mirror works is not told that there is no mirror.
func TestInterruptedRequest(t *testing.T) {
	ctx, interrupt := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		interrupt(cause)
		<-r.Context().Done()
	}))
	defer s.Close()
	if _, err := NewClient(s.Listener.Addr().String(), "").Directory(ctx); !errors.Is(err, cause) || errors.Is(err, ErrNoMirror) {
		t.Errorf("got %v", err)
	}
}
