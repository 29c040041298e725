package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"mirrord/internal/admin"
	"mirrord/internal/config"
	"mirrord/internal/doctor"
	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/fleetprobe"
	"mirrord/internal/fleet/guard"
	"mirrord/internal/fleet/keys"
	"mirrord/internal/fleet/roster"
	"mirrord/internal/fleet/sweep"
	"mirrord/internal/health"
	"mirrord/internal/stack"
	"mirrord/internal/status"
	"mirrord/internal/telemetry"
)

// fleetOps is what a mirror does for its fleet beside serving clients: it finds out what
// the store can, says that it is there, and touches what is used. A nil fleetOps is that of
// a mirror by itself.
type fleetOps struct {
	daemon  *daemon
	bucket  bucket.Bucket // which is asked also while it is left alone for clients
	guarded *guard.Bucket // which clients cause to be asked
	self    roster.Member
	secret  keys.Secret
	probe   *fleetprobe.Prober
	toucher *sweep.Toucher
	outage  outage
}

// watchFleet returns what the daemon does for f beside serving clients, and has it watch
// what they need of the bucket.
func (d *daemon) watchFleet(f *stack.Fleet) (*fleetOps, error) {
	if f == nil {
		return nil, nil
	}
	node, err := fleetNode(d.cfg)
	if err != nil {
		return nil, fmt.Errorf("fleet.node: %w; write a name for this mirror", err)
	}
	o := &fleetOps{daemon: d, bucket: f.Bucket}
	o.self = roster.Member{Node: node, Boot: d.id, Address: d.cfg.Fleet.Advertise, Version: thisBuild().Version}
	hooks := telemetry.ProbeHooks(d.log)
	if d.cfg.Fleet.Leases == config.LeasesOff {
		hooks.NoConditions = nil
	}
	logged := hooks.Probed
	hooks.Probed = func(c fleetprobe.Capabilities) {
		logged(c)
		if tags := d.mirror.SharedTags; tags != nil {
			tags.SetAges(c.Ages)
		}
	}
	hooks.WrongSecret = func(err error) { d.mirror.Health.Fail(health.Fleet, err) }
	o.probe = fleetprobe.New(fleetprobe.Options{Bucket: o.bucket, Secret: f.Secret, Hooks: hooks})
	o.toucher = sweep.NewToucher(sweep.TouchOptions{
		Bucket: o.bucket, MaxAge: d.cfg.Fleet.MaxAge, Used: d.usedSince,
		Able: func() bool { c := o.probe.Capabilities(); return c.Ages && c.Touch },
	})
	o.guarded = guard.New(o.toucher.Watch(f.Bucket), guard.Hooks{Failing: o.bucketFails, Recovered: o.outage.end})
	f.Bucket, f.Found = o.guarded, o.probe.State
	o.shareWork(f)
	d.metrics.WatchProbe(o.probe.State)
	return o, nil
}

// fleetNode is the name of the mirror in its fleet.
func fleetNode(cfg *config.Config) (string, error) {
	if cfg.Fleet.Node != "" {
		return cfg.Fleet.Node, nil
	}
	return os.Hostname()
}

// usedSince yields the keys and sizes of what was served from the disk since a time.
func (d *daemon) usedSince(since time.Time) iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for _, r := range d.mirror.Cache.Records() {
			if r.Used.After(since) && !yield(keys.Blob(r.Digest), r.Size) {
				return
			}
		}
	}
}

// workers are what runs until the daemon ends.
func (o *fleetOps) workers() []func(context.Context) error {
	if o == nil {
		return nil
	}
	o.daemon.mirror.Health.OnRetry(health.Fleet, o.problem)
	o.daemon.mirror.Health.OnRetry(health.Bucket, o.tryBucket)
	return []func(context.Context) error{o.probe.Run, roster.Beacon{Bucket: o.bucket, Self: o.self}.Run, o.toucher.Run}
}

// bucketFails notes that the bucket is left alone from now on.
func (o *fleetOps) bucketFails(err error) {
	o.outage.begin(err)
	o.daemon.mirror.Health.Fail(health.Bucket, err)
}

const tryTime = 2 * time.Second // for a request that nobody waits for

// tryBucket is why the bucket is left alone, or nil. It writes and reads the object of this
// mirror when a try is due: a mirror that no client uses finds out, too, that the bucket works
// again.
func (o *fleetOps) tryBucket() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), tryTime, bucket.ErrTimeout)
	defer cancel()
	_ = roster.Beacon{Bucket: o.guarded, Self: o.self}.Write(ctx)
	if object, err := o.guarded.Get(ctx, keys.Node(o.self.Node, o.self.Boot), 0, ""); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(object.Body, object.Size))
		_ = object.Body.Close()
	}
	return o.guarded.Failure()
}

