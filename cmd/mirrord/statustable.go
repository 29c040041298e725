package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/docker/go-units"

	"mirrord/internal/status"
)

// writeFills writes the first downloads in flight, if there are any.
func writeFills(b *statusText, s status.Status, most int) {
	if len(s.Fills) == 0 {
		return
	}
	b.WriteString("\n")
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "DOWNLOAD IN FLIGHT (%d)\tDONE\tSIZE\tRATE\tWAITERS\n", len(s.Fills))
	for _, f := range s.Fills[:min(most, len(s.Fills))] {
		name := f.Upstream
		if f.Repository != "" {
			name = shortName(f.Upstream+"/"+f.Repository) + "@" + shortDigest(f.Digest)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", b.short(name, imageWidth), doneText(f), sizeText(f), rateText(f.Rate), waitersText(f))
	}
	_ = table.Flush()
}

func doneText(f status.Fill) string {
	switch {
	case f.Queued:
		return "queued"
	case f.Size > 0:
		return fmt.Sprintf("%d%%", 100*f.Bytes/f.Size)
	}
	return bytesText(f.Bytes)
}

func sizeText(f status.Fill) string {
	if f.Size < 0 {
		return "-"
	}
	return bytesText(f.Size)
}

func waitersText(f status.Fill) string {
	if f.Background {
		return "background"
	}
	return fmt.Sprint(f.Waiters)
}

func rateText(rate float64) string {
	if rate <= 0 {
		return "-"
	}
	return units.BytesSize(rate) + "/s"
}

// writeUses writes the first of the images or clients. Rates, by name, may be nil for a
// table without them.
func writeUses(b *statusText, title string, all []status.Use, most int, rates map[string]float64) {
	if len(all) == 0 {
		return
	}
	if rates != nil {
		all = slices.Clone(all)
		slices.SortStableFunc(all, func(x, y status.Use) int { return cmp.Compare(rates[y.Name], rates[x.Name]) })
	}
	b.WriteString("\n")
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	head := title + "\tPULLS\tHITS\tSENT"
	if rates != nil {
		head += "\tRATE"
	}
	_, _ = fmt.Fprintln(table, head)
	for _, u := range all[:min(most, len(all))] {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%.0f%%\t%s", b.short(printable(shortName(u.Name)), imageWidth), u.Pulls, 100*float64(u.Hits)/float64(max(1, u.Requests)), bytesText(u.Bytes))
		if rates != nil {
			_, _ = fmt.Fprintf(table, "\t%s", rateText(rates[u.Name]))
		}
		_, _ = fmt.Fprintln(table)
	}
	_ = table.Flush()
}

// plural is a number of things whose name has an s when they are several.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// either is what is said of one thing, or of several.
func either(n int, one, several string) string {
	if n == 1 {
		return one
	}
	return several
}

// middle returns text in at most width columns, without its middle if it is longer.
func middle(text string, width int) string {
	all := []rune(text)
	if len(all) <= width {
		return text
	}
	const tail = 12 // a tag, or the end of a digest
	return string(all[:width-tail-1]) + "…" + string(all[len(all)-tail:])
}

// printableLines is printable for text of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// printable returns text as a terminal may show it, whoever it is from.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// fitLines cuts the lines of text to a width, if that is not 0, and what tables leave at
// their ends.
func fitLines(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		all := []rune(printable(strings.TrimRight(line, " \n")))
		if width > 0 {
			all = all[:min(len(all), width)]
		}
		b.WriteString(string(all) + "\n")
	}
	return b.String()
}
