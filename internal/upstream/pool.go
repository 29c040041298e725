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

const maxPreferred = 4096 // repositories that are remembered as open to one member only

// Member is one credential's way to an upstream.
type Member struct {
	Name      string // in logs and metrics, no user name
	Registry  *Registry
	Budget    func() ratelimit.Budget
	Stamp     func() string               // changes when the login does
	ReadLogin func(context.Context) error // says why the login cannot be read; for Check
	Anonymous bool                        // used when no other has a pull left
}

// PoolOptions are those of a Pool. All are needed.
type PoolOptions struct {
	Name          string                                          // of the upstream
	Members       []Member                                        // at least one
	Reach         func(context.Context) error                     // asks the registry for /v2/; for Check
	Reserve       func(limit int) int                             // how many of the last pulls are kept for what was never seen
	LoginDisabled func(member string, err error, until time.Time) // the login was rejected and is not used until then
	LoginRestored func(member string)                             // the login works again
}

// Pool is one upstream with several credentials: a Registry that spends each
// pull where most are left, sets aside for a while who is not let in, and asks
// the others when one is refused what they may have. It may be used
// concurrently.
type Pool struct {
	opts         PoolOptions
	preferred    *lru.Cache[string, int] // by repository: the member that was let in where one before it was not
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
		p.uselessHeads.remove(ref.Repository()) // it was not the method
	}
	return content, err
}

func (p *Pool) List(ctx context.Context, q oci.Listing) (*oci.Page, error) {
	return tryMembers(p, q.Repository(), false, func(r *Registry) (*oci.Page, error) { return r.List(ctx, q) })
}

// tryMembers asks one member after the other until one answers, or refuses what the
// others would refuse as well.
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

// mayTryNext reports whether what one member was refused may be had by another.
func mayTryNext(err error) bool {
	if err == nil {
		return false
	}
	switch oci.CodeOf(err) {
	case oci.TooManyRequests, oci.NameUnknown, oci.Denied:
		return true
	}
	return errors.Is(err, errLogin) || errors.Is(err, errNeedsGetNow)
}

// moreSevere returns which of two members' errors is told: while one of them could
// not be asked, nobody knows that the content does not exist; and a limit ends
// by itself.
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

// order returns who is asked, in turn: for a pull the one with the most left.
// When there is somebody set aside, err is why.
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

// sortByRemaining puts who has most left first, and an anonymous member behind the
// logins that have any.
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

// remainingPulls is how many pulls are left. A limit that is not known is none.
func remainingPulls(b ratelimit.Budget) int {
	switch {
	case !b.PullsAt.IsZero():
		return math.MinInt
	case !b.Known():
		return math.MaxInt
	}
	return b.Remaining
}

// CheckReserve says why no pull should be spent on a newer copy of what is kept; nil:
// one of the members has more than the reserve. ref is what would be pulled.
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
