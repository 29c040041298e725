package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// tokens is the verifier of the static tokens in a file.
type tokens struct {
	file *file[*tokenList]
}

// tokenList is one version of the file.
type tokenList struct {
	tokens []token
	memory *memory // set by openTokens
}

type token struct {
	name string
	hash [sha256.Size]byte
}

func openTokens(path string, failed func(error)) (*tokens, error) {
	var last *memory // of the version before
	parse := func(raw []byte) (*tokenList, error) {
		list, err := parseTokens(raw)
		if err == nil {
			list.memory = last.following()
			last = list.memory
		}
		return list, err
	}
	file, err := openFile(path, parse, failed)
	if err != nil {
		return nil, fmt.Errorf("file of tokens: %w", err)
	}
	return &tokens{file}, nil
}

func (t *tokens) method() Method { return Tokens }

func (t *tokens) accepts(credential) bool { return true }

func (t *tokens) recall(id fingerprint) (proof, bool) { return t.file.current().memory.recall(id) }

func (t *tokens) forget(id fingerprint) { t.file.current().memory.forget(id) }

func (t *tokens) reload() { t.file.reload() }

// verify compares with all tokens, in constant time.
func (t *tokens) verify(_ context.Context, c credential, _ func() error) (string, error) {
	list := t.file.current()
	hash, found := sha256.Sum256([]byte(c.secret)), -1
	for i := range list.tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(hash[:], list.tokens[i].hash[:]), i, found)
	}
	if found < 0 {
		return "", &wrongError{reason: "the token is not known"}
	}
	name := "token:" + list.tokens[found].name
	list.memory.add(c.id, name, time.Time{})
	return name, nil
}

const (
	minToken   = 16 // characters
	hashPrefix = "sha256:"
)

var tokenNameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// parseTokens parses lines of a name, a colon, and the token or sha256: and the hash of
// it in hexadecimal digits. A name may have several tokens, for the time in which one
// replaces the other. No error contains a token.
func parseTokens(raw []byte) (*tokenList, error) {
	list := new(tokenList)
	lines := make(map[[sha256.Size]byte]int)
	for number, line := range numberedLines(raw) {
		name, secret, ok := strings.Cut(line, ":")
		if !ok || !tokenNameRE.MatchString(name) {
			return nil, fmt.Errorf("line %d is not NAME:TOKEN; write for example ci:TOKEN, with a token from: openssl rand -hex 32", number)
		}
		hash, err := tokenHash(secret)
		if err != nil {
			return nil, fmt.Errorf("line %d: the token of %s %w", number, name, err)
		}
		if lines[hash] != 0 {
			return nil, fmt.Errorf("line %d: the token of %s is also on line %d; give each name its own", number, name, lines[hash])
		}
		lines[hash] = number
		list.tokens = append(list.tokens, token{name, hash})
	}
	return list, nil
}

func tokenHash(secret string) (hash [sha256.Size]byte, err error) {
	if digits, ok := strings.CutPrefix(secret, hashPrefix); ok {
		raw, err := hex.DecodeString(digits)
		if err != nil || len(raw) != sha256.Size {
			return hash, fmt.Errorf("is not %s and 64 hexadecimal digits; write the result of: printf %%s TOKEN | sha256sum", hashPrefix)
		}
		return [sha256.Size]byte(raw), nil
	}
	if len(secret) < minToken || strings.ContainsAny(secret, " \t") {
		return hash, fmt.Errorf("has less than %d characters, or spaces; write one from: openssl rand -hex 32", minToken)
	}
	return sha256.Sum256([]byte(secret)), nil
}
