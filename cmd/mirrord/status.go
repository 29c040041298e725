package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mirrord/internal/status"
)

func newStatusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the mirror saves, what is left of pull limits, and what is wrong",
		Long: `Show on one screen what the mirror saves today, this month and since its start; how full
its cache is, and how much of it is pinned; what is left of the upstreams' pull limits;
the last and the next run of warm lists; the downloads in flight; the images that were
pulled most in the last day; and the last problems, with what to do. A terminal shows long
names without their middle, and no more of a line than its width; in a file or a pipe names
and lines are whole. Of warm lists, downloads, images and problems only the first few are shown.

Exits with status 1 if no mirror responds. Without the mirror's token, and not at its
socket, images and clients have no names.`,
		Example: "mirrord status\nmirrord status --json | jq .today.pulls_saved",
		Args:    refuse(cobra.NoArgs),
	}
	asJSON := c.Flags().Bool("json", false, "print JSON, with sizes in bytes, more images, and clients")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		mirror, err := findMirror(c)
		if err != nil {
			return err
		}
		s, raw, err := mirror.Status(c.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			_, err = c.OutOrStdout().Write(raw)
			return err
		}
		_, err = io.WriteString(c.OutOrStdout(), statusScreen(s, outputWidth()))
		return err
	}
	return c
}

// How much of a status fits one screen of 80 columns.
const (
	screenWidth  = 80
	screenImages = 5
	screenFills  = 3
	screenErrors = 3
	screenLists  = 3
	imageWidth   = 44
	listWidth    = 20
)

// outputWidth returns how many columns the terminal has that standard output is, 0 when it
// is none.
func outputWidth() int {
	out := int(os.Stdout.Fd())
	if !term.IsTerminal(out) {
		return 0
	}
	width, _, err := term.GetSize(out)
	if err != nil || width <= 0 {
		return screenWidth
	}
	return width
}

// statusText is text for a person, in so many columns. Without a width, which a file or a pipe
// does not have, no name or line is cut.
type statusText struct {
	strings.Builder
	width int
}

// short returns text in at most that many columns, if there is a width.
func (s *statusText) short(text string, most int) string {
	if s.width == 0 {
		return text
	}
	return middle(text, most)
}

// statusScreen returns a status for a person, in lines of a width, or of any length if that
// is 0.
func statusScreen(s status.Status, width int) string {
	b := &statusText{width: width}
	b.WriteString(headline(s))
	writeTraffic(b, s)
	writeStores(b, s)
	writeFleet(b, s)
	writeFills(b, s, screenFills)
	writeUses(b, "IMAGE OF THE LAST DAY", s.Images, screenImages, nil)
	if s.Withheld {
		b.WriteString("\nNames are not shown without the mirror's token: run this as root or its user.\n")
	}
	writeProblems(b, s, screenErrors)
	return fitLines(b.String(), width)
}

// headline says whether the mirror helps.
func headline(s status.Status) string {
	var notes string
	if s.Offline {
		notes = ", offline: only what is cached is served"
	}
	up := units.HumanDuration(s.Now.Sub(s.Started))
	text := fmt.Sprintf("mirrord %s, up for %s%s\n", s.Version, strings.ToLower(up), notes)
	switch t := s.Today; {
	case t.Requests == 0:
		return text + "No client has asked for anything today.\n"
	default:
		return text + fmt.Sprintf("Today it saved %s and %s, %.0f%% of what clients were sent.\n",
			plural(int(t.PullsSaved), "pull"), bytesText(t.BytesSaved()), 100*t.ByteHitRatio())
	}
}

func bytesText(n int64) string { return units.BytesSize(float64(n)) }

func writeTraffic(b *statusText, s status.Status) {
	b.WriteString("\n")
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "\tREQUESTS\tHITS\tFAILED\tSENT\tFETCHED\tPULLS SAVED\tSPENT\t")
	for _, row := range []struct {
		name string
		status.Traffic
	}{{"today", s.Today}, {"this month", s.Month}, {"since start", s.Start}} {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%.0f%%\t%d\t%s\t%s\t%d\t%d\t\n", row.name, row.Requests, 100*row.HitRatio(), row.Failed,
			bytesText(row.Bytes), bytesText(row.Fetched), row.PullsSaved, row.PullsSpent)
	}
	_ = table.Flush()
}

