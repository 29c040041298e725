package config

import (
	"bytes"
	"io"
	"regexp"
	"strings"
)

// WriteYAML writes c as a file that LoadFile reads back to an equal Config. It
// holds no secret: of passwords only the name of the file. A failure is w's.
func (c *Config) WriteYAML(w io.Writer) error {
	var b bytes.Buffer
	group, indent := "", ""
	for _, s := range settings {
		if parent := strings.TrimSuffix(s.key, leaf(s.key)); parent != group {
			group, indent = parent, ""
			if parent != "" {
				indent = "  "
				b.WriteString(strings.TrimSuffix(parent, ".") + ":\n")
			}
		}
		for _, line := range s.write(c) {
			b.WriteString(indent + line + "\n")
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// plainRE is text that no YAML reader takes for anything but a single value.
var plainRE = regexp.MustCompile(`^[A-Za-z0-9/](?:[A-Za-z0-9/._@%:-]*[A-Za-z0-9/._@%-])?$`)

// quote writes a printable single line for YAML.
func quote(s string) string {
	if plainRE.MatchString(s) && !strings.EqualFold(s, "null") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
