package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"mirrord/internal/archive"
)

// The header and the trailer of an export.
const (
	bytesHeader   = "X-Mirrord-Bytes"  // of the blobs in the archive
	resultTrailer = "X-Mirrord-Result" // done, or why the archive is not whole
	exported      = "done"
)

// restTime is how long a client has to send what is left of an archive that is refused.
const restTime = 10 * time.Second

// maxMissing is how many missing parts a refusal lists.
const maxMissing = 5

// ImportLine is one line of the response to an import: how far it is, and at the end that
// it is done or why it is not.
type ImportLine struct {
	archive.Summary
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

// serveExport sends an archive of images. The query has the names or patterns in image,
// and optionally platform, fetch=true and partial=true.
func (a *API) serveExport(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if len(query["image"]) == 0 {
		fail(w, r, badRequest(errors.New("name the images to export, or a pattern of them, such as alpine:3 or '**'")))
		return
	}
	plan, err := a.opts.Archives.Plan(r.Context(), query["image"], query["platform"], query.Get("fetch") == "true")
	if err == nil && len(plan.Missing) > 0 && query.Get("partial") != "true" {
		err = missingError(plan.Missing)
	}
	if err != nil {
		fail(w, r, badRequest(err))
		return
	}
	for _, image := range plan.Images {
		noteOf(r).addImage(image.Ref.String())
	}
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set(bytesHeader, strconv.FormatInt(plan.Bytes(), 10))
	w.Header().Set("Trailer", resultTrailer)
	result := exported
	if err := archive.Write(r.Context(), w, a.opts.Archives.Cache, plan); err != nil {
		result, noteOf(r).err = strings.Join(strings.Fields(err.Error()), " "), err // of one line
	}
	w.Header().Set(resultTrailer, result)
}

func missingError(missing []archive.Missing) error {
	var lines []string
	for _, m := range missing[:min(len(missing), maxMissing)] {
		lines = append(lines, m.String())
	}
	if more := len(missing) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("not everything is cached: %s; choose platforms with --platform, get what is missing with --fetch, or leave it out with --partial", strings.Join(lines, "; "))
}

// importArchive reads an archive from the body, while it reports progress.
func (a *API) importArchive(r *http.Request, lines *lineWriter) error {
	if r.ContentLength > a.opts.Archives.Cache.MaxSize() {
		return badRequest(fmt.Errorf("the archive has %d bytes, and cache.max_size is %d: raise it, or export fewer images", r.ContentLength, a.opts.Archives.Cache.MaxSize()))
	}
	controller := http.NewResponseController(lines.response)
	_ = controller.EnableFullDuplex()
	_ = controller.SetReadDeadline(time.Time{}) // other requests have ten seconds for a body; an archive may take hours
	defer func() { _ = controller.SetReadDeadline(time.Now().Add(restTime)) }()
	return a.importing(r, lines, func(o archive.ImportOptions) (archive.Summary, error) {
		return a.opts.Archives.Import(r.Context(), r.Body, o)
	})
}

// importDirectory reads the directory of a registry on this host.
func (a *API) importDirectory(r *http.Request, lines *lineWriter) error {
	query := r.URL.Query()
	return a.importing(r, lines, func(o archive.ImportOptions) (archive.Summary, error) {
		return a.opts.Archives.ImportDirectory(r.Context(), query.Get("dir"), query.Get("upstream"), o)
	})
}

func (a *API) importing(r *http.Request, lines *lineWriter, run func(archive.ImportOptions) (archive.Summary, error)) error {
	query := r.URL.Query()
	lines.begin()
	var last time.Time
	sum, err := run(archive.ImportOptions{
		As: query.Get("as"), Force: query.Get("force") == "true", Partial: query.Get("partial") == "true",
		Progress: func(sum archive.Summary) {
			if time.Since(last) >= ProgressEvery {
				last = time.Now()
				sum.Images = nil
				lines.write(ImportLine{Summary: sum})
			}
		},
	})
	noteImport(noteOf(r), sum, err)
	end := ImportLine{Summary: sum, Done: true}
	if err != nil {
		end.Error = err.Error()
	}
	lines.write(end)
	return nil
}

// noteImport notes which images were imported.
func noteImport(n *note, sum archive.Summary, err error) {
	for _, image := range sum.Images {
		if image.Error == "" {
			n.addImage(image.Image)
		}
	}
	n.leftOut(sum.Failed(), len(sum.Images), "imported")
	if err != nil {
		n.err = err
	}
}

// Export returns an archive of images, and how many bytes its blobs have. The caller
// closes it; it ends with io.EOF only when it is whole. The query is that of the API.
func (c *Client) Export(ctx context.Context, query url.Values) (io.ReadCloser, int64, error) {
	resp, err := c.patient().send(ctx, http.MethodPost, "/v1/export", query, nil)
	if err != nil {
		return nil, 0, err
	}
	size, _ := strconv.ParseInt(resp.Header.Get(bytesHeader), 10, 64) // for progress alone
	return &exportBody{resp}, size, nil
}

// exportBody is the body of an export, which fails unless the mirror says that it is whole.
type exportBody struct{ resp *http.Response }

func (b *exportBody) Close() error { return b.resp.Body.Close() }

func (b *exportBody) Read(p []byte) (int, error) {
	n, err := b.resp.Body.Read(p)
	if err != io.EOF {
		return n, err
	}
	switch result := b.resp.Trailer.Get(resultTrailer); result {
	case exported:
		return n, io.EOF
	case "":
		return n, io.ErrUnexpectedEOF
	default:
		return n, errors.New(result)
	}
}

// ImportArchive sends an archive of that size, or -1, and calls progress with what the
// mirror has done. The query is that of the API.
func (c *Client) ImportArchive(ctx context.Context, query url.Values, body io.Reader, size int64, progress func(archive.Summary)) (archive.Summary, error) {
	source := &sourceBody{source: body}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+dialAddress(c.listen)+"/v1/import-archive?"+query.Encode(), source)
	if err != nil {
		return archive.Summary{}, err
	}
	req.Host, req.ContentLength = "localhost", size
	req.Header.Set("Content-Type", "application/x-tar")
	return c.importLines(progress, func(each func([]byte) error) error {
		resp, err := c.sendRequest(req)
		if err == nil {
			err = c.readLines(ctx, resp, each)
		}
		if failed := source.failed.Load(); failed != nil && ctx.Err() == nil {
			return *failed
		}
		return err
	})
}

// sourceBody is a body that remembers why it cannot be read: what becomes of the request
// then says nothing about the mirror.
type sourceBody struct {
	source io.Reader
	failed atomic.Pointer[error]
}

func (b *sourceBody) Read(p []byte) (int, error) {
	n, err := b.source.Read(p)
	if err != nil && err != io.EOF {
		b.failed.Store(&err)
	}
	return n, err
}

// ImportDirectory has the mirror import the directory of a registry on its host.
func (c *Client) ImportDirectory(ctx context.Context, query url.Values, progress func(archive.Summary)) (archive.Summary, error) {
	return c.importLines(progress, func(each func([]byte) error) error {
		return c.lines(ctx, http.MethodPost, "/v1/import", query, nil, each)
	})
}

func (c *Client) importLines(progress func(archive.Summary), run func(each func([]byte) error) error) (archive.Summary, error) {
	var last archive.Summary
	err := run(func(raw []byte) error {
		var line ImportLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return err
		}
		last = line.Summary
		progress(last)
		return nil
	})
	return last, err
}
