package doctor

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"mirrord/internal/oci"
)

const daemonJSON = "/etc/docker/daemon.json"

// docker checks the mirrors of Docker, which asks them for images of Docker Hub only.
func (h host) docker() Check {
	const what = "docker on this host"
	if !slices.Contains(h.served.Upstreams, oci.DockerHub) {
		return Check{what, Info, "it asks mirrors for images of docker.io only, which this mirror does not have", "nothing, or add that upstream"}
	}
	raw, absent, err := h.read(daemonJSON)
	if absent != "" {
		return notConfigured(what, "docker", absent)
	}
	var daemon struct {
		Mirrors []string `json:"registry-mirrors"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &daemon)
	}
	if err != nil {
		return invalid(what, daemonJSON, err, "correct it: Docker does not start with it; jq . "+daemonJSON+" says where JSON is wrong")
	}
	for _, mirror := range daemon.Mirrors {
		u, err := url.Parse(mirror)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return Check{what, Warn, "registry-mirrors has " + shown(mirror) + ", which is not a URL", "write it as http://HOST:PORT: Docker does not start with it"}
		}
		if l, ok := h.find(u.Host, u.Scheme); ok {
			return h.dockerMirror(what, u, l)
		}
	}
	return notConfigured(what, "docker", "no registry-mirrors in "+daemonJSON+" is this mirror")
}

// dockerMirror is the check of a URL in registry-mirrors that leads to l.
func (h host) dockerMirror(what string, u *url.URL, l Listener) Check {
	path := ""
	if h.served.byDefault(l) != oci.DockerHub {
		path = "/" + oci.DockerHub
	}
	detail, hint := wrongScheme(u, l)
	switch has := strings.TrimSuffix(u.Path, "/"); {
	case detail != "":
		return Check{what, Warn, "registry-mirrors: " + detail, hint + ", in " + daemonJSON + ", and restart Docker"}
	case l.Upstream != "" && l.Upstream != oci.DockerHub:
		return Check{what, Warn, "registry-mirrors has " + shown(u.String()) + ", the listener of " + l.Upstream, "write the address of a listener for docker.io: Docker asks mirrors for its images only"}
	case has != path && has != "" && path == "":
		return Check{what, Warn, "registry-mirrors has " + shown(u.String()) + ", with a path", "remove the path: Docker asks the mirror for docker.io, which needs none, and before version 28 does not start with one"}
	case has != path:
		return Check{what, Warn, "registry-mirrors has " + shown(u.String()) + ", whose path is not " + path, "write " + path + " after the port, or make docker.io the first upstream, for Docker before version 28"}
	}
	return Check{what, OK, "registry-mirrors has " + shown(u.String()), ""}
}
