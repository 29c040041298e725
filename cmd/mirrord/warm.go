package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mirrord/internal/admin"
	"mirrord/internal/warm"
)

func newWarmCommand() *cobra.Command {
	w := new(warmCommand)
	c := &cobra.Command{
		Use:   "warm [IMAGE...]",
		Short: "Fetch images into the cache before clients ask for them",
		Long: `Fetch images into the cache before clients ask for them, after what clients
want and without the reserved pulls. Images are named here, or in a file with -f:
one a line, a YAML file of skopeo sync, a compose file, manifests of Kubernetes,
or the output of "docker image ls"; - reads standard input. --list runs one of
the mirror's own lists, warm.lists, now; --lists shows when they are due.

What it would cost at the least is shown first. Above --max-pulls it asks on a
terminal, and elsewhere refuses without --yes. If it turns out to cost more, it
ends there. A list of the mirror's has its own bound. Exits with status 1 if not
all was warmed.`,
		Example: "  mirrord warm alpine:3 ghcr.io/org/app:v1\n  docker image ls | mirrord warm -f -\n  mirrord warm --list base-images",
		RunE:    func(c *cobra.Command, args []string) error { return w.run(c, args) },

		ValidArgsFunction: completeImages,
	}
	c.Flags().StringArrayVarP(&w.files, "file", "f", nil, "a list of images, - for standard input; may be repeated")
	c.Flags().StringArrayVar(&w.platforms, "platform", nil, "a platform such as linux/arm64, or all; by default that of the mirror's host; may be repeated")
	c.Flags().IntVar(&w.maxPulls, "max-pulls", 20, "how many pulls of the upstreams' limits are spent without asking")
	c.Flags().BoolVar(&w.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&w.plan, "plan", false, "only show what it would cost")
	c.Flags().BoolVar(&w.asJSON, "json", false, "print the lines of JSON that the mirror sends")
	c.Flags().StringVar(&w.list, "list", "", "warm this list of the mirror's warm.lists now")
	c.Flags().BoolVar(&w.lists, "lists", false, "show the mirror's warm.lists: when each was warmed last, and when it is due")
	_ = c.RegisterFlagCompletionFunc("list", completeLists) // fails for a flag that does not exist
	addMirrorFlags(c)
	return c
}

// warmCommand is one call of mirrord warm.
type warmCommand struct {
	files, platforms  []string
	list              string
	maxPulls          int
	yes, plan, asJSON bool
	lists             bool

	summary warm.Summary
	bar     *progressbar.ProgressBar // nil: stderr is not a terminal
}

func (w *warmCommand) run(c *cobra.Command, args []string) error {
	if w.lists {
		return w.showLists(c, args)
	}
	request, err := w.request(c, args)
	if err != nil {
		return refusal{err}
	}
	mirror, err := findMirror(c)
	if err != nil {
		return err
	}
	var plan *warm.Plan
	err = mirror.Warm(c.Context(), request, true, func(raw []byte, line admin.WarmLine) {
		plan = line.Plan
		if w.asJSON && w.plan {
			_, _ = fmt.Fprintf(c.OutOrStdout(), "%s\n", raw)
		}
	})
	if err != nil {
		return err
	}
	if !w.asJSON {
		writePlan(c.OutOrStdout(), plan)
	}
	if w.plan {
		w.writeFailures(c.OutOrStdout(), plan)
		return nil
	}
	consent, err := w.ask(c, plan)
	if err != nil {
		return err
	}
	if !consent { // the plan is what it costs at the least
		request.MaxPulls = w.maxPulls
	}
	ctx, stop := untilInterrupted(c.Context()) // not before: Ctrl-C ends the question, too
	defer stop()
	return w.warm(ctx, c.OutOrStdout(), mirror, request)
}

// request returns what the arguments, files or the list name.
func (w *warmCommand) request(c *cobra.Command, args []string) (admin.WarmRequest, error) {
	if w.list == "" {
		job, err := w.job(c, args)
		return admin.WarmRequest{Job: job}, err
	}
	if len(args)+len(w.files)+len(w.platforms) > 0 {
		return admin.WarmRequest{}, errors.New("--list has its own images and platforms; leave out other images, --file and --platform")
	}
	return admin.WarmRequest{List: w.list}, nil
}

// job returns what the arguments and files name.
func (w *warmCommand) job(c *cobra.Command, args []string) (warm.Job, error) {
	job := warm.Job{Platforms: w.platforms}
	for _, name := range args {
		job.Images = append(job.Images, warm.Image{Name: name})
	}
	for _, file := range w.files {
		list, err := readList(c, file)
		if err != nil {
			return job, err
		}
		for _, s := range list.Skipped {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "skipped: %s: %s\n", s.Where, s.Why)
		}
		job.Images = append(job.Images, list.Images...)
	}
	if len(job.Images) == 0 {
		return job, errors.New("no image is named; write for example mirrord warm alpine:3, or name a list with -f FILE")
	}
	return job, job.Check()
}

