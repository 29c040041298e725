package config

import (
	"bytes"
	"io"
	"regexp"
	"strings"
)

// WriteYAML writes c as a file that LoadFile reads back to an equal Config. The file
// contains no secret: only the paths of password files. WriteYAML fails with the error
// of w.
func (c *Config) WriteYAML(w io.Writer) error {
	var b bytes.Buffer
	group := ""
	for _, s := range settings {
		lines := s.write(c)
		if len(lines) == 0 {
			continue
		}
		parent := strings.TrimSuffix(s.key, leaf(s.key))
		if parent != group && parent != "" {
			b.WriteString(strings.TrimSuffix(parent, ".") + ":\n")
		}
		group = parent
		indent := ""
		if parent != "" {
			indent = "  "
		}
		b.WriteString(indent + strings.Join(lines, "\n"+indent) + "\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// plainRE matches text that every YAML parser reads as a single value without quotes.
var plainRE = regexp.MustCompile(`^[A-Za-z0-9/](?:[A-Za-z0-9/._@%:-]*[A-Za-z0-9/._@%-])?$`)

// quote returns a printable single line as a YAML scalar.
func quote(s string) string {
	if plainRE.MatchString(s) && !strings.EqualFold(s, "null") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
