package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"mirrord/internal/config"
	"mirrord/internal/images"
	"mirrord/internal/oci"
	"mirrord/internal/schedule"
	"mirrord/internal/telemetry"
	"mirrord/internal/warm"
)

// buildWarming makes what warms the cache. It works below the rules for clients: what they
// may not pull is not served to them either way.
func (d *daemon) buildWarming() error {
	table := routes(d.cfg)
	d.warmer = warm.New(warm.Options{
		Registry: d.mirror.Tags, Cache: d.mirror.Cache, Reserve: d.mirror.CheckReserve,
		Parse:   func(name string) (oci.Ref, error) { return images.Parse(name, table) },
		Offline: func() bool { return d.policy.current.Load().cfg.Offline },
	})
	d.lists = warm.NewScheduler(d.warmer, telemetry.WarmHooks(d.log))
	d.metrics.WatchWarm(d.lists.Status)
	lists, err := warmLists(d.cfg)
	if err != nil {
		return err
	}
	d.lists.Set(lists)
	warnOfLists(d.cfg, lists, d.log)
	return nil
}

// warmLists returns the lists of a configuration, whose files are not read yet. It fails
// with the list that names something that is not an image or a platform.
func warmLists(cfg *config.Config) ([]warm.Scheduled, error) {
	table := routes(cfg)
	var lists []warm.Scheduled
	for _, l := range cfg.Warm.Lists {
		when, err := schedule.Parse(l.Schedule, l.TimeZone)
		list := warm.Scheduled{Name: l.Name, File: l.File, Platforms: l.Platforms, MaxPulls: l.MaxPulls, Schedule: when}
		for _, name := range l.Images {
			_, wrong := images.Parse(name, table)
			err = errors.Join(err, wrong)
			list.Images = append(list.Images, warm.Image{Name: name})
		}
		if err = errors.Join(err, warm.CheckPlatforms(l.Platforms)); err != nil {
			return nil, fmt.Errorf("warm.lists: %s: %w", l.Name, err)
		}
		lists = append(lists, list)
	}
	return lists, nil
}

// checkLists checks the lists and what is in their files.
func checkLists(cfg *config.Config) error {
	lists, err := warmLists(cfg)
	table := routes(cfg)
	for _, l := range lists {
		job, _, wrong := l.Job()
		for _, image := range job.Images {
			_, unknown := images.Parse(image.Name, table)
			wrong = errors.Join(wrong, unknown)
		}
		if wrong != nil {
			err = errors.Join(err, fmt.Errorf("warm.lists: %s: %w", l.Name, wrong))
		}
	}
	return err
}

// warnOfLists says at the start what would otherwise be found out at night.
func warnOfLists(cfg *config.Config, lists []warm.Scheduled, log *zap.Logger) {
	if cfg.Offline && len(lists) > 0 {
		log.Warn("offline: warm.lists are not warmed", zap.Int("lists", len(lists)))
	}
	for _, l := range lists {
		if _, _, err := l.Job(); err != nil {
			log.Warn("warm list cannot be used as it is now; its next run reads it again", zap.String("list", l.Name), zap.Time("next", l.Schedule.Next(time.Now())), zap.Error(err))
		}
	}
}

// completeLists completes the names of the mirror's lists. Without a mirror there are none.
func completeLists(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	mirror, err := findMirror(c)
	if err != nil {
		return nil, directive
	}
	lists, _, err := mirror.WarmLists(c.Context())
	if err != nil {
		return nil, directive
	}
	var names []cobra.Completion
	for _, l := range lists {
		names = append(names, l.Name)
	}
	return names, directive
}

// showLists writes the state of the mirror's lists.
func (w *warmCommand) showLists(c *cobra.Command, args []string) error {
	if len(args)+len(w.files)+len(w.platforms) > 0 || w.list != "" || w.plan {
		return refusal{errors.New("--lists only shows the mirror's lists; leave out everything but --json")}
	}
	mirror, err := findMirror(c)
	if err != nil {
		return err
	}
	lists, raw, err := mirror.WarmLists(c.Context())
	switch {
	case err != nil:
		return err
	case w.asJSON:
		_, err = c.OutOrStdout().Write(raw)
		return err
	case len(lists) == 0:
		_, err = fmt.Fprintln(c.ErrOrStderr(), "the mirror has no lists; write warm.lists in its configuration")
		return err
	}
	return writeLists(c.OutOrStdout(), lists, time.Now())
}

// writeLists writes a table for a person, at the time now.
func writeLists(out io.Writer, lists []warm.ListStatus, now time.Time) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "LIST\tSCHEDULE\tNEXT RUN\tLAST RUN\tRESULT")
	for _, l := range lists {
		next, last, result := "never", "-", "-"
		if !l.Next.IsZero() {
			next = "in " + strings.ToLower(units.HumanDuration(l.Next.Sub(now)))
		}
		if l.Running {
			next = "now"
		}
		if l.Last != nil {
			last, result = strings.ToLower(units.HumanDuration(now.Sub(l.Last.Ended)))+" ago", string(l.Last.Outcome)+": "+l.Last.Summary.Text(now)
			if l.Last.Error != "" {
				result = string(l.Last.Outcome) + ": " + l.Last.Error
			}
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", l.Name, l.Schedule, next, last, result)
	}
	return table.Flush() // returns the first error
}
