package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"mirrord/internal/fleet/roster"
	"mirrord/internal/fleet/sweep"
	"mirrord/internal/status"
)

// FleetOptions are what the API needs of a fleet. The functions may be called
// concurrently.
type FleetOptions struct {
	Status  func() *status.Fleet // from memory
	Members func(ctx context.Context) ([]roster.Member, error)
	Sweep   func(ctx context.Context, dryRun bool, progress func(sweep.Result)) (sweep.Result, error)
}

// Fleet is a fleet as one of its mirrors sees it, as JSON.
type Fleet struct {
	status.Fleet
	Nodes   []FleetNode `json:"nodes"`           // that run, and the latest of each other name that was seen in the last hour
	Unknown string      `json:"error,omitempty"` // why there are none
}

// FleetNode is a mirror of a fleet, as JSON.
type FleetNode struct {
	Node    string  `json:"node"`
	Boot    string  `json:"boot"` // the process
	Address string  `json:"address,omitempty"`
	Version string  `json:"version,omitempty"`
	Seen    float64 `json:"seen_seconds"`      // ago, by the store's clock
	Here    bool    `json:"here,omitempty"`    // it is the mirror that responds
	Stopped bool    `json:"stopped,omitempty"` // it has ended
	Twice   bool    `json:"twice,omitempty"`   // another mirror that runs has the same name
}

var errNoFleet = errors.New("this mirror is by itself; fleet.s3 names the bucket that mirrors share")

// fleetStatus is the fleet as the bucket has it, for a person.
func (a *API) fleetStatus(r *http.Request) (any, error) {
	if a.opts.Fleet == nil {
		return nil, refuse(http.StatusConflict, errNoFleet)
	}
	f := Fleet{Fleet: *a.opts.Fleet.Status(), Nodes: []FleetNode{}}
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	members, err := a.opts.Fleet.Members(ctx)
	if err != nil {
		f.Unknown = err.Error()
	}
	for _, m := range roster.Latest(members) {
		f.Nodes = append(f.Nodes, FleetNode{
			Node: m.Node, Boot: m.Boot, Address: m.Address, Version: m.Version, Seen: m.Seen.Seconds(),
			Here: m.Node == f.Node && m.Boot == f.Boot, Stopped: m.Stopped, Twice: m.Twice(members),
		})
	}
	return f, nil
}

// FleetStatus returns the fleet as the mirror sees it, and as the mirror sent it.
func (c *Client) FleetStatus(ctx context.Context) (f Fleet, raw []byte, err error) {
	raw, err = c.get(ctx, "/v1/fleet", nil, &f)
	return f, raw, err
}

// FleetSweepLine is a line of the response to a request to clean up the bucket: what was
// done until then.
type FleetSweepLine struct {
	sweep.Result
	Done bool `json:"done,omitempty"`
}

// sweepFleet removes what is too old from the bucket; with dry_run=true it only says what
// that is.
func (a *API) sweepFleet(r *http.Request, lines *lineWriter) error {
	if a.opts.Fleet == nil {
		return refuse(http.StatusConflict, errNoFleet)
	}
	if !a.sweeping.TryLock() {
		return refuse(http.StatusConflict, errors.New("the bucket is being cleaned up already; see what the other command says"))
	}
	defer a.sweeping.Unlock()
	lines.begin() // it may take long until the first second is over
	done, err := a.opts.Fleet.Sweep(r.Context(), isDryRun(r), func(s sweep.Result) { lines.write(FleetSweepLine{Result: s}) })
	if err == nil || done.Objects > 0 {
		lines.write(FleetSweepLine{done, err == nil})
	}
	return err
}

// SweepFleet removes what is too old from the fleet's bucket, or with dryRun looks what
// that is, and calls each with the lines of the response and what they stand for. The
// mirror stops when ctx ends.
func (c *Client) SweepFleet(ctx context.Context, dryRun bool, each func(raw []byte, line FleetSweepLine)) error {
	query := url.Values{"dry_run": {strconv.FormatBool(dryRun)}}
	return c.lines(ctx, http.MethodPost, "/v1/fleet/gc", query, nil, func(raw []byte) error {
		var line FleetSweepLine
		err := json.Unmarshal(raw, &line)
		if err == nil && line.Removed != nil {
			each(raw, line)
		}
		return err
	})
}
