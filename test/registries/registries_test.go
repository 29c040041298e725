package registries

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.uber.org/goleak"

	"mirrord/internal/hubsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tag = "v1"

var allTags = []string{"v1", "v2", "v3", "v4", "v5"}

// expiryTime is after which a tag is no longer fresh, and a token has expired.
const expiryTime = 2 * time.Hour

// revokeTime is after which a token no longer counts as just issued, and before it
// expires.
const revokeTime = 20 * time.Second

// outcomes are what a client sees, by case.
type outcomes map[string]string

// usual are the outcomes at a registry that behaves like Docker Hub.
var usual = outcomes{
	"cold pull":          "200",
	"warm pull":          "200",
	"later pull":         "200 after 2 HEADs, 2 GETs",
	"offline":            "200 stale",
	"denied repository":  "404 NAME_UNKNOWN",
	"missing tag":        unknown,
	"deleted tag":        unknown,
	"revoked token":      "200",
	"missing repository": "404 NAME_UNKNOWN",
	"rate limited":       "503 TOOMANYREQUESTS",
	"limited tokens":     "503 TOOMANYREQUESTS",
	"tags":               "v1 v2 v3 v4 v5",
	"pages of tags":      "v1 v2, v3 v4, v5",
	"referrers":          "200 1",
}

// row is a profile and what differs with it.
type row struct {
	profile string
	login   bool   // the mirror has one
	repo    string // that clients name; empty: team/app
	stored  string // its real name; empty: the same
	want    outcomes
}

// tries are the cases; each starts with an empty cache.
var tries = map[string]func(*mirror) string{
	"cold pull":          coldPull,
	"warm pull":          warmPull,
	"later pull":         laterPull,
	"offline":            offline,
	"denied repository":  func(m *mirror) string { return m.content(private, "manifests/"+tag).String() },
	"missing tag":        func(m *mirror) string { return m.content(m.repo, "manifests/nothing").String() },
	"deleted tag":        deletedTag,
	"revoked token":      revokedToken,
	"missing repository": func(m *mirror) string { return m.content(missing, "manifests/"+tag).String() },
	"rate limited":       func(m *mirror) string { return m.limited("manifest") },
	"limited tokens":     func(m *mirror) string { return m.limited("token") },
	"tags":               func(m *mirror) string { return m.tagsBy("") },
	"pages of tags":      func(m *mirror) string { return m.tagsBy("?n=2") },
	"referrers":          referrers,
}

// coldPull pulls the image: every manifest and every blob is fetched once.
func coldPull(m *mirror) string {
	top := m.pull()
	m.checkFetched()
	return top.String()
}

// warmPull pulls it once more: nothing is fetched.
func warmPull(m *mirror) string {
	m.pull()
	m.hub.Reset()
	top := m.pull()
	if n := m.hub.Counters(); n.Requests > 0 {
		m.t.Errorf("a warm pull sent %d requests: %+v", n.Requests, n)
	}
	return top.String()
}

// laterPull pulls it again when the tag is no longer fresh.
func laterPull(m *mirror) string {
	m.pull()
	<-time.After(expiryTime)
	top := m.pull()
	n := m.hub.Counters()
	return fmt.Sprintf("%s after %d HEADs, %d GETs", top, n.ManifestHEADs, n.ManifestRequests)
}

// deletedTag gets a tag that was pulled and is deleted since.
func deletedTag(m *mirror) string {
	m.pull()
	m.hub.DeleteTag(m.stored, tag)
	<-time.After(expiryTime)
	return m.pull().String()
}

// revokedToken gets another tag with a token that is valid no longer, although it has
// not expired.
func revokedToken(m *mirror) string {
	m.pull()
	m.hub.RevokeTokens()
	<-time.After(revokeTime)
	return m.content(m.repo, "manifests/"+allTags[1]).String()
}

// offline pulls it when the registry is down.
func offline(m *mirror) string {
	m.pull()
	<-time.After(expiryTime)
	m.hub.Down()
	return m.pull().String()
}

// checkFetched checks that every manifest and every blob was fetched once.
func (m *mirror) checkFetched() {
	m.t.Helper()
	n := m.hub.Counters()
	if len(n.ManifestGETsByDigest) != manifests || n.ManifestRequests != manifests || len(n.BlobGETsByDigest) != blobs {
		m.t.Errorf("fetched %d manifests with %d requests, %d blobs", len(n.ManifestGETsByDigest), n.ManifestRequests, len(n.BlobGETsByDigest))
	}
	for d, times := range n.BlobGETsByDigest {
		if times != 1 {
			m.t.Errorf("blob %s was fetched %d times", d, times)
		}
	}
}

// limited pulls the image when requests of that operation are limited, and again when
// they no longer are.
func (m *mirror) limited(op string) string {
	remove := m.hub.Inject(hubsim.Fault{Op: op, PullLimit: true})
	first := m.content(m.repo, "manifests/"+tag)
	remove()
	<-time.After(expiryTime)
	if again := m.pull(); again.StatusCode != http.StatusOK {
		m.t.Errorf("after the limit: %s: %.300s", again, again.body)
	}
	return first.String()
}

// referrers lists the referrers of the image, and of a digest that does not exist.
func referrers(m *mirror) string {
	r := m.content(m.repo, "referrers/"+m.subject.String())
	var index imgspec.Index
	if r.StatusCode == http.StatusOK && json.Unmarshal(r.body, &index) == nil {
		return fmt.Sprint(r, " ", len(index.Manifests))
	}
	return r.String()
}

// TestProfiles tests all cases with every profile.
func TestProfiles(t *testing.T) {
	for _, r := range rows {
		t.Run(r.profile, func(t *testing.T) {
			t.Parallel()
			want := maps.Clone(usual)
			maps.Copy(want, r.want)
			for name, try := range tries {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { tryCase(t, r, try, want[name]) })
				})
			}
		})
	}
}

// tryCase tries a case, and checks what holds in all of them: no login or token is
// sent where it does not belong.
func tryCase(t *testing.T, r row, try func(*mirror) string, want string) {
	m := newMirror(t, r)
	if got := try(m); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	n := m.hub.Counters()
	if n.CDNAuthorization > 0 || n.OtherAuthorization > 0 || n.TokenFailures > 0 {
		t.Errorf("credentials: %d to the CDN, %d to another host, %d refused", n.CDNAuthorization, n.OtherAuthorization, n.TokenFailures)
	}
}
