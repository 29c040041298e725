package ratelimit

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// Only a GET of a manifest is a pull, whatever the name of the repository.
func TestIsPull(t *testing.T) {
	t.Parallel()
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, test := range []struct {
		method, path string
		want         bool
	}{
		{http.MethodGet, "/v2/library/alpine/manifests/3", true},
		{http.MethodGet, "/v2/library/alpine/manifests/" + digest, true},
		{http.MethodGet, "/root/v2/alpine/manifests/3", true},
		{http.MethodGet, "/v2/k8s/manifests/manifests/v1", true},
		{http.MethodGet, "/v2/blobs/manifests/blobs", true},
		{http.MethodHead, "/v2/library/alpine/manifests/3", false},
		{http.MethodGet, "/v2/k8s/manifests/app/blobs/" + digest, false},
		{http.MethodGet, "/v2/k8s/manifests/blobs/" + digest, false},
		{http.MethodGet, "/v2/k8s/manifests/tags/list", false},
		{http.MethodGet, "/v2/k8s/manifests/referrers/" + digest, false},
		{http.MethodGet, "/v2/manifests/blobs/" + digest, false},
		{http.MethodGet, "/v2/", false},
		{http.MethodGet, "/token", false},
		{http.MethodGet, "", false},
	} {
		req := httptest.NewRequest(test.method, "http://registry.example"+test.path, nil)
		if got := isPull(req); got != test.want {
			t.Errorf("%s %s is a pull: %v, want %v", test.method, test.path, got, test.want)
		}
	}
}

// Responses that arrive out of order neither begin a new window nor return pulls;
// the response to a request that was sent after the last of them does.
func TestReorderedReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := New("docker.io", "login", roundTripper(func(req *http.Request) (*http.Response, error) {
			delay, err := time.ParseDuration(req.URL.Query().Get("delay"))
			check(t, err)
			<-time.After(delay)
			h := header("Ratelimit-Limit", "100;w=21600", "Ratelimit-Remaining", req.URL.Query().Get("left")+";w=21600")
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: h}, nil
		}))
		ask := func(left int, delay time.Duration) {
			target := "http://h/v2/a/manifests/1?left=" + strconv.Itoa(left) + "&delay=" + delay.String()
			_ = try(t, tr, httptest.NewRequest(http.MethodHead, target, nil))
		}
		begun := time.Now()
		want := func(what string, left int, since time.Time) {
			t.Helper()
			if b := tr.Budget(); b.Remaining != left || !b.ResetBy.Equal(since.Add(6*time.Hour)) {
				t.Errorf("%s: %d left, reset by %s; want %d, %s", what, b.Remaining, b.ResetBy, left, since.Add(6*time.Hour))
			}
		}
		ask(80, 0)
		want("first", 80, begun)
		<-time.After(time.Hour)
		late := make(chan struct{})
		go func() {
			defer close(late)
			ask(79, time.Minute)
		}()
		<-time.After(time.Second)
		ask(70, 0)
		want("the later one first", 70, begun)
		<-late
		want("the earlier one last", 70, begun)
		go ask(69, time.Minute)
		<-time.After(time.Second)
		ask(70, 0)
		<-time.After(2 * time.Minute)
		want("fewer are believed at once", 69, begun)
		now := time.Now()
		ask(99, 0)
		want("a new window", 99, now)
	})
}
