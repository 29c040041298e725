package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"mirrord/internal/archive"
	"mirrord/internal/oci"
)

func newImportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import DIR",
		Short: "Take over the cache of a registry (distribution, registry:2 or 3)",
		Long: `Import what the rootdirectory of a registry has: by hard links where it is on the
file system of the cache and its files are of mirrord's user, else by copies. Every
blob is hashed before it counts. What is there is skipped, so that this can be
repeated. The mirror reads the directory: it must be on its host, and its user must
be able to read it.`,
		Example: "mirrord import /var/lib/registry",
		Args:    refuse(cobra.ExactArgs(1)),
	}
	upstream := c.Flags().String("from", oci.DockerHub, "upstream that the registry was a mirror of")
	force := c.Flags().Bool("force", false, "replace tags of which the mirror knows something newer")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return refusal{err}
		}
		ctx, stop := untilInterrupted(c.Context())
		defer stop()
		mirror, err := findMirror(c)
		if err != nil {
			return needsMirror(err)
		}
		bar := newBytesBar(-1)
		sum, err := mirror.ImportDirectory(ctx, url.Values{"dir": {dir}, "upstream": {*upstream}, "force": {fmt.Sprint(*force)}},
			func(sum archive.Summary) { _ = bar.Set64(sum.Bytes) })
		_ = bar.Clear()
		return printImport(c, *asJSON, sum, err)
	}
	return c
}

func newImportArchiveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "import-archive FILE|DIR|-",
		Short: "Import the images of an archive",
		Long: `Import an OCI image layout, a tar or a directory, that mirrord export has written, or
another program such as skopeo or docker buildx. Every blob is hashed before it
counts, and images are tagged at the end. What is there is skipped, so that an
import that broke off can be repeated.`,
		Example: "mirrord import-archive images.tar\nmirrord import-archive --as docker.io/library/alpine:3 alpine.tar",
		Args:    refuse(cobra.ExactArgs(1)),
	}
	as := c.Flags().String("as", "", "name of the only image, if the archive does not say it")
	force := c.Flags().Bool("force", false, "replace tags of which the mirror knows something newer")
	partial := c.Flags().Bool("partial", false, "take images of which parts are missing")
	asJSON := c.Flags().Bool("json", false, "print JSON")
	addMirrorFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, stop := untilInterrupted(c.Context())
		defer stop()
		source, size, err := openArchive(ctx, args[0])
		if err != nil {
			return refusal{err}
		}
		defer func() { _ = source.Close() }()
		mirror, err := findMirror(c)
		if err != nil {
			return needsMirror(err)
		}
		bar := newBytesBar(size)
		query := url.Values{"as": {*as}, "force": {fmt.Sprint(*force)}, "partial": {fmt.Sprint(*partial)}}
		sum, err := mirror.ImportArchive(ctx, query, io.TeeReader(source, bar), size, func(archive.Summary) {})
		_ = bar.Clear()
		return printImport(c, *asJSON, sum, err)
	}
	return c
}

// openArchive opens a file, a directory, or stdin as a tar, of that size unless it is -1.
func openArchive(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), -1, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if info.IsDir() {
		if _, err := os.Stat(filepath.Join(name, "index.json")); err != nil {
			return nil, 0, fmt.Errorf("%s is not an OCI image layout: %w; the directory of a registry is imported with mirrord import", name, err)
		}
		reader, writer := io.Pipe()
		go func() { writer.CloseWithError(archive.Pack(ctx, writer, name)) }()
		return reader, -1, nil
	}
	f, err := os.Open(name)
	if !info.Mode().IsRegular() {
		return f, -1, err
	}
	return f, info.Size(), err
}

// printImport prints what an import has done, and returns why it failed, if it has.
func printImport(c *cobra.Command, asJSON bool, sum archive.Summary, err error) error {
	if asJSON {
		err = errors.Join(err, json.NewEncoder(c.OutOrStdout()).Encode(sum))
	} else if err == nil || sum.Blobs > 0 {
		writeSummary(c.OutOrStdout(), sum)
	}
	switch {
	case err != nil && sum.Blobs > 0:
		return fmt.Errorf("the import is not complete: %w; what was imported is skipped when it is repeated", err)
	case err != nil:
		return err
	case sum.Failed() > 0:
		return fmt.Errorf("images that were not imported: %d of %d", sum.Failed(), len(sum.Images))
	case sum.Damaged > 0:
		return damage{fmt.Errorf("damaged blobs that were left out: %d; they are fetched when a client wants them", sum.Damaged)}
	}
	return nil
}

func writeSummary(w io.Writer, sum archive.Summary) {
	for _, image := range sum.Images {
		name := printable(cmp.Or(image.Image, image.Digest.String())) // an archive may have any name, or none
		switch {
		case image.Error != "":
			_, _ = fmt.Fprintf(w, "%s: not imported: %s\n", name, printable(image.Error))
		case image.Notes != "":
			_, _ = fmt.Fprintf(w, "%s: imported in part: %s\n", name, printable(image.Notes))
		default:
			_, _ = fmt.Fprintf(w, "%s: imported\n", name)
		}
	}
	_, _ = fmt.Fprintf(w, "blobs: %d new (%s, %d linked), %d there already\n", sum.Blobs, units.BytesSize(float64(sum.Bytes)), sum.Linked, sum.Present)
}