func readList(c *cobra.Command, path string) (warm.List, error) {
	if path == "-" {
		return warm.ReadList("standard input", c.InOrStdin())
	}
	f, err := os.Open(path) // which may be a pipe of the shell
	if err != nil {
		return warm.List{}, err
	}
	defer func() { _ = f.Close() }()
	return warm.ReadList(path, f)
}

// writePlan writes for a person what warming would cost.
func writePlan(out io.Writer, p *warm.Plan) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "images\t%d\t%d cached already\n", p.Images, p.Cached)
	for _, upstream := range slices.Sorted(maps.Keys(p.Pulls)) {
		_, _ = fmt.Fprintf(table, "pulls\t%d\tfrom %s, at the least\n", p.Pulls[upstream], upstream)
	}
	if p.Bytes > 0 {
		_, _ = fmt.Fprintf(table, "bytes\t%s\tknown to be missing\n", units.BytesSize(float64(p.Bytes)))
	}
	_ = table.Flush()
}

// writeFailures writes for a person which images cannot be warmed.
func (w *warmCommand) writeFailures(out io.Writer, p *warm.Plan) {
	for _, e := range p.Entries {
		if e.Error != "" && !w.asJSON {
			_, _ = fmt.Fprintf(out, "cannot warm %s: %s\n", e.Image, e.Error)
		}
	}
}

// ask asks whether to spend the pulls of p, if they are more than maxPulls, and fails unless
// the answer is yes. It reports whether more than maxPulls may be spent.
func (w *warmCommand) ask(c *cobra.Command, p *warm.Plan) (consent bool, err error) {
	pulls := p.TotalPulls()
	if w.yes || w.list != "" {
		return true, nil
	}
	if pulls <= w.maxPulls {
		return false, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) || slices.Contains(w.files, "-") {
		return false, refusal{fmt.Errorf("this would spend %s, more than --max-pulls %d; add --yes, or raise it", plural(pulls, "pull"), w.maxPulls)}
	}
	_, _ = fmt.Fprintf(c.ErrOrStderr(), "Spend %s? [y/N] ", plural(pulls, "pull"))
	answer, _ := bufio.NewReader(c.InOrStdin()).ReadString('\n') // without one it is no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return false, errors.New("nothing was warmed")
	}
	return true, nil
}

// warm lets the mirror warm and reports on out.
func (w *warmCommand) warm(ctx context.Context, out io.Writer, mirror *admin.Client, request admin.WarmRequest) error {
	if !w.asJSON && term.IsTerminal(int(os.Stderr.Fd())) {
		w.bar = progressbar.NewOptions64(1, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true),
			progressbar.OptionThrottle(admin.ProgressEvery), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	}
	err := mirror.Warm(ctx, request, false, func(raw []byte, line admin.WarmLine) {
		if w.asJSON {
			_, _ = fmt.Fprintf(out, "%s\n", raw)
		}
		w.report(out, line)
	})
	if w.bar != nil {
		_ = w.bar.Finish()
	}
	w.writeSummary(out, ctx.Err() != nil)
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; what was fetched is cached, and the same command goes on with the rest")
	case err != nil:
		return err
	case w.summary.Spent && request.MaxPulls > 0:
		return fmt.Errorf("not all images were warmed; add --yes, or raise --max-pulls %d", request.MaxPulls)
	case w.summary.Warmed+w.summary.Cached < w.summary.Images:
		return errors.New("not all images were warmed")
	}
	return nil
}

// writeSummary writes what became of the images.
func (w *warmCommand) writeSummary(out io.Writer, interrupted bool) {
	switch {
	case w.summary.Images == 0:
	case w.asJSON && interrupted: // the mirror could not send it
		_ = json.NewEncoder(out).Encode(admin.WarmLine{Summary: &w.summary})
	case !w.asJSON:
		_, _ = fmt.Fprintln(out, w.summary.Text(time.Now()))
	}
}

// report notes a line of the mirror, and shows it to a person.
func (w *warmCommand) report(out io.Writer, line admin.WarmLine) {
	switch {
	case line.Plan != nil:
		w.summary.Images = line.Plan.Images
	case line.Summary != nil:
		w.summary = *line.Summary
	case line.Progress != nil && w.bar != nil:
		w.bar.Describe(fmt.Sprintf("%d/%d images", line.Progress.Images, w.summary.Images))
		w.bar.ChangeMax64(max(line.Progress.Of, 1))
		_ = w.bar.Set64(line.Progress.Bytes)
	case line.Result != nil:
		w.summary.Count(line.Result.Outcome)
		if line.Result.Outcome == warm.Failed && !w.asJSON {
			if w.bar != nil {
				_ = w.bar.Clear()
			}
			_, _ = fmt.Fprintf(out, "failed: %s: %s\n", line.Result.Image, line.Result.Error)
		}
	}
}
