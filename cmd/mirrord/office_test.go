package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"mirrord/internal/clientconfig"
	"mirrord/internal/hubsim"
)

// office returns the blocks of the office in docs/install.md: those of files by their
// name, which is their first line, and those of commands by their first word.
func office(t *testing.T) (files map[string]string, commands []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/install.md")
	check(t, err)
	_, section, _ := strings.Cut(string(text), "\n## An office in five minutes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	files = make(map[string]string)
	for _, found := range regexp.MustCompile("(?ms)^```\\w+\n# (\\S+)\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
		files[found[1]] = found[2]
	}
	for _, found := range regexp.MustCompile(`(?m)^ {4}(curl .*)$`).FindAllStringSubmatch(section, -1) {
		commands = append(commands, found[1])
	}
	if len(files) != 6 || len(commands) != 2 {
		t.Fatalf("the office has the files %v and the commands %q; let this test run what is new", files, commands)
	}
	return files, commands
}

// The office of the documentation works as it stands, but for its addresses: the login is
// used, what is to be checked is as it says, and Prometheus finds the metrics.
func TestOfficeOfTheDocs(t *testing.T) {
	files, commands := office(t)
	hub, err := hubsim.Start(hubsim.Options{Limit: 100})
	check(t, err)
	t.Cleanup(hub.Close)
	hub.SetUsers(map[string]string{"example": "secret"})
	img, err := hubsim.Layers(1, 10_000, 1, hubsim.OCI)
	check(t, err)
	_, err = hub.AddImage("library/busybox", "latest", img)
	check(t, err)

	m := newMirror(t)
	metrics, err := freeAddress()
	check(t, err)
	password := filepath.Join(m.home, "hub-password")
	check(t, os.WriteFile(password, []byte("secret\n"), 0o600))
	addresses := strings.NewReplacer("mirror.lan:5000", m.mirror, "0.0.0.0:5000", m.mirror, "mirror.lan:5002", metrics, "0.0.0.0:5002", metrics,
		"/run/credentials/mirrord.service/hub-password", password, "name: docker.io\n", "name: docker.io\n    url: "+hub.URL()+"\n")
	path := filepath.Join(m.home, "mirrord.yaml")
	check(t, os.WriteFile(path, []byte(addresses.Replace(files["/etc/mirrord/mirrord.yaml"])), 0o600))
	check(t, m.serve("--config", path))
	for i, want := range []string{"X-Mirrord-Cache: fill", "X-Mirrord-Cache: hit", `mirrord_upstream_login_usable{credential="login",upstream="docker.io"} 1`} {
		command := addresses.Replace(commands[i/2])
		if i == 1 { // tags are never fresh in this process
			want = "X-Mirrord-Cache: revalidated"
		}
		out, err := exec.Command("sh", "-c", command).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %s\n%s\n%s", command, err, want, out, m.text())
		}
	}
}

// The blocks for clients are those that mirrord prints, which real clients are tested
// with; that for Prometheus scrapes metrics.listen, and the unit passes in the password.
func TestClientsOfTheOffice(t *testing.T) {
	files, _ := office(t)
	mirror := clientconfig.Mirror{URL: "http://mirror.lan:5000", Upstreams: []string{dockerHub}}
	for name, want := range map[string]string{
		"/etc/docker/daemon.json":                          clientBlock("docker", mirror),
		"/etc/containerd/certs.d/docker.io/hosts.toml":     clientBlock("containerd", mirror),
		"/etc/containers/registries.conf.d/mirrord.conf":   clientBlock("podman", mirror),
		"/etc/systemd/system/mirrord.service.d/login.conf": "[Service]\nLoadCredential=hub-password:/etc/mirrord/hub-password\n",
	} {
		if files[name] != want {
			t.Errorf("%s is\n%s, want\n%s", name, files[name], want)
		}
	}
	var prometheus struct {
		ScrapeConfigs []struct {
			JobName       string `yaml:"job_name"`
			StaticConfigs []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	check(t, yaml.Unmarshal([]byte(files["prometheus.yml"]), &prometheus))
	job := prometheus.ScrapeConfigs[0]
	if job.JobName != "mirrord" || job.StaticConfigs[0].Targets[0] != "mirror.lan:5002" {
		t.Errorf("the job is %+v", job)
	}
}
