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
	group := ""
	for _, f := range fields {
		if f.parse == nil {
			writeUpstreams(&b, f.key, c.Upstreams)
			continue
		}
		parent, key, nested := strings.Cut(f.key, ".")
		if !nested {
			parent, key = "", f.key
		}
		if nested && parent != group {
			b.WriteString(parent + ":\n")
		}
		group = parent
		if nested {
			b.WriteString("  ")
		}
		b.WriteString(key + ": " + quote(f.text(c)) + "\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeUpstreams(b *bytes.Buffer, key string, upstreams []Upstream) {
	b.WriteString(key + ":\n")
	for _, u := range upstreams {
		lead := "  - "
		for _, f := range upstreamFields {
			if value := *f.at(&u); value != "" {
				b.WriteString(lead + f.key + ": " + quote(value) + "\n")
				lead = "    "
			}
		}
	}
}

// plainRE is text that no YAML reader takes for anything but a single value.
var plainRE = regexp.MustCompile(`^[A-Za-z0-9/](?:[A-Za-z0-9/._@:-]*[A-Za-z0-9/._@-])?$`)

// quote writes a printable single line for YAML.
func quote(s string) string {
	if plainRE.MatchString(s) && !strings.EqualFold(s, "null") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
