package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// tokenName is the file of the token that the mirror makes, in the cache directory.
const tokenName = "admin-token"

// leastToken is how many characters a token has at least.
const leastToken = 16

var (
	tokenRE = regexp.MustCompile(`^[!-~]+$`)
	madeRE  = regexp.MustCompile(`^mirrord-[A-Z2-7]{26}$`)
)

// Token is what those who change the state of a mirror prove themselves with, unless they
// use its unix socket. It is read when it is needed, so that it can be changed at any
// time.
type Token struct {
	path string
	made bool // the mirror has made it
}

// NewToken returns the token in file, or, if that is empty, the one that the mirror with
// the cache directory dir makes.
func NewToken(file, dir string) Token {
	if file != "" {
		return Token{path: file}
	}
	return Token{path: filepath.Join(dir, tokenName), made: true}
}

// Prepare makes the token if it is the mirror's to make and there is none, or others
// could read it, and fails when there is none that can be used.
func (t Token) Prepare() error {
	_, err := t.read()
	if !t.made || err == nil && isPrivate(t.path) {
		return err
	}
	if err := os.Remove(t.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, "mirrord-"+rand.Text()+"\n")
	return errors.Join(err, f.Close())
}

// isPrivate reports whether nobody else may read the file at path.
func isPrivate(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 == 0
}

// read returns the token. One that the mirror has made must look like it: the command
// learns the directory from whoever listens at admin.listen, and must not send him what
// is in any other file.
func (t Token) read() (string, error) {
	f, err := os.OpenFile(t.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not waiting for the writer of a pipe
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxRefusal))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(raw))
	switch {
	case t.made && !madeRE.MatchString(token):
		return "", fmt.Errorf("%s contains no token of mirrord", t.path)
	case !tokenRE.MatchString(token) || len(token) < leastToken:
		return "", fmt.Errorf("%s contains no usable token; write %d or more characters without spaces into it, for example with: openssl rand -hex 32", t.path, leastToken)
	}
	return token, nil
}

// isIn reports whether r has the token.
func (t Token) isIn(r *http.Request) bool {
	want, err := t.read()
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	wantSum, gotSum := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(wantSum[:], gotSum[:]) == 1 && ok && err == nil
}

// need lets requests that act, or that say who pulls what, pass only with the token, or
// over a unix socket, which its mode protects.
func (t Token) need(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (acts(r) || tells(r)) && !t.trusts(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="mirrord admin"`)
			writeError(w, refuse(http.StatusUnauthorized, errors.New("this needs the token in admin.token_file, by default "+tokenName+" in the cache directory, as Authorization: Bearer TOKEN, or the unix socket in admin.socket")))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// trusts reports whether r has the token, or comes over a unix socket.
func (t Token) trusts(r *http.Request) bool {
	_, private := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
	return private || t.isIn(r)
}

// tells reports whether the response to r says what is pulled: all of /v1/ but its
// figures.
func tells(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") && !isFigures(r) }

// isFigures reports whether the response to r has names only for those with the token.
func isFigures(r *http.Request) bool {
	return r.URL.Path == statusPath || r.URL.Path == historyPath || r.URL.Path == livePath
}
