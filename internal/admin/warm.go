package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"mirrord/internal/warm"
)

// WarmLine is one line of the response to a request to warm images: first the plan, then
// how far it is and what became of each image, and at the end the summary.
type WarmLine struct {
	Plan     *warm.Plan     `json:"plan,omitempty"`
	Progress *warm.Progress `json:"progress,omitempty"`
	Result   *warm.Result   `json:"result,omitempty"`
	Summary  *warm.Summary  `json:"summary,omitempty"`
	Done     bool           `json:"done,omitempty"`
}

const maxJob = 4 << 20 // bytes of a request to warm

// warm fetches the images of a warm.Job in the body, as long as the client waits. With
// plan=true in the query it only says what that would cost.
func (a *API) warm(r *http.Request, lines *lineWriter) error {
	var job warm.Job
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxJob))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&job); err != nil {
		return badRequest(fmt.Errorf("invalid list of images: %w", err))
	}
	if err := job.Check(); err != nil {
		return badRequest(err)
	}
	if err := a.opts.Warmer.Ready(); err != nil {
		return refuse(http.StatusConflict, err)
	}
	lines.begin() // the plan may take long
	if r.URL.Query().Get("plan") == "true" {
		plan, err := a.opts.Warmer.Plan(r.Context(), job)
		if err == nil {
			lines.write(WarmLine{Plan: plan, Done: true})
		}
		return err
	}
	summary, err := a.opts.Warmer.Run(r.Context(), job, warm.Report{
		Planned:  func(p *warm.Plan) { lines.write(WarmLine{Plan: p}) },
		Progress: func(p warm.Progress) { lines.write(WarmLine{Progress: &p}) },
		Result:   func(r warm.Result) { lines.write(WarmLine{Result: &r}) },
	})
	if err == nil {
		lines.write(WarmLine{Summary: &summary, Done: true})
	}
	return err
}

// Warm warms the images of j, or with planOnly says what that would cost, and calls each
// with the lines of the response and what they stand for. The mirror stops when ctx ends.
func (c *Client) Warm(ctx context.Context, j warm.Job, planOnly bool, each func(raw []byte, line WarmLine)) error {
	query := url.Values{"plan": {strconv.FormatBool(planOnly)}}
	return c.lines(ctx, http.MethodPost, "/v1/warm", query, j, func(raw []byte) error {
		var line WarmLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return err
		}
		each(raw, line)
		return nil
	})
}
