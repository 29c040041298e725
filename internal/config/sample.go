package config

import (
	"bytes"
	"io"
	"strings"
)

const sampleHead = `# The configuration of mirrord. Every setting is commented out and shows its default:
# remove the "#" before a key to set it. Of the environment and flags, each overrides
# this file. "mirrord config check FILE" says what is wrong in a file, and all settings
# are explained in docs/configuration.md, or in /usr/share/doc/mirrord.
`

// WriteSample writes a file with every setting as a comment, its help and its default;
// LoadFile reads it as if it were empty. WriteSample fails with the error of w.
func WriteSample(w io.Writer) error {
	standard := newLoader("/var/cache/mirrord").config
	var b bytes.Buffer
	b.WriteString(sampleHead)
	group, indent := "", ""
	for _, s := range settings {
		b.WriteString("\n")
		if parent := strings.TrimSuffix(s.key, leaf(s.key)); parent != group {
			group, indent = parent, ""
			if name, nested := strings.CutSuffix(parent, "."); nested {
				indent = "  "
				b.WriteString(name + ":\n")
			}
		}
		help, _, _ := strings.Cut(s.help, listHelp)
		writeLines(&b, indent+"# ", wrap(help, 88))
		writeLines(&b, indent+"#", s.sample(standard))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// sample returns the lines that set s to what c has, and where that is nothing, to an
// empty list or the placeholder.
func (s *setting) sample(c *Config) []string {
	if lines := s.write(c); len(lines) > 0 {
		return lines
	}
	if strings.HasSuffix(s.help, listHelp) {
		return []string{leaf(s.key) + ": []"}
	}
	return []string{leaf(s.key) + ": " + s.placeholder}
}

func writeLines(b *bytes.Buffer, prefix string, lines []string) {
	for _, line := range lines {
		b.WriteString(prefix + line + "\n")
	}
}

// wrap breaks text into lines of at most width bytes, or one word.
func wrap(text string, width int) (lines []string) {
	var line string
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
