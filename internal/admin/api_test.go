package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
