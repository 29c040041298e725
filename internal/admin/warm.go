package admin

import (
	"context"
	"encoding/json"
	"errors"
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

// WarmRequest is what to warm: a job, or a list of the mirror's configuration.
type WarmRequest struct {
	warm.Job
	List string `json:"list,omitempty"` // its name; empty: Job
}

const maxJob = 4 << 20 // bytes of a request to warm

// readWarmRequest returns the request in the body, with the images that it means now.
func (a *API) readWarmRequest(r *http.Request) (WarmRequest, error) {
	var request WarmRequest
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxJob))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return request, fmt.Errorf("invalid list of images: %w", err)
	}
	if request.List == "" {
		return request, request.Check()
	}
	if len(request.Images)+len(request.Platforms)+request.MaxPulls != 0 {
		return request, errors.New("both a list and images, platforms or max_pulls are named; a list has its own")
	}
	var err error
	request.Job, _, err = a.opts.WarmLists.Job(request.List)
	return request, err
}

// warm fetches what a WarmRequest in the body means, as long as the client waits. With
// plan=true in the query it only says what that would cost.
func (a *API) warm(r *http.Request, lines *lineWriter) error {
	request, err := a.readWarmRequest(r)
	if err != nil {
		return badRequest(err)
	}
	if err := a.opts.Warmer.Ready(); err != nil {
		return refuse(http.StatusConflict, err)
	}
	note := noteOf(r)
	note.list = request.List
	for _, image := range request.Images {
		note.addImage(image.Name)
	}
	lines.begin() // the plan may take long
	if r.URL.Query().Get("plan") == "true" {
		note.looked = true
		plan, err := a.opts.Warmer.Plan(r.Context(), request.Job)
		if err == nil {
			lines.write(WarmLine{Plan: plan, Done: true})
		}
		return err
	}
	report := warm.Report{
		Planned:  func(p *warm.Plan) { lines.write(WarmLine{Plan: p}) },
		Progress: func(p warm.Progress) { lines.write(WarmLine{Progress: &p}) },
		Result:   func(r warm.Result) { lines.write(WarmLine{Result: &r}) },
	}
	var summary warm.Summary
	if request.List != "" {
		summary, err = a.opts.WarmLists.RunNow(r.Context(), request.List, report)
	} else {
		summary, err = a.opts.Warmer.Run(r.Context(), request.Job, report)
	}
	if err == nil {
		note.leftOut(summary.Images-summary.Warmed-summary.Cached, summary.Images, "warmed")
		lines.write(WarmLine{Summary: &summary, Done: true})
	}
	return err
}

// warmLists returns the state of the lists that are warmed by a schedule.
func (a *API) warmLists(*http.Request) (any, error) { return a.opts.WarmLists.Status(), nil }

// WarmLists returns the state of the lists that the mirror warms by a schedule, and as the
// mirror sent it.
func (c *Client) WarmLists(ctx context.Context) (lists []warm.ListStatus, raw []byte, err error) {
	raw, err = c.get(ctx, "/v1/warm/lists", nil, &lists)
	return lists, raw, err
}

// Warm warms what w means, or with planOnly says what that would cost, and calls each
// with the lines of the response and what they stand for. The mirror stops when ctx ends.
func (c *Client) Warm(ctx context.Context, w WarmRequest, planOnly bool, each func(raw []byte, line WarmLine)) error {
	query := url.Values{"plan": {strconv.FormatBool(planOnly)}}
	return c.lines(ctx, http.MethodPost, "/v1/warm", query, w, func(raw []byte) error {
		var line WarmLine
		if err := json.Unmarshal(raw, &line); err != nil {
			return err
		}
		each(raw, line)
		return nil
	})
}
