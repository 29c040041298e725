package upstream

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"mirrord/internal/oci"
	"mirrord/internal/ratelimit"
)

const maxPreferred = 4096 // repositories for which a preferred member is remembered

// Member is an upstream with one credential.
type Member struct {
	Name      string // in logs and metrics; not a user name
	Registry  *Registry
	Budget    func() ratelimit.Budget
	Stamp     func() string               // changes when the login does
	ReadLogin func(context.Context) error // fails when the login cannot be read; for Check
	Anonymous bool                        // used when no other member has a pull left
}

// PoolOptions configure a Pool. All fields are required.
type PoolOptions struct {
	Name          string                                          // of the upstream
	Members       []Member                                        // at least one
	Reach         func(context.Context) error                     // asks the registry for /v2/; for Check
	Reserve       func(limit int) int                             // how many of the last pulls are reserved for images that were never pulled
	LoginDisabled func(member string, err error, until time.Time) // the login was rejected and is not used until then
	LoginRestored func(member string)                             // the login works again
}

// Pool is one upstream with several credentials: a Registry that spends each pull
// where most are left, disables a member for a while whose login fails, and tries the
// other members when one is denied. It may be used concurrently.
type Pool struct {
	opts         PoolOptions
	preferred    *lru.Cache[string, int] // by repository: the member that succeeded where another was denied
	uselessHeads uselessHeads

	probed []time.Time // by member; for Probe alone

	mu       sync.Mutex // guards disabled; held for no I/O
	disabled []disabled // by member
}

// NewPool returns the Pool of its members. It starts nothing.
func NewPool(o PoolOptions) *Pool {
	preferred, err := lru.New[string, int](maxPreferred)
	if err != nil {
		panic(err) // only for a size below one
	}
	n := len(o.Members)
	return &Pool{opts: o, preferred: preferred, uselessHeads: newUselessHeads(), probed: make([]time.Time, n), disabled: make([]disabled, n)}
}

// Name returns the name of the upstream.
func (p *Pool) Name() string { return p.opts.Name }

// Members returns the members in their configured order; do not modify it.
func (p *Pool) Members() []Member { return p.opts.Members }

// Resolve implements oci.Registry.
func (p *Pool) Resolve(ctx context.Context, ref oci.Ref) (oci.Result, error) {
	if ref.Kind() == oci.Manifest && p.uselessHeads.has(ref.Repository()) {
		return oci.Result{}, oci.Errorf(oci.Unavailable, "%s: %w: the last one for repository %s did not", p.opts.Name, oci.ErrNeedsGet, ref.Repository())
	}
	answer, err := tryMembers(p, ref.Repository(), false, func(r *Registry) (oci.Result, error) { return r.Resolve(ctx, ref) })
	if !ref.ByDigest() && errors.Is(err, oci.ErrNeedsGet) && !errors.Is(err, errNeedsGetNow) {
		p.uselessHeads.add(ref.Repository())
	}
	return answer, err
}

func (p *Pool) Open(ctx context.Context, ref oci.Ref) (*oci.Content, error) {
	pull := ref.Kind() == oci.Manifest
	content, err := tryMembers(p, ref.Repository(), pull, func(r *Registry) (*oci.Content, error) { return r.Open(ctx, ref) })
	if err != nil && !ref.ByDigest() && oci.CodeOf(err) != oci.TooManyRequests {
		p.uselessHeads.remove(ref.Repository()) // the HEAD was not to blame
	}
	return content, err
}

func (p *Pool) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	return tryMembers(p, q.Repository(), false, func(r *Registry) (*oci.Page, error) { return r.List(ctx, q) })
}

// tryMembers tries one member after the other until one responds, or fails with an
// error that the others would return as well.
func tryMembers[A any](p *Pool, repository string, pull bool, call func(*Registry) (A, error)) (answer A, err error) {
	order, err := p.order(repository, pull)
	var denied bool
	for _, i := range order {
		got, failed := call(p.opts.Members[i].Registry)
		p.recordLogin(i, failed)
		if !mayTryNext(failed) {
			if failed == nil && denied {
				p.preferred.Add(repository, i)
			}
			return got, failed
		}
		denied = denied || !oci.Temporary(failed)
		err = moreSevere(err, failed)
	}
	return answer, err
}

// mayTryNext reports whether another member may succeed where one has failed with
// err.
func mayTryNext(err error) bool {
	if err == nil {
		return false
	}
	switch oci.CodeOf(err) {
	case oci.TooManyRequests, oci.NameUnknown, oci.Denied:
		return true
	}
	return errors.Is(err, oci.ErrLogin) || errors.Is(err, errNeedsGetNow)
}

// moreSevere returns which of two members' errors is reported. As long as one member
// could not be asked, it is not certain that the content does not exist; and a limit
// ends by itself.
func moreSevere(a, b error) error {
	rank := func(err error) int {
		switch {
		case err == nil:
			return 0
		case !oci.Temporary(err):
			return 1
		case oci.CodeOf(err) != oci.TooManyRequests:
			return 2
		}
		return 3
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// order returns the members in the order in which they are tried: for a pull the one
// with the most left first. When a member is disabled, err is why.
func (p *Pool) order(repository string, pull bool) (order []int, err error) {
	for i := range p.opts.Members {
		if out := p.disabledErr(i); out != nil {
			err = cmp.Or(err, out)
			continue
		}
		order = append(order, i)
	}
	if len(order) < 2 {
		return order, err
	}
	if pull {
		p.sortByRemaining(order)
	}
	if found, ok := p.preferred.Get(repository); ok {
		if at := slices.Index(order, found); at > 0 {
			order = slices.Insert(slices.Delete(order, at, at+1), 0, found)
		}
	}
	return order, err
}

// sortByRemaining puts the member with the most pulls left first, and an anonymous
// one behind the logins that have any.
func (p *Pool) sortByRemaining(order []int) {
	left := make([]int, len(p.opts.Members))
	for _, i := range order {
		left[i] = remainingPulls(p.opts.Members[i].Budget())
	}
	group := func(i int) int {
		switch {
		case left[i] <= 0:
			return 2
		case p.opts.Members[i].Anonymous:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(group(a), group(b)), cmp.Compare(left[b], left[a]))
	})
}

// remainingPulls is how many pulls are left. An unknown limit counts as no limit.
func remainingPulls(b ratelimit.Budget) int {
	switch {
	case !b.PullsAt.IsZero():
		return math.MinInt
	case !b.Known():
		return math.MaxInt
	}
	return b.Remaining
}

// CheckReserve returns why no pull should be spent on a newer copy of cached content,
// or nil when a member has more than the reserve left.
func (p *Pool) CheckReserve() error {
	var why error
	for i, m := range p.opts.Members {
		if p.disabledErr(i) != nil {
			continue
		}
		b := m.Budget()
		limit := b.Reserved(p.opts.Reserve(b.Limit))
		if limit == nil {
			return nil
		}
		if why == nil {
			why = limit
		}
	}
	return why
}
