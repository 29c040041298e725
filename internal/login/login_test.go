package login_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"go.uber.org/goleak"

	"mirrord/internal/login"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "s3cr3t-w0rd"

func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func want(t *testing.T, l *login.Login, want authn.AuthConfig) {
	t.Helper()
	got, err := l.Authorization()
	if err != nil || *got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

// refuses checks for an error with these words and without the secret.
func refuses(t *testing.T, l *login.Login, words ...string) {
	t.Helper()
	got, err := l.Authorization()
	if err == nil {
		t.Fatalf("%+v, want an error", got)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("%q tells the secret", err)
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	l := login.File("user", path)
	refuses(t, l, path, "no such file")
	if l.Stamp() != "" || l.IsAnonymous() {
		t.Errorf("stamp %q, anonymous %v", l.Stamp(), l.IsAnonymous())
	}
	for content, password := range map[string]string{
		secret: secret, secret + "\n": secret, secret + "\r\n": secret, secret + "\n\n": secret + "\n", " " + secret: " " + secret,
	} {
		write(t, path, content, 0o600)
		want(t, l, authn.AuthConfig{Username: "user", Password: password})
	}
	write(t, path, "\n", 0o600)
	refuses(t, l, path, "empty")
}

// The user name is known once the login was read.
func TestUser(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "password"), secret, 0o600)
	for want, l := range map[string]*login.Login{"office": login.File("office", path), "": login.Anonymous()} {
		if user := l.User(); user != "" {
			t.Errorf("%q before it was read", user)
		}
		if err := l.Check(t.Context()); err != nil || l.User() != want {
			t.Errorf("%q, %v; want %q", l.User(), err, want)
		}
	}
}

func TestStamp(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "password"), "one", 0o600)
	l := login.File("user", path)
	first := l.Stamp()
	if first == "" || first != l.Stamp() {
		t.Fatalf("stamp %q, then %q", first, l.Stamp())
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if l.Stamp() == first {
		t.Error("the stamp of a file that was written again is the same")
	}
}

func TestAnonymous(t *testing.T) {
	l := login.Anonymous()
	want(t, l, authn.AuthConfig{})
	if !l.IsAnonymous() || l.Stamp() != "" {
		t.Error("it is a login")
	}
}

func auth(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

func TestDockerConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	refuses(t, login.DockerConfig(path, "docker.io"), path, "no such file")
	write(t, path, fmt.Sprintf(`{"auths":{"https://index.docker.io/v1/":{"auth":%q},"ghcr.io":{"auth":%q},"https://quay.io":{"identitytoken":%q}}}`,
		auth("hub", secret), auth("cat", "gh"), secret), 0o600)
	want(t, login.DockerConfig(path, "docker.io"), authn.AuthConfig{Username: "hub", Password: secret})
	want(t, login.DockerConfig(path, "ghcr.io"), authn.AuthConfig{Username: "cat", Password: "gh"})
	want(t, login.DockerConfig(path, "quay.io"), authn.AuthConfig{IdentityToken: secret})
	refuses(t, login.DockerConfig(path, "registry.example"), path, "registry.example", "docker login")
	write(t, path, `{"auths":{"docker.io":{"auth":"`+secret, 0o600)
	refuses(t, login.DockerConfig(path, "docker.io"), path)
	write(t, path, `{"auths":{"https://index.docker.io/v1/":{"auth":"`+secret+`"}}}`, 0o600)
	refuses(t, login.DockerConfig(path, "docker.io"), path)
}

// helper installs a credential helper in PATH.
func helper(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "docker-credential-"+name), "#!/bin/sh\n"+script, 0o755)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestHelper(t *testing.T) {
	helper(t, "test", `read -r server || :
case "$1 $server" in
"get https://index.docker.io/v1/") echo '{"ServerURL":"x","Username":"hub","Secret":"`+secret+`"}' ;;
"get ghcr.io") echo '{"Username":"<token>","Secret":"`+secret+`"}' ;;
"get quay.io") echo '`+secret+` is no JSON' ;;
*) echo "credentials not found `+secret+`"; echo `+secret+` >&2; exit 1 ;;
esac`)
	want(t, login.Helper("test", "docker.io"), authn.AuthConfig{Username: "hub", Password: secret})
	want(t, login.Helper("test", "ghcr.io"), authn.AuthConfig{IdentityToken: secret})
	refuses(t, login.Helper("test", "quay.io"), "docker-credential-test", "quay.io")
	refuses(t, login.Helper("test", "registry.example"), "docker-credential-test", "registry.example")
	refuses(t, login.Helper("absent", "docker.io"), "docker-credential-absent", "not found")

	path := write(t, filepath.Join(t.TempDir(), "config.json"), `{"credHelpers":{"https://index.docker.io/v1/":"test","quay.io":"test"}}`, 0o600)
	want(t, login.DockerConfig(path, "docker.io"), authn.AuthConfig{Username: "hub", Password: secret})
	refuses(t, login.DockerConfig(path, "quay.io"), path)
}

func TestHelperThatHangs(t *testing.T) {
	helper(t, "slow", "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := login.Helper("slow", "docker.io").AuthorizationContext(ctx); err == nil || !strings.Contains(err.Error(), "timed out") {
		t.Errorf("%v, want the time-out", err)
	}
}

func TestDefault(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	t.Setenv("XDG_RUNTIME_DIR", "")
	l := login.Default("docker.io")
	want(t, l, authn.AuthConfig{})
	if l.Used() {
		t.Error("a login that was not there has been used")
	}
	path := write(t, filepath.Join(home, ".docker", "config.json"), fmt.Sprintf(`{"auths":{"https://index.docker.io/v1/":{"auth":%q}}}`, auth("hub", secret)), 0o600)
	if !login.Default("docker.io").Used() {
		t.Error("a login that was there at the start is not used")
	}
	want(t, l, authn.AuthConfig{Username: "hub", Password: secret})
	if !l.Used() || login.Anonymous().Used() || !login.File("u", path).Used() {
		t.Error("a login is not used, or one that is none")
	}
	want(t, login.Default("ghcr.io"), authn.AuthConfig{})
	want(t, login.Default("not a host"), authn.AuthConfig{})
	write(t, path, `{"auths":`+secret, 0o600)
	refuses(t, l, "configuration")
	if !login.Default("docker.io").Used() {
		t.Error("a login that cannot be read may have been used before")
	}
}
