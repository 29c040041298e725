package clientconfig

import (
	"fmt"
	"path"
	"strings"
)

// daemonJSON is the file of a Docker daemon, or nothing without Docker Hub.
func daemonJSON(m Mirror, name string) []File {
	mirror := m.URL
	for i, upstream := range m.Upstreams {
		if upstream == hub {
			if i > 0 {
				mirror += "/" + hub
			}
			return []File{{Path: name, Text: fmt.Sprintf("{ \"registry-mirrors\": [%q] }\n", mirror), Shared: true}}
		}
	}
	return nil
}

func docker(m Mirror) Config {
	c := Config{
		CA: m.ca("/etc/docker/certs.d/" + m.host() + "/ca.crt"), Dir: "/etc/docker", Files: daemonJSON(m, "daemon.json"),
		Apply: "sudo systemctl restart docker",
	}
	c.Notes = []string{"Docker asks mirrors for images of docker.io only."}
	if len(m.Upstreams) > 0 && m.Upstreams[0] != hub {
		c.Notes = append(c.Notes, "Docker before 28 does not start with a path in registry-mirrors: make docker.io the first upstream for it.")
	}
	return c
}

func dockerDesktop(m Mirror) Config {
	return Config{
		Dir: "~/.docker", Files: daemonJSON(m, "daemon.json"),
		Notes: []string{
			"Or add it under Settings, Docker Engine; then Apply & restart. The certificate of a CA belongs into the keychain of macOS or the certificate store of Windows.",
			"Docker asks mirrors for images of docker.io only. 127.0.0.1 is the virtual machine there: use host.docker.internal or the host's name for a mirror on the same computer.",
		},
	}
}

func containerd(m Mirror) Config {
	return Config{
		CA: m.ca(containerdCA), Dir: "/etc/containerd/certs.d", Files: hostsFiles(m, ""),
		Notes: []string{"containerd reads these files at each pull. Its config_path must name their directory."},
	}
}

const containerdCA = "/etc/containerd/certs.d/mirror-ca.crt"

// ca is the path of the CA's certificate, or empty when clients know it.
func (m Mirror) ca(path string) string {
	if m.OwnCA {
		return path
	}
	return ""
}

// hostsFiles are the hosts.toml of each upstream, below dir. They have no server, which is
// the registry itself then.
func hostsFiles(m Mirror, dir string) []File {
	ca := ""
	if m.OwnCA {
		ca = fmt.Sprintf("  ca = %q\n", containerdCA)
	}
	var files []File
	for _, upstream := range m.Upstreams {
		files = append(files, File{
			Path: path.Join(dir, upstream, "hosts.toml"),
			Text: fmt.Sprintf("[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", m.URL+"/"+upstream) + ca,
		})
	}
	return files
}

func podman(m Mirror) Config {
	return Config{
		CA: m.ca("/etc/containers/certs.d/" + m.host() + "/ca.crt"), Dir: "/etc/containers/registries.conf.d", Files: []File{{Path: "mirrord.conf", Text: registriesConf(m)}},
		Notes: []string{"They read this file at each pull."},
	}
}

func crio(m Mirror) Config {
	c := podman(m)
	c.Apply, c.Notes = "sudo systemctl reload crio", nil
	return c
}

// registriesConf is in the format of containers-registries.conf(5).
func registriesConf(m Mirror) string {
	insecure := ""
	if m.plain() {
		insecure = "insecure = true\n"
	}
	var blocks []string
	for _, upstream := range m.Upstreams {
		blocks = append(blocks, fmt.Sprintf("[[registry]]\nprefix = %[1]q\nlocation = %[1]q\n\n[[registry.mirror]]\nlocation = %[2]q\n%[3]s",
			upstream, m.host()+"/"+upstream, insecure))
	}
	return strings.Join(blocks, "\n")
}

// rancher is for k3s and RKE2, whose containerd names the registry in each request.
func rancher(m Mirror, name, apply string) Config {
	var b strings.Builder
	_, _ = b.WriteString("mirrors:\n")
	for _, upstream := range m.Upstreams {
		_, _ = fmt.Fprintf(&b, "  %q:\n    endpoint: [%q]\n", upstream, m.URL)
	}
	const ca = "/etc/ssl/mirror-ca.crt"
	if m.OwnCA {
		_, _ = fmt.Fprintf(&b, "configs:\n  %q:\n    tls: {ca_file: %s}\n", m.host(), ca)
	}
	return Config{
		CA: m.ca(ca), Dir: "/etc/rancher/" + name, Files: []File{{Path: "registries.yaml", Text: b.String()}}, Apply: apply,
		Notes: []string{"On every node; on one that is not a server the service is " + map[string]string{"k3s": "k3s-agent", "rke2": "rke2-agent"}[name] + "."},
	}
}

func buildkit(m Mirror) Config {
	var blocks []string
	for _, upstream := range m.Upstreams {
		blocks = append(blocks, fmt.Sprintf("[registry.%q]\n  mirrors = [%q]\n", upstream, m.host()+"/"+upstream))
	}
	const ca = "/etc/buildkit/mirror-ca.crt"
	if m.plain() {
		blocks = append(blocks, fmt.Sprintf("[registry.%q]\n  http = true\n", m.host()))
	} else if m.OwnCA {
		blocks = append(blocks, fmt.Sprintf("[registry.%q]\n  ca = [%q]\n", m.host(), ca))
	}
	return Config{
		CA: m.ca(ca), Dir: "/etc/buildkit", Files: []File{{Path: "buildkitd.toml", Text: strings.Join(blocks, "\n")}},
		Apply: "docker buildx create --use --buildkitd-config /etc/buildkit/buildkitd.toml",
		Notes: []string{"A buildkitd of your own reads the file when it starts. A builder in a container reaches no mirror at 127.0.0.1."},
	}
}

func kind(m Mirror) Config {
	const cluster = `kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
containerdConfigPatches:
  - |-
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/etc/containerd/certs.d"
nodes:
  - role: control-plane
    extraMounts:
      - hostPath: ./certs.d
        containerPath: /etc/containerd/certs.d
        readOnly: true
`
	return Config{
		CA: m.ca("certs.d/mirror-ca.crt"), Dir: ".", Files: append([]File{{Path: "kind.yaml", Text: cluster}}, hostsFiles(m, "certs.d")...),
		Apply: "kind create cluster --config kind.yaml",
		Notes: []string{
			"The nodes are containers: they reach no mirror at 127.0.0.1.",
			"Nodes since kind 0.27 have that config_path already; leave containerdConfigPatches out there.",
		},
	}
}

func gitlabRunner(m Mirror) Config {
	files := daemonJSON(m, "dind-daemon.json")
	if files == nil {
		return Config{}
	}
	files = append(files, File{
		Path: "config.toml", Excerpt: true,
		Text: "[[runners]]\n  executor = \"docker\"\n  [runners.docker]\n    privileged = true\n" +
			"    volumes = [\"/cache\", \"/certs/client\", \"/etc/gitlab-runner/dind-daemon.json:/etc/docker/daemon.json:ro\"]\n",
	})
	return Config{
		Dir: "/etc/gitlab-runner", Files: files, Apply: "sudo systemctl restart gitlab-runner",
		Notes: []string{"The images of the jobs themselves are pulled by Docker on the runner's host: configure that, too."},
	}
}
