package notify

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is wrong with a file of headers is said with its line, and without its content.
func TestHeaderProblems(t *testing.T) {
	for content, want := range map[string]string{
		"":                            "has no header",
		"# s3cret\n":                  "has no header",
		"A: b\ns3cret\n":              ":2: not a header",
		"s3cret: \n":                  ":1: not a header",
		"s3 cret: a\n":                ":1: not a header",
		"A: s3cret\x00\n":             ":1: not a header",
		"host: s3cret\n":              ":1: mirrord sets this header itself",
		"Webhook-Id: s3cret\n":        ":1: mirrord sets this header itself",
		"content-type: s3cret\n":      ":1: mirrord sets this header itself",
		strings.Repeat("s3cret", 1e4): "is larger than 16384 bytes",
	} {
		path := write(t, content)
		_, err := ReadHeaders(path)
		if err == nil || !strings.HasPrefix(err.Error(), path) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%.20q: %v, want %s", content, err, want)
		}
	}
}

// A pipe that nobody writes to does not stop the mirror.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadHeaders(path); !errors.Is(err, errNoHeader) {
		t.Errorf("headers: %v", err)
	}
	if _, err := ReadSecret(path); !errors.Is(err, errSecret) {
		t.Errorf("secret: %v", err)
	}
}