// problem is why less is shared than is configured, or nil.
func (o *fleetOps) problem() error {
	s := o.probe.State()
	switch {
	case s.Secret != nil:
		return fmt.Errorf("%w; give all mirrors the same fleet.secret_file, or delete the object %s of the bucket for a new fleet", s.Secret, o.daemon.cfg.Fleet.S3.Prefix+keys.Fleet)
	case s.Basics && !s.Conditions && o.daemon.cfg.Fleet.Leases == config.LeasesRequire:
		return fmt.Errorf("fleet.leases is require: %w", s.Lack)
	}
	return nil
}

const requireTime = 5 * time.Second

// require fails when fleet.leases is require and it is known, within five seconds, that
// they cannot be had.
func (o *fleetOps) require(ctx context.Context) error {
	if o == nil || o.daemon.cfg.Fleet.Leases != config.LeasesRequire {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requireTime)
	defer cancel()
	if _, err := o.probe.AwaitBasics(ctx); err != nil {
		return nil // it is degraded once it is known
	}
	if err := o.problem(); err != nil {
		return refusal{fmt.Errorf("%w; with fleet.leases auto the mirror runs without", err)}
	}
	return nil
}

// status is what a person wants to know of the fleet, from memory.
func (o *fleetOps) status() *status.Fleet {
	if o == nil {
		return nil
	}
	s, figures := o.probe.State(), o.daemon.metrics.BucketFigures()
	f := &status.Fleet{
		Bucket: o.daemon.cfg.Fleet.S3.Bucket + " at " + o.daemon.cfg.Fleet.S3.Endpoint, Node: o.self.Node, Boot: o.self.Boot,
		Probed: s.Done, Conditions: s.Conditions, Ages: s.Ages, Touch: s.Touch, Secret: o.secretState(s),
		Outage: o.outage.now(), UploadsWaiting: o.daemon.mirror.Uploads.Waiting(),
		BytesRead: figures.BytesRead, BytesWritten: figures.BytesWritten,
		Reads: status.FleetLatency(figures.Reads), Writes: status.FleetLatency(figures.Writes),
	}
	if leases := o.daemon.mirror.Leases; leases != nil {
		held := len(leases.Held())
		f.Leases = &held
	}
	if err := errors.Join(o.problem(), s.Failure); err != nil {
		f.Problem = err.Error()
	}
	return f
}

func (o *fleetOps) secretState(s fleetprobe.State) string {
	switch {
	case o.daemon.cfg.Fleet.SecretFile == "":
		return "none"
	case s.SecretOK:
		return "ok"
	case s.Secret != nil:
		return "wrong"
	}
	return "unknown"
}

// checks are for the doctor.
func (o *fleetOps) checks() []doctor.Check {
	if o == nil {
		return nil
	}
	return doctor.Fleet(o.probe.State(), o.daemon.cfg.Fleet.Leases != config.LeasesOff)
}

// members lists the mirrors of the fleet.
func (o *fleetOps) members(ctx context.Context) ([]roster.Member, error) {
	return roster.List(ctx, o.bucket)
}

const knownTime = 15 * time.Second // for finding out what the store can

// sweep removes what is too old from the bucket.
func (o *fleetOps) sweep(ctx context.Context, dryRun bool, progress func(sweep.Result)) (sweep.Result, error) {
	waiting, cancel := context.WithTimeout(ctx, knownTime)
	defer cancel()
	s, err := o.probe.Await(waiting)
	if err != nil {
		return sweep.Result{}, fmt.Errorf("what the fleet's bucket can do is not known: %w", err)
	}
	if !s.Ages {
		return sweep.Result{}, errors.New("the clocks of the fleet's object store disagree, so that the ages of its objects are wrong: nothing was removed")
	}
	return sweep.Run(ctx, sweep.Options{Bucket: o.bucket, MaxAge: o.daemon.cfg.Fleet.MaxAge, DryRun: dryRun, Progress: progress})
}

// adminFleet is what the admin API needs; nil for a mirror by itself.
func (o *fleetOps) adminFleet() *admin.FleetOptions {
	if o == nil {
		return nil
	}
	return &admin.FleetOptions{Status: o.status, Members: o.members, Sweep: o.sweep}
}

// outage is since when the bucket is left alone, and why. Its methods may be called
// concurrently.
type outage struct {
	mu    sync.Mutex // guards the rest
	parts int        // of the bucket that fail: reads, writes
	last  status.FleetError
}

func (o *outage) begin(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.parts == 0 {
		o.last.Since = time.Now().UTC().Truncate(time.Second)
	}
	o.parts++
	o.last.Error = err.Error()
}

func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.parts--
}

func (o *outage) now() *status.FleetError {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.parts == 0 {
		return nil
	}
	last := o.last
	return &last
}
