package status

import (
	"strings"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mirrord/internal/oci"
)

const (
	maxVisits = 4096

	// visitTime is how long after its last request a client is taken to go on with the
	// tag that it has asked for, and pullTime for how long the manifests by digest that it
	// asks for belong to the pull that it has begun: an index, and the image in it.
	visitTime = time.Hour
	pullTime  = time.Minute
)

// image names what is pulled. Without a tag it is what was pulled by digest alone.
type image struct{ upstream, repository, tag string }

func (i image) String() string {
	name := i.upstream + "/" + i.repository
	if i.tag != "" {
		name += ":" + i.tag
	}
	return name
}

// clone returns i in memory of its own: the strings of a request are parts of larger ones.
func (i image) clone() image {
	return image{strings.Clone(i.upstream), strings.Clone(i.repository), strings.Clone(i.tag)}
}

// visit is what a client asks for in one repository. Of a pull only the first request
// has the tag: manifests and blobs follow by digest.
type visit struct {
	tag         string
	begun, last time.Time
}

type visitor struct {
	client oci.ClientKey
	image  // without its tag
}

// visits are the most recent ones, in bounded memory.
type visits struct {
	of *simplelru.LRU[visitor, *visit]
}

func newVisits() visits { return visits{newLRU[visitor, *visit](maxVisits)} }

// find returns the image that q asks for, and its client's visit if there was one.
func (v visits) find(q Request, now time.Time) (image, *visit) {
	i := image{upstream: q.Upstream, repository: q.Repository}
	known, ok := v.of.Get(visitor{q.Client, i})
	switch {
	case q.byTag():
		i.tag = q.Reference
	case ok && now.Sub(known.last).Abs() < visitTime:
		i.tag = known.tag
	}
	return i, known
}

// note notes a request for i in a visit that find has found, or that begins, and reports
// whether it begins a pull: one for a tag does, and the GET of a manifest by digest unless
// it belongs to one.
func (v visits) note(q Request, i image, known *visit, now time.Time) bool {
	if known == nil {
		known = new(visit)
		v.of.Add(visitor{q.Client, image{upstream: i.upstream, repository: i.repository}.clone()}, known)
	}
	known.last = now
	begins := q.byTag() || q.Manifest && !q.Head && !q.isReferrers() && now.Sub(known.begun).Abs() > pullTime
	if begins {
		known.begun = now
	}
	if known.tag != i.tag {
		known.tag = strings.Clone(i.tag)
	}
	return begins
}

// byTag reports whether q is for a tag that a person may have written.
func (q Request) byTag() bool {
	return q.Manifest && q.Reference != "" && !strings.Contains(q.Reference, ":") && !q.isReferrers()
}

// isReferrers reports whether q is for signatures and the like of an image.
func (q Request) isReferrers() bool { return q.Manifest && oci.IsReferrersTag(q.Reference) }
