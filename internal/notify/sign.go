package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	secretPrefix = "whsec_"
	minSecret    = 24 // bytes, as Standard Webhooks has them
	maxSecret    = 64
	maxFile      = 16 << 10 // bytes of a file
)

// ReadSecret returns the key that a file has in the form of Standard Webhooks: whsec_ and
// 24 to 64 bytes in base64. The error has nothing of the content.
func ReadSecret(path string) ([]byte, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(raw)), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("%s: %w", path, errSecret)
	}
	return key, nil
}

// readFile returns what is in a file of at most maxFile bytes.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not waiting for the writer of a pipe
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return raw, err
}

var errSecret = errors.New(`not a secret of a webhook; write one with: echo "whsec_$(openssl rand -base64 32)"`)

// sign adds the headers of Standard Webhooks for a message that is sent at now.
func sign(h http.Header, key []byte, m message, now time.Time) {
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", m.id, at, m.body) // a hash does not fail
	h.Set("Webhook-Id", m.id)
	h.Set("Webhook-Timestamp", at)
	h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
