package main

// connectable are the clients that the status page connects, with what to write in which
// file: templates of a connection. docs/clients.md has the reasons, and other clients.
var connectable = []struct {
	name    string
	hubOnly bool // it has mirrors for Docker Hub and nothing else
	steps   []connectStep
}{
	{"docker", true, []connectStep{
		{ownCA, dockerCA},
		{"Add to /etc/docker/daemon.json. Docker has mirrors for Docker Hub only.", dockerMirror},
		{"Restart Docker:", `systemctl restart docker`},
	}},
	{"docker-desktop", true, []connectStep{
		{"In Settings, Docker Engine, add this to the JSON, then Apply & restart.{{if .OwnCA}} The certificate of the mirror's CA, unless that is a public one, belongs into the keychain of macOS or the certificate store of Windows.{{end}}", dockerMirror},
	}},
	{"containerd", false, []connectStep{
		{"Write /etc/containerd/certs.d/_default/hosts.toml, for all registries; one that the mirror does not have is asked itself. No restart is needed.", hostsTOML},
		{"For Kubernetes, /etc/containerd/config.toml must name the directory. This is for containerd 2; the plugin of containerd 1 is io.containerd.grpc.v1.cri.", `
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"`},
	}},
	{"podman", false, []connectStep{
		{ownCA, containersCA},
		{"Write /etc/containers/registries.conf.d/mirrord.conf, which skopeo and buildah read, too:", registriesConf},
	}},
	{"cri-o", false, []connectStep{
		{ownCA, containersCA},
		{"Write /etc/containers/registries.conf.d/mirrord.conf:", registriesConf},
		{"Let CRI-O read it:", `systemctl reload crio`},
	}},
	{"k3s", false, []connectStep{
		{"Write /etc/rancher/k3s/registries.yaml on each node:", registriesYAML},
		{"Restart it; on agents the service is k3s-agent:", `systemctl restart k3s`},
	}},
	{"rke2", false, []connectStep{
		{"Write /etc/rancher/rke2/registries.yaml on each node:", registriesYAML},
		{"Restart it; on agents the service is rke2-agent:", `systemctl restart rke2-server`},
	}},
	{"buildkit", false, []connectStep{
		{"Add to /etc/buildkit/buildkitd.toml. For docker buildx, write it to a file of its own, and name that with docker buildx create --buildkitd-config.", buildkitdTOML},
	}},
	{"kind", false, []connectStep{
		{"Run this after kind create cluster, with an address of the mirror that the nodes reach: 127.0.0.1 is the node itself. Before kind 0.27, the cluster needs config_path, as for containerd.", `
for node in $(kind get nodes); do
  docker exec "$node" mkdir -p /etc/containerd/certs.d/_default
  docker exec -i "$node" cp /dev/stdin /etc/containerd/certs.d/_default/hosts.toml <<'EOF'
` + hostsTOML + `
EOF
done`},
	}},
	{"gitlab-runner", true, []connectStep{
		{"Jobs of the docker executor pull with the Docker of the runner's host: connect that. For Docker in Docker, add to /etc/gitlab-runner/config.toml:", `
[[runners]]
  [runners.docker]
    [[runners.docker.services]]
      name = "docker:dind"
      alias = "docker"
      command = ["--registry-mirror", "{{.HubURL}}"]`},
	}},
}

// connectNotes are for all clients; one that expands to nothing is not needed.
var connectNotes = []string{
	"{{with .Only}}The mirror listens at {{.}} only: clients on other machines reach it after listen is changed, for example to 0.0.0.0:5000.{{end}}",
	"{{if .Login}}The mirror asks for a login or a client certificate: docs/clients.md says how each client has one.{{end}}",
}

// connectStep is a page.Step; one whose text expands to nothing is not needed.
type connectStep struct{ text, code string }

const (
	ownCA        = "{{if .OwnCA}}Give it the certificate of the mirror's CA, ca.crt, unless that is a public one:{{end}}"
	dockerCA     = `install -D -m 644 ca.crt /etc/docker/certs.d/{{.Host}}/ca.crt`
	containersCA = `install -D -m 644 ca.crt /etc/containers/certs.d/{{.Host}}/ca.crt`

	dockerMirror = `{ "registry-mirrors": ["{{.HubURL}}"] }`

	hostsTOML = `[host."{{.URL}}"]
  capabilities = ["pull", "resolve"]{{if .OwnCA}}
  ca = "/etc/containerd/certs.d/mirror-ca.crt" # of the mirror's CA, unless that is a public one{{end}}`

	registriesConf = `{{range .Upstreams}}[[registry]]
prefix = "{{.}}"
location = "{{.}}"

[[registry.mirror]]
location = "{{$.Host}}/{{.}}"{{if not $.TLS}}
insecure = true{{end}}

{{end}}`

	registriesYAML = `mirrors:{{range .Upstreams}}
  {{.}}:
    endpoint:
      - "{{$.URL}}"{{end}}{{if .OwnCA}}
configs:
  "{{.Host}}":
    tls:
      ca_file: /etc/ssl/mirror-ca.crt # of the mirror's CA, unless that is a public one{{end}}`

	buildkitdTOML = `{{range .Upstreams}}[registry."{{.}}"]
  mirrors = ["{{$.Host}}/{{.}}"]
{{end}}{{if not .TLS}}[registry."{{.Host}}"]
  http = true{{else if .OwnCA}}[registry."{{.Host}}"]
  ca = ["/etc/buildkit/mirror-ca.crt"] # of the mirror's CA, unless that is a public one{{end}}`
)
