// Package page is the status page: a status and its history for a person with a browser.
// It is one page from the binary that loads nothing from elsewhere, and that has all its
// figures without JavaScript, which only replaces them as they change.
package page

import (
	"bytes"
	"embed"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"mirrord/internal/status"
)

//go:embed page.html status.css status.js icon.svg
var files embed.FS

var pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "page.html"))

// Options of a Handler.
type Options struct {
	Status  func(*http.Request) status.Status // without names if they are not for who asks
	History func() status.History
	Socket  string // where all names are shown; empty: nowhere

	// Connect returns how clients connect to a mirror on the host by which the page was asked
	// for, as host:port or host; nil: nothing is known of them.
	Connect func(host string) Connect
}

// Connect is how clients connect to the mirror.
type Connect struct {
	Notes  []string // for all clients
	Blocks []Block
}

// Block is how one client is configured.
type Block struct {
	Client string
	Steps  []Step
}

// Step is code to copy, if any, after where it belongs.
type Step struct{ Text, Code string }

// assets are what the page loads.
var assets = []string{"status.css", "status.js", "icon.svg"}

// Patterns returns what of an http.ServeMux is for a Handler.
func Patterns() []string {
	patterns := []string{"GET /{$}"}
	for _, name := range assets {
		patterns = append(patterns, "GET /"+name)
	}
	return patterns
}

// Handler serves the page and what it loads. All that it shows may come from clients and
// upstreams: the template escapes it, and a browser runs nothing but status.js.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", o.serve)
	for _, name := range assets {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, name) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// view is what the template shows.
type view struct {
	Node           node
	Version        string
	Host, HostName string
	Loopback       bool // so that other machines cannot use them
	Socket         string
	Charts         []chart
	Figures        []figure
	Uses           []uses
	Connect        Connect
}

// uses is a table of the most pulled.
type uses struct {
	Node        node
	Path        string
	Title, Noun string
	Nothing     string // instead of rows
}

// figure is a row of the table of all figures: specs for its columns.
type figure struct {
	Name  string
	Specs []string
}

var figures = []figure{
	spread("Requests", "count requests"),
	spread("Hit ratio, of requests", "percent hits requests"),
	spread("Hit ratio, of bytes", "savedpercent bytes fetched"),
	spread("Failed", "count failed"),
	spread("Pulls saved", "count pulls_saved"),
	spread("Pulls spent", "count pulls_spent"),
	spread("Sent to clients", "bytes bytes"),
	spread("Fetched", "bytes fetched"),
	spread("Bandwidth saved", "saved bytes fetched"),
}

// spread applies a spec to each time.
func spread(name, spec string) figure {
	f := figure{Name: name}
	format, paths, _ := strings.Cut(spec, " ")
	for _, when := range []string{"today", "month", "since_start"} {
		f.Specs = append(f.Specs, format+" "+when+"."+strings.ReplaceAll(paths, " ", " "+when+"."))
	}
	return f
}

// hostRE is a host as people write it: it becomes a part of commands to copy.
var hostRE = regexp.MustCompile(`^[a-zA-Z0-9\[][a-zA-Z0-9.:\]_-]*$`)

func (o Options) serve(w http.ResponseWriter, r *http.Request) {
	if !hostRE.MatchString(r.Host) {
		http.Error(w, "ask for this page by a host name or an IP address", http.StatusBadRequest)
		return
	}
	page, err := o.render(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page)
}

func (o Options) render(r *http.Request) ([]byte, error) {
	s := o.Status(r)
	n, err := newNode(s)
	if err != nil {
		return nil, err
	}
	host := hostname(r.Host)
	v := view{
		Node: n, Version: s.Version, Host: r.Host, HostName: host, Loopback: isLoopback(host), Socket: o.Socket,
		Charts: charts(o.History(), s.Now), Figures: figures,
		Uses: []uses{
			{n, "images", "Images", "Image", "No image was pulled."},
			{n, "clients", "Clients", "Client", "No client is remembered; with status.clients: false none ever is."},
		},
	}
	if o.Connect != nil {
		v.Connect = o.Connect(r.Host)
	}
	var page bytes.Buffer
	err = pages.ExecuteTemplate(&page, "page", v)
	return page.Bytes(), err
}

func hostname(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && address.IsLoopback()
}
