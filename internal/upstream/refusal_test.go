package upstream

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func refusalOf(method, contentType, body string, header ...string) *refusal {
	resp := &http.Response{
		StatusCode: 404, Status: "404 Not Found", Header: make(http.Header), Body: io.NopCloser(strings.NewReader(body)),
		Request: httptest.NewRequest(method, "https://registry.example/v2/a/manifests/b", nil),
	}
	if contentType != "" {
		resp.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		resp.Header.Set(header[i], header[i+1])
	}
	return readRefusal(resp)
}

// What registries send is their word, what filters and ingresses send is not.
func TestIsAuthoritative(t *testing.T) {
	t.Parallel()
	const spec, text, page = `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}`, "text/plain; charset=utf-8", "text/html; charset=utf-8"
	const get, head = http.MethodGet, http.MethodHead
	for name, test := range map[string]struct {
		refused *refusal
		word    bool
		page    bool
	}{
		"distribution":              {refusalOf(get, "application/json; charset=utf-8", spec, version...), true, false},
		"ggcr, as text":             {refusalOf(get, text, spec), true, false},
		"as a page":                 {refusalOf(get, page, spec), true, false},
		"zot, a bare error":         {refusalOf(get, "application/json", `{"code":"UNAUTHORIZED","message":"no"}`), true, false},
		"artifactory, no code":      {refusalOf(get, "application/json", `{"errors":[{"status":404,"message":"no"}]}`), true, false},
		"harbor's own code":         {refusalOf(get, "application/json", `{"errors":[{"code":"NOT_FOUND","message":"no"}]}`), true, false},
		"large detail":              {refusalOf(get, "", `{"errors":[{"code":"X","detail":"`+strings.Repeat("x", 20<<10)+`"}]}`), true, false},
		"empty, a registry's":       {refusalOf(get, "", "", version...), true, false},
		"empty":                     {refusalOf(get, "", ""), false, false},
		"gitlab, switched off":      {refusalOf(get, "application/json", `{"errors":[{"code":"UNAVAILABLE"}]}`), false, false},
		"nginx":                     {refusalOf(get, page, "<html><h1>404 Not Found</h1>"), false, true},
		"nginx, with header always": {refusalOf(get, page, "<html><h1>404 Not Found</h1>", version...), false, true},
		"page without a type":       {refusalOf(get, "", " \n<!doctype html>"), false, true},
		"azure's xml":               {refusalOf(get, "application/xml", `<?xml version="1.0"?><Error>`), false, false},
		"no route":                  {refusalOf(get, text, "404 page not found\n"), false, false},
		"kubernetes ingress":        {refusalOf(get, text, "default backend - 404"), false, false},
		"kubernetes api":            {refusalOf(get, "application/json", `{"kind":"Status","code":404}`), false, false},
		"an api gateway":            {refusalOf(get, "application/json", `{"message":"Forbidden"}`), false, false},
		"no errors":                 {refusalOf(get, "application/json", `{"errors":[]}`), false, false},
		"errors of nothing":         {refusalOf(get, "application/json", `{"errors":[{}]}`), false, false},
		"no json":                   {refusalOf(get, "application/json", `{"errors":`), false, false},
		"head, json":                {refusalOf(head, "application/json", ""), false, false},
		"head, a registry's":        {refusalOf(head, "", "", version...), true, false},
		"head, page":                {refusalOf(head, page, "", version...), false, true},
		"head, text":                {refusalOf(head, text, ""), false, false},
		"head, nothing":             {refusalOf(head, "", ""), false, false},
	} {
		if test.refused.authoritative != test.word || test.refused.html != test.page {
			t.Errorf("%s: word %v, page %v; want %v, %v", name, test.refused.authoritative, test.refused.html, test.word, test.page)
		}
	}
}

// What a request was let in with is not repeated, in whatever form a refusal
// tells it.
func TestRefusalContainsNoSecret(t *testing.T) {
	t.Parallel()
	login := httptest.NewRequest(http.MethodGet, "https://auth.example/token", nil)
	login.SetBasicAuth("bob", "pa$$")
	form := strings.NewReader(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"identity+secret"}}.Encode())
	exchange, err := http.NewRequest(http.MethodPost, "https://auth.example/token", form)
	check(t, err)
	_, encoded, _ := strings.Cut(login.Header.Get("Authorization"), " ")
	for secret, req := range map[string]*http.Request{"pa$$": login, encoded: login, "identity+secret": exchange} {
		body := `{"errors":[{"code":"DENIED","message":"bob may not enter with ` + secret + `"}]}`
		refused := readRefusal(&http.Response{StatusCode: 403, Body: io.NopCloser(strings.NewReader(body)), Request: req})
		if refused.message != ": DENIED bob may not enter with …" {
			t.Errorf("%s is told as %q", secret, refused.message)
		}
	}
}

// However a refusal reads, what is told of it is one short line, and a page is
// never a word.
func FuzzReadRefusal(f *testing.F) {
	for _, body := range []string{"", `{"errors":[{"code":"A","message":"b\nc"}]}`, `{"code":"A"}`, `{"errors":{}}`, `{"errors":[{"code":[]}]}`, "<html>", "\x00\xff"} {
		f.Add(true, "application/json", body)
		f.Add(false, "text/html", body)
	}
	f.Fuzz(func(t *testing.T, head bool, contentType, body string) {
		method := http.MethodGet
		if head {
			method = http.MethodHead
		}
		refused := refusalOf(method, contentType, body)
		if refused.html && refused.authoritative {
			t.Error("a page is a word")
		}
		if len(refused.message) > maxMessage+len(": …") || strings.ContainsAny(refused.message, "\n\r\x00") {
			t.Errorf("told as %q", refused.message)
		}
	})
}
