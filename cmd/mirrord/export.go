package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/docker/go-units"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mirrord/internal/admin"
	"mirrord/internal/archive"
)

func newExportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "export IMAGE|PATTERN...",
		Short: "Write cached images to an archive for another mirror",
		Long: `Write an OCI image layout of images that are cached: a tar, or with -o DIR/ a
directory. An export to a directory that broke off goes on where it ended when it
is repeated; a tar begins again. Without --platform an archive has the platforms
that are cached.`,
		Example: `mirrord export alpine:3 'quay.io/org/**' -o images.tar
mirrord export nginx:1.27 --platform linux/arm64 --fetch -o /media/usb/images/`,
		Args:              refuse(cobra.MinimumNArgs(1)),
		ValidArgsFunction: completeImages,
	}
	out := c.Flags().StringP("output", "o", "", "file to write, directory (an existing one, or with / at the end), or - for stdout")
	platforms := c.Flags().StringArray("platform", nil, "such as linux/arm64; may be repeated")
	fetch := c.Flags().Bool("fetch", false, "pull through the mirror what is missing, which counts against the pull limit")
	partial := c.Flags().Bool("partial", false, "leave out what is missing")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, images []string) error {
		switch {
		case *out == "":
			return refusal{errors.New("say where to write the archive, for example with -o images.tar")}
		case *out == "-" && term.IsTerminal(int(os.Stdout.Fd())):
			return refusal{errors.New("the archive would be written to the terminal; name a file, for example with -o images.tar, or pipe it into a program")}
		}
		ctx, stop := untilInterrupted(c.Context())
		defer stop()
		mirror, err := findMirror(c)
		if err != nil {
			return needsMirror(err)
		}
		body, size, err := mirror.Export(ctx, url.Values{
			"image": images, "platform": *platforms, "fetch": {fmt.Sprint(*fetch)}, "partial": {fmt.Sprint(*partial)},
		})
		if ctx.Err() != nil {
			return fmt.Errorf("the export is not complete: %w; what was fetched is cached", err)
		}
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }()
		bar := newBytesBar(size)
		done, err := writeExport(io.TeeReader(body, bar), *out)
		_ = bar.Clear()
		if err != nil {
			return fmt.Errorf("the export is not complete: %w", err)
		}
		return printExport(c, *asJSON, *out, done)
	}
	return c
}

// untilInterrupted returns a context that the first Ctrl-C ends; the second one ends the
// process.
func untilInterrupted(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// needsMirror says what to do when no mirror runs.
func needsMirror(err error) error {
	if errors.Is(err, admin.ErrNoMirror) {
		return fmt.Errorf("%w; archives are written and read by a running mirror: start one with mirrord serve", err)
	}
	return err
}

// newBytesBar returns a bar on stderr of size bytes, which writes nothing where that is not
// a terminal.
func newBytesBar(size int64) *progressbar.ProgressBar {
	bar := newBar()
	if bar == nil {
		return progressbar.NewOptions64(size, progressbar.OptionSetVisibility(false), progressbar.OptionSetWriter(io.Discard))
	}
	bar.ChangeMax64(size)
	return bar
}

// isDirectory reports whether a path for output is that of a directory.
func isDirectory(out string) bool {
	info, err := os.Stat(out)
	return strings.HasSuffix(out, "/") || err == nil && info.IsDir()
}

func writeExport(body io.Reader, out string) (archive.Unpacked, error) {
	switch {
	case out == "-":
		n, err := io.Copy(os.Stdout, body)
		return archive.Unpacked{Bytes: n}, err
	case isDirectory(out):
		done, err := archive.Unpack(body, out)
		if err == nil {
			_, err = io.Copy(io.Discard, body) // the mirror says at the end whether it is whole
		}
		return done, err
	}
	return writeTar(body, out)
}

// writeTar writes a file beside out, and gives it its name when it is whole.
func writeTar(body io.Reader, out string) (archive.Unpacked, error) {
	f, err := os.Create(out + ".part")
	if err != nil {
		return archive.Unpacked{}, err
	}
	n, err := io.Copy(f, body)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		return archive.Unpacked{Bytes: n}, os.Rename(f.Name(), out)
	}
	_ = os.Remove(f.Name())
	return archive.Unpacked{}, fmt.Errorf("%w; a tar begins again the next time, a directory (-o DIR/) would go on", err)
}

func printExport(c *cobra.Command, asJSON bool, out string, done archive.Unpacked) error {
	if out == "-" {
		return nil
	}
	if asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(done)
	}
	text := fmt.Sprintf("wrote %s: %s", out, units.BytesSize(float64(done.Bytes)))
	if done.Present > 0 {
		text += "; " + plural(done.Present, "blob") + " already there"
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), text)
	return err
}
