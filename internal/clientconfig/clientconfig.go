// Package clientconfig writes what clients need to pull through a mirror: the files of
// their configuration, for people to copy, and on this host.
package clientconfig

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Mirror is what a client has to know of a mirror.
type Mirror struct {
	URL       string   // http or https, host and port, as the client reaches it
	Upstreams []string // by name, the one first that a request is for which names none
	OwnCA     bool     // its certificate may be of a CA that clients have to be told of
}

// host is the host and port.
func (m Mirror) host() string { return m.URL[strings.Index(m.URL, "//")+2:] }

// plain reports whether the mirror speaks HTTP without TLS.
func (m Mirror) plain() bool { return strings.HasPrefix(m.URL, "http://") }

// Config is how one client is configured.
type Config struct {
	Client string   `json:"client"`       // as in Clients
	CA     string   `json:"ca,omitempty"` // where the certificate of the mirror's CA belongs, unless that is a public one
	Dir    string   `json:"dir"`          // of the files, where the client looks for them
	Files  []File   `json:"files"`
	Apply  string   `json:"apply,omitempty"` // a command, or what to do in words; empty: nothing
	Notes  []string `json:"notes,omitempty"`
}

// File is a file of a client's configuration.
type File struct {
	Path string `json:"path"` // below Dir
	Text string `json:"text"`

	// Shared says that the file has other settings too: Text is a JSON object that is
	// merged into what is there.
	Shared bool `json:"shared,omitempty"`
	// Excerpt says that Text belongs into a file that has other settings too, by hand.
	Excerpt bool `json:"excerpt,omitempty"`
}

// client makes the Config of one.
type client struct {
	name   string
	config func(m Mirror) Config
}

var clients = []client{
	{"docker", docker},
	{"containerd", containerd},
	{"podman", podman},
	{"cri-o", crio},
	{"k3s", func(m Mirror) Config { return rancher(m, "k3s", "sudo systemctl restart k3s") }},
	{"rke2", func(m Mirror) Config { return rancher(m, "rke2", "sudo systemctl restart rke2-server") }},
	{"buildkit", buildkit},
	{"kind", kind},
	{"gitlab-runner", gitlabRunner},
	{"docker-desktop", dockerDesktop},
}

// Clients returns the names of all clients.
func Clients() []string {
	var names []string
	for _, c := range clients {
		names = append(names, c.name)
	}
	return names
}

// hub is the one registry for which Docker asks mirrors.
const hub = "docker.io"

// ErrOnlyHub says that a client asks mirrors for Docker Hub only, which this mirror does
// not have.
var ErrOnlyHub = errors.New("it asks mirrors for images of docker.io only, and this mirror does not have that upstream")

// For returns the Config of a client. It fails for an unknown one, and with ErrOnlyHub.
func For(name string, m Mirror) (Config, error) {
	i := slices.IndexFunc(clients, func(c client) bool { return c.name == name })
	if i < 0 {
		return Config{}, fmt.Errorf("%q is not a known client; write one of %s", name, strings.Join(Clients(), ", "))
	}
	c := clients[i].config(m)
	if len(c.Files) == 0 {
		return Config{}, fmt.Errorf("%s: %w", name, ErrOnlyHub)
	}
	c.Client = clients[i].name
	return c, nil
}

// All returns the Config of each client that can use m.
func All(m Mirror) []Config {
	var all []Config
	for _, c := range clients {
		if config, err := For(c.name, m); err == nil {
			all = append(all, config)
		}
	}
	return all
}
