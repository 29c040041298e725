package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mirrord/internal/admin"
	"mirrord/internal/status"
)

func newTopCommand() *cobra.Command {
	t := new(topCommand)
	c := &cobra.Command{
		Use:   "top",
		Short: "Watch clients, images and downloads of the mirror",
		Long: `Watch what the mirror does now: the clients and images with their rates, and the
downloads in flight. On a terminal the screen is drawn again each second; q or
Ctrl-C ends it. Elsewhere, and with --json, each change is a line of JSON, the
same as in mirrord status --json; -n 1 prints one table there.

Clients are those that pulled most in the last day; see status.clients.`,
		Example: "mirrord top\nmirrord top -n 1",
		Args:    refuse(cobra.NoArgs),
		RunE:    func(c *cobra.Command, _ []string) error { return t.run(c) },
	}
	c.Flags().IntVarP(&t.count, "count", "n", 0, "end after so many updates; 0 means never")
	c.Flags().BoolVar(&t.asJSON, "json", false, "print a line of JSON for each update")
	addMirrorFlags(c)
	return c
}

// topCommand is one call of mirrord top.
type topCommand struct {
	count  int
	asJSON bool
	seen   int // updates
}

// errEnough ends the updates: what was asked for has been shown.
var errEnough = errors.New("enough")

func (t *topCommand) run(c *cobra.Command) error {
	if t.count < 0 {
		return refusal{fmt.Errorf("--count %d is negative; write how many updates to show, or 0 for no end", t.count)}
	}
	mirror, err := findMirror(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	out := c.OutOrStdout()
	screen := term.IsTerminal(int(os.Stdout.Fd()))
	switch {
	case t.asJSON, !screen && t.count != 1:
		err = mirror.Live(ctx, func(_ status.Status, raw []byte) error { return t.printed(fmt.Fprintf(out, "%s\n", raw)) })
	case t.count == 1:
		err = mirror.Live(ctx, func(s status.Status, _ []byte) error {
			return t.printed(io.WriteString(out, fitLines(newTopView(s).table(topLines), screenWidth)))
		})
	default:
		err = t.watch(ctx, mirror)
	}
	if errors.Is(err, errEnough) || ctx.Err() != nil {
		return nil
	}
	return err
}

// printed counts an update that was printed. It fails when it could not be, and when it
// was the last one.
func (t *topCommand) printed(_ int, err error) error {
	if t.seen++; err == nil && t.seen == t.count {
		return errEnough
	}
	return err
}

// What a terminal is told: another screen without a cursor, and back.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
)

// watch draws updates on the terminal until ctx ends or q is pressed.
func (t *topCommand) watch(ctx context.Context, mirror *admin.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) {
		before, err := term.MakeRaw(in)
		if err != nil {
			return fmt.Errorf("read keys from the terminal: %w", err)
		}
		defer func() { _ = term.Restore(in, before) }()
		go awaitQuit(os.Stdin, cancel) // it ends with the process
	}
	_, _ = io.WriteString(os.Stdout, enterScreen)
	defer func() { _, _ = io.WriteString(os.Stdout, leaveScreen) }()

	updates, ended := make(chan status.Status), make(chan error, 1)
	go func() {
		ended <- mirror.Live(ctx, func(s status.Status, _ []byte) error {
			select {
			case updates <- s:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	err := t.draw(updates, ended)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// awaitQuit calls quit when q or Ctrl-C is pressed: a raw terminal sends no signal.
func awaitQuit(keys io.Reader, quit func()) {
	const interrupt = 3
	for key := make([]byte, 1); ; {
		if _, err := keys.Read(key); err != nil {
			return // there is no more to come; signals end it
		}
		if key[0] == 'q' || key[0] == 'Q' || key[0] == interrupt {
			quit()
			return
		}
	}
}

// draw draws each update, and each second what time changes.
func (t *topCommand) draw(updates <-chan status.Status, ended <-chan error) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var view *topView
	for {
		select {
		case s := <-updates:
			view = view.next(s)
			if err := t.printed(drawScreen(view)); err != nil {
				return err
			}
		case <-tick.C:
			if view != nil && view.quiet() {
				_, _ = drawScreen(view)
			}
		case err := <-ended:
			return err
		}
	}
}

// drawScreen replaces what is on the terminal.
func drawScreen(view *topView) (int, error) {
	width, height, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		width, height = screenWidth, topLines
	}
	lines := strings.Split(strings.TrimSuffix(fitLines(view.table(height), width), "\n"), "\n")
	lines = lines[:min(len(lines), height)]
	return io.WriteString(os.Stdout, "\x1b[H"+strings.Join(lines, "\x1b[K\r\n")+"\x1b[K\x1b[J")
}
