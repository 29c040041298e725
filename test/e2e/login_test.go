//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"mirrord/internal/hubsim"
)

// The user of a mirror with an htpasswd file.
const (
	user     = "alice"
	password = "correct horse"
)

// startGuarded starts a mirror with a listener for users only, over TLS, beside an open
// one.
func startGuarded(t *testing.T, hub *hubsim.Hub) *secure {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return startListener(t, hub, func(h *home, _ *authority) string {
		return "}, auth: {htpasswd: " + h.write(t, "htpasswd", user+":"+string(hash)+"\n") + "}"
	})
}

// named returns an image of Docker Hub by its name at the mirror.
func (s *secure) named(img image) image {
	img.ref = s.address + strings.TrimPrefix(img.ref, "docker.io")
	return img
}

// logins are clients of a mirror for users: each logs in, unless it has no login, and
// names the mirror, or uses it as one.
var logins = []struct {
	name   string
	byName bool
	start  func(t *testing.T, s *secure, login bool) client
}{
	{"Docker of Debian 12", true, func(t *testing.T, s *secure, login bool) client {
		return s.loginDockerd(t, debian12, graphDriver, login)
	}},
	{"Docker 28, graph driver", true, func(t *testing.T, s *secure, login bool) client { return s.loginDockerd(t, newest, graphDriver, login) }},
	{"Docker 28, containerd's store", true, func(t *testing.T, s *secure, login bool) client {
		return s.loginDockerd(t, newest, containerdStore, login)
	}},
	{"containerd of Debian 12", true, func(t *testing.T, s *secure, login bool) client { return s.loginContainerd(t, debian12, login) }},
	{"containerd 2", true, func(t *testing.T, s *secure, login bool) client { return s.loginContainerd(t, newest, login) }},
	{"podman of Debian 12", false, func(t *testing.T, s *secure, login bool) client { return s.loginPodman(t, debian12, login) }},
	{"podman 5", false, func(t *testing.T, s *secure, login bool) client { return s.loginPodman(t, newest, login) }},
	{"BuildKit", false, func(t *testing.T, s *secure, login bool) client { return s.loginBuildKit(t, login) }},
	{"crane", true, func(t *testing.T, s *secure, login bool) client { return s.loginCrane(t, login) }},
}

// TestLogins pulls from a mirror for users: a client without a login gets nothing.
func TestLogins(t *testing.T) {
	for _, c := range logins {
		t.Run(c.name, func(t *testing.T) {
			hub := startHub(t)
			s := startGuarded(t, hub)
			img := publishIndex(t, hub)
			if c.byName {
				img = s.named(img)
			}
			if err := c.start(t, s, false).pull(img.ref); err == nil {
				t.Error("a client without a login got an image")
			}
			if n := hub.Counters().Requests; n > 0 {
				t.Errorf("a client without a login made the mirror ask the hub %d times", n)
			}
			pullAll(t, c.start(t, s, true), []image{img})
			s.openBeside(t)
		})
	}
}

// openBeside checks that the other listener lets everybody in, whatever they send.
func (s *secure) openBeside(t *testing.T) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.url()+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("mallory", "guess")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the open listener responds %s", answer.Status)
	}
}

func (s *secure) loginDockerd(t *testing.T, from release, store store, login bool) *dockerd {
	t.Helper()
	h := from.home(t, "dockerd", "docker")
	h.trust(t, s, pair{})
	d := startDockerd(t, h, from, store)
	if login {
		d.must(t, "login", "--username", user, "--password", password, s.address)
	}
	return d
}

func (s *secure) loginContainerd(t *testing.T, from release, login bool) *containerd {
	t.Helper()
	c := startContainerd(t, from, map[string]string{s.address: fmt.Sprintf("[host.%q]\nca = %q\n", "https://"+s.address, s.ca.file)})
	if login {
		c.flags = append(c.flags, "--user", user+":"+password)
	}
	return c
}

func (s *secure) loginPodman(t *testing.T, from release, login bool) *podman {
	t.Helper()
	p := newSecurePodman(t, from, s, pair{})
	auth := p.home.path("auth.json")
	if login {
		p.must(t, "login", p.flags[0], p.flags[1], "--authfile", auth, "--username", user, "--password", password, s.address)
	} else {
		p.home.write(t, "auth.json", "{}")
	}
	p.flags = append(p.flags, "--authfile", auth)
	return p
}

// dockerLogin writes what docker login would.
func (s *secure) dockerLogin(t *testing.T, h *home) {
	t.Helper()
	h.write(t, ".docker/config.json", fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, s.address, base64.StdEncoding.EncodeToString([]byte(user+":"+password))))
}

func (s *secure) loginBuildKit(t *testing.T, login bool) *buildKit {
	t.Helper()
	b := newSecureBuildKit(t, s, pair{})
	if login {
		s.dockerLogin(t, b.home)
	}
	return b
}

func (s *secure) loginCrane(t *testing.T, login bool) *layouts {
	t.Helper()
	c := startCrane(t, func(ref string) string { return ref })
	c.home.env = append(c.home.env, "SSL_CERT_FILE="+s.ca.file)
	if login {
		c.must(t, "auth", "login", "--username", user, "--password", password, s.address)
	}
	return c
}