// writeStores writes how full the cache is, what is left of the pull limits, and what became
// of warm lists.
func writeStores(b *statusText, s status.Status) {
	c := s.Cache
	_, _ = fmt.Fprintf(b, "\ncache      %s of %s in %s; %s of the disk free", bytesText(c.Bytes), bytesText(c.Max), plural(c.Blobs, "blob"), bytesText(c.Free))
	if c.Holds > 0 {
		_, _ = fmt.Fprintf(b, "; lasts %s", strings.ToLower(units.HumanDuration(seconds(c.Holds))))
	}
	b.WriteString("\n")
	if c.Pins > 0 {
		_, _ = fmt.Fprintf(b, "pinned     %s of %s, %s\n", bytesText(c.Pinned), bytesText(c.MaxPinned), plural(c.Pins, "image"))
	}
	for _, u := range s.Budgets {
		_, _ = fmt.Fprintf(b, "pulls      %s\n", budgetLine(b, u, s.Now))
		if u.State != "ok" {
			_, _ = fmt.Fprintf(b, "           %s\n", printable(u.State))
		}
	}
	for i, l := range s.Warm {
		if i == screenLists {
			_, _ = fmt.Fprintf(b, "           and %d more; mirrord warm --lists has all\n", len(s.Warm)-i)
			break
		}
		_, _ = fmt.Fprintf(b, "warm       %s\n", listLine(b, l, s.Now))
	}
}

// listLine says what became of a list that is warmed by a schedule, at the time now.
func listLine(b *statusText, l status.WarmList, now time.Time) string {
	text := b.short(l.Name, listWidth) + ": "
	if l.Last == nil {
		text += "no run yet"
	} else {
		text += fmt.Sprintf("%s %s, %d of %d cached", l.Outcome, ago(l.Last, now), l.Cached, l.Images)
	}
	switch {
	case l.Running:
		text += "; running"
	case l.Next != nil:
		text += "; next in " + strings.ToLower(units.HumanDuration(l.Next.Sub(now)))
	}
	return text
}

// writeFleet writes what is shared with other mirrors, if there are any.
func writeFleet(b *statusText, s status.Status) {
	f := s.Fleet
	if f == nil {
		return
	}
	_, _ = fmt.Fprintf(b, "fleet      read %s and wrote %s; %s %s\n", bytesText(f.BytesRead), bytesText(f.BytesWritten),
		plural(f.UploadsWaiting, "upload"), either(f.UploadsWaiting, "waits", "wait"))
	if f.Outage != nil {
		writeWrapped(b, "           ", "the bucket is left alone, failing since "+ago(&f.Outage.Since, s.Now)+": "+printable(f.Outage.Error))
	}
	if f.Problem != "" {
		writeWrapped(b, "           ", printable(f.Problem))
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// budgetLine says what is left of a credential's pull limit, at the time now.
func budgetLine(b *statusText, u status.Budget, now time.Time) string {
	text := u.Upstream
	if u.Credential != defaultCredential {
		text += " with " + u.Credential
	}
	text = b.short(text, imageWidth)
	if u.Remaining == nil {
		text += ": no limit known"
	} else {
		text += fmt.Sprintf(": %d of %d left", *u.Remaining, u.Limit)
	}
	if u.ResetBy != nil && u.ResetBy.After(now) {
		text += ", all again in " + strings.ToLower(units.HumanDuration(u.ResetBy.Sub(now)))
	}
	return text
}

// writeProblems writes the first problems, with what to do.
func writeProblems(b *statusText, s status.Status, most int) {
	if len(s.Errors) == 0 {
		b.WriteString("\nNo problems in the last day.\n")
		return
	}
	b.WriteString("\nPROBLEMS OF THE LAST DAY\n")
	for i, p := range s.Errors {
		if i == most {
			_, _ = fmt.Fprintf(b, "and %d more; --json has all\n", len(s.Errors)-most)
			return
		}
		_, _ = fmt.Fprintf(b, "%s\n", problemLine(b, p, s.Now))
		if p.Image != "" {
			writeWrapped(b, "  ", printable(p.Error))
		}
		writeWrapped(b, "  -> ", p.Advice)
	}
}

// problemLine says what a problem is, in one line.
func problemLine(b *statusText, p status.Problem, now time.Time) string {
	what := p.Summary
	switch {
	case p.Ongoing:
		return "now: " + printable(p.Error)
	case p.Image != "":
		what = b.short(shortName(p.Image), imageWidth) + ": " + what
	}
	last := "just now"
	if now.Sub(p.Time) >= time.Minute {
		last = "last " + ago(&p.Time, now)
	}
	return fmt.Sprintf("%dx %s, %s", p.Count, what, last)
}

// writeWrapped writes text after a mark, in at most two lines if there is a width.
func writeWrapped(b *statusText, mark, text string) {
	const lines = 2
	line, n := "", 1
	for word := range strings.FieldsSeq(text) {
		if len(mark)+len(line)+len(word) >= b.width && n < lines && b.width > 0 {
			b.WriteString(mark + line + "\n")
			mark, line, n = strings.Repeat(" ", len(mark)), "", n+1
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	b.WriteString(mark + line + "\n")
}
