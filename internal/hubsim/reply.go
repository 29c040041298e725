package hubsim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"
)

// Reply is a response as data. In its header and its body {registry} and {other} stand
// for the URLs of the two hosts, {host} for the address of the registry, {realm} for the
// URL of the token service, {repo} and {reference} for what was requested. The zero
// Reply stands for the response of Docker Hub.
type Reply struct {
	Status int
	Type   string // Content-Type; empty: application/json
	Header map[string]string
	Body   string
}

// or returns r, or docker when r is zero.
func (r Reply) or(docker Reply) Reply {
	if r.Status != 0 {
		return r
	}
	return docker
}

// failure returns an error in the format of the spec; detail may be nil.
func failure(status int, code, message string, detail any) Reply {
	raw, err := json.Marshal(wireErrors{[]wireError{{code, message, detail}}})
	if err != nil {
		panic(err) // the details are types of this package
	}
	return Reply{Status: status, Body: string(raw)}
}

// reply sends a Reply.
func (h *Hub) reply(a *response, r *http.Request, reply Reply) {
	words := h.words(r)
	a.Header().Set("Content-Type", cmp.Or(reply.Type, "application/json"))
	for name, value := range reply.Header {
		a.Header().Set(name, words.Replace(value))
	}
	a.text(reply.Status, []byte(words.Replace(reply.Body)))
}

// words replaces what a Reply has in braces.
func (h *Hub) words(r *http.Request) *strings.Replacer {
	t, _ := h.parseTarget(r.URL.Path)
	return strings.NewReplacer(
		"{registry}", h.registry.root(),
		"{other}", h.other.root(),
		"{host}", h.registry.public(),
		"{realm}", h.realm(),
		"{repo}", t.repo,
		"{reference}", t.reference,
	)
}
