package registries

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"mirrord/internal/hubsim"
)

const tag = "v1"

var allTags = []string{"v1", "v2", "v3", "v4", "v5"}

const (
	expiryTime = 2 * time.Hour    // after which a tag is no longer fresh, and a token has expired
	revokeTime = 20 * time.Second // after which a token no longer counts as just issued; none expires in it
)

// tries are the cases.
var tries = map[string]try{
	"cold pull":          {do: coldPull, usual: "200"},
	"warm pull":          {do: warmPull, usual: "200"},
	"later pull":         {do: laterPull, usual: "200 after 2 HEADs, 2 GETs"},
	"offline":            {do: offline, usual: "200 stale"},
	"size of a blob":     {do: blobSize, usual: "200"},
	"ranges":             {do: ranges, usual: "206, 206"},
	"login":              {do: loggedIn, usual: "200", password: password},
	"wrong login":        {do: wrongLogin, usual: "503 UNAVAILABLE", password: "wrong", wrong: 2},
	"revoked token":      {do: revokedToken, usual: "200"},
	"sudden challenge":   {do: suddenChallenge, usual: "200 stale"},
	"new password":       {do: newPassword, usual: "200", password: password, wrong: 1},
	"token hiccup":       {do: tokenHiccup, usual: "503 UNAVAILABLE, 200"},
	"filter":             {do: refused(filterPage), usual: "200 stale, 503 UNAVAILABLE"},
	"empty 403":          {do: refused(hubsim.Fault{Status: http.StatusForbidden}), usual: "200 stale, 503 UNAVAILABLE"},
	"policy":             {do: refused(policy), usual: "403 DENIED, 403 DENIED"},
	"denied repository":  {do: get(private, "manifests/"+tag), usual: "404 NAME_UNKNOWN"},
	"missing repository": {do: get(missing, "manifests/"+tag), usual: "404 NAME_UNKNOWN"},
	"missing blob":       {do: missingBlob, usual: "404 BLOB_UNKNOWN"},
	"missing tag":        {do: missingTag, usual: unknown},
	"deleted tag":        {do: deletedTag, usual: unknown},
	"rate limited":       {do: limited("manifest"), usual: "503 TOOMANYREQUESTS"},
	"limited tokens":     {do: limited("token"), usual: "503 TOOMANYREQUESTS"},
	"short limit":        {do: shortLimit("manifest"), usual: "503 TOOMANYREQUESTS, 200"},
	"short tag limit":    {do: shortLimit("tags"), usual: "503 TOOMANYREQUESTS, 200"},
	"limited tags":       {do: limitedTags, usual: "503 TOOMANYREQUESTS"},
	"tags":               {do: tags(""), usual: "v1 v2 v3 v4 v5"},
	"pages of tags":      {do: tags("?n=2"), usual: "v1 v2, v3 v4, v5"},
	"tags of nothing":    {do: get(missing, "tags/list"), usual: "404 NAME_UNKNOWN"},
	"referrers":          {do: referrers, usual: "200 0, 200 1"},
}

// get is the case of a GET of what repo has at path.
func get(repo, path string) func(*mirror) string {
	return func(m *mirror) string { return m.content(repo, path).String() }
}

func tags(query string) func(*mirror) string {
	return func(m *mirror) string { return m.tagsBy(query) }
}

// coldPull pulls the image: everything is fetched once, with one token.
func coldPull(m *mirror) string {
	top := m.pull()
	n := m.hub.Counters()
	if len(n.ManifestGETsByDigest) != manifests || n.ManifestRequests != manifests || len(n.BlobGETsByDigest) != blobs || n.Tokens > 1 {
		m.t.Errorf("fetched %d manifests with %d requests, %d blobs, %d tokens", len(n.ManifestGETsByDigest), n.ManifestRequests, len(n.BlobGETsByDigest), n.Tokens)
	}
	for d, times := range n.BlobGETsByDigest {
		if times != 1 {
			m.t.Errorf("blob %s was fetched %d times", d, times)
		}
	}
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

// offline pulls it again when the registry is down.
func offline(m *mirror) string {
	m.pull()
	<-time.After(expiryTime)
	m.hub.Down()
	return m.pull().String()
}

// blobSize asks for the size of a layer that is not cached, without getting it.
func blobSize(m *mirror) string {
	layer := m.image.layers[0]
	r := m.send(http.MethodHead, "/v2/"+m.repo+"/blobs/"+digestOf(layer))
	if r.ContentLength != int64(len(layer)) {
		m.t.Errorf("a size of %d, want %d", r.ContentLength, len(layer))
	}
	if n := m.hub.Counters(); n.CDNBytes > 1 {
		m.t.Errorf("%d bytes were sent for it", n.CDNBytes)
	}
	return r.String()
}

// ranges gets one range of a layer that is not cached, and two of another one.
func ranges(m *mirror) string {
	first, second := m.image.layers[0], m.image.layers[1]
	one := m.content(m.repo, "blobs/"+digestOf(first), "Range", "bytes=100-199")
	if !bytes.Equal(one.body, first[100:200]) {
		m.t.Errorf("a range of %d bytes, want 100", len(one.body))
	}
	two := m.content(m.repo, "blobs/"+digestOf(second), "Range", "bytes=0-99,1000-1099")
	if !bytes.Contains(two.body, second[:100]) || !bytes.Contains(two.body, second[1000:1100]) {
		m.t.Errorf("two ranges are not in %d bytes", len(two.body))
	}
	return fmt.Sprint(one, ", ", two)
}

// loggedIn pulls an image that only the mirror's login may pull.
func loggedIn(m *mirror) string {
	m.repo = own
	return m.pull().String()
}

// wrongLogin asks for many repositories with a wrong login. GitLab locks an address out
// after 30 of them.
func wrongLogin(m *mirror) string {
	for i := range 40 {
		m.content(fmt.Sprint("team/app-", i), "manifests/"+tag)
	}
	return m.content(m.repo, "manifests/"+tag).String()
}

// revokedToken gets another tag with a token that is valid no longer, although it has
// not expired.
func revokedToken(m *mirror) string {
	m.pull()
	m.hub.RevokeTokens()
	<-time.After(revokeTime)
	return m.content(m.repo, "manifests/"+allTags[1]).String()
}

// suddenChallenge pulls the image again when the registry suddenly names a token
// service in another domain, as MCR did in an outage.
func suddenChallenge(m *mirror) string {
	m.pull()
	<-time.After(expiryTime)
	for _, op := range []string{"manifest", "manifest-head", "challenge", "ping"} {
		m.hub.Inject(hubsim.Fault{
			Op: op, Status: http.StatusUnauthorized, Body: `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`,
			Header: map[string]string{"Www-Authenticate": `Bearer realm="http://elsewhere.example/token",service="elsewhere"`},
		})
	}
	return m.pull().String()
}

// newPassword gets another tag when the password has changed and with it the mirror's.
func newPassword(m *mirror) string {
	m.pull()
	m.hub.SetUsers(map[string]string{user: "new"})
	m.hub.RevokeTokens()
	check(m.t, os.WriteFile(m.password, []byte("new"), 0o600))
	<-time.After(revokeTime)
	return m.content(m.repo, "manifests/"+allTags[1]).String()
}

// tokenHiccup pulls the image twice when the token service fails once.
func tokenHiccup(m *mirror) string {
	m.hub.Inject(hubsim.Fault{Op: "token", Status: http.StatusServiceUnavailable, Times: 1})
	return fmt.Sprint(m.pull(), ", ", m.pull())
}

// filterPage is the page of a filter between the mirror and the registry.
var filterPage = hubsim.Fault{Status: http.StatusForbidden, ContentType: "text/html", Body: "<html><title>403 Forbidden</title></html>"}

// policy is how Harbor refuses an image with vulnerabilities.
var policy = hubsim.Fault{
	Status: http.StatusPreconditionFailed, ContentType: "application/json",
	Body: `{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"current image with 3 vulnerabilities cannot be pulled"}]}`,
}

// refused gets a tag that is cached, and one that is not, when all manifests are refused
// with that response.
func refused(response hubsim.Fault) func(*mirror) string {
	return func(m *mirror) string {
		m.pull()
		<-time.After(expiryTime)
		for _, op := range []string{"manifest", "manifest-head"} {
			fault := response // the cases run in parallel
			fault.Op = op
			m.hub.Inject(fault)
		}
		return fmt.Sprint(m.pull(), ", ", m.content(m.repo, "manifests/"+allTags[1]))
	}
}

func missingBlob(m *mirror) string {
	return m.content(m.repo, "blobs/"+digestOf([]byte("nothing"))).String()
}

func missingTag(m *mirror) string { return m.content(m.repo, "manifests/nothing").String() }

// deletedTag gets a tag that was pulled and is deleted since.
func deletedTag(m *mirror) string {
	m.pull()
	m.hub.DeleteTag(m.stored, tag)
	<-time.After(expiryTime)
	return m.pull().String()
}

// limited pulls the image when requests of that operation are limited, and again when
// they no longer are.
func limited(op string) func(*mirror) string {
	return func(m *mirror) string {
		remove := m.hub.Inject(hubsim.Fault{Op: op, PullLimit: true})
		first := m.content(m.repo, "manifests/"+tag)
		remove()
		<-time.After(expiryTime)
		if again := m.pull(); again.StatusCode != http.StatusOK {
			m.t.Errorf("after the limit: %s: %.300s", again, again.body)
		}
		return first.String()
	}
}

// shortLimit lists tags and pulls the image when the next request of an operation is
// limited, and pulls it again two seconds later: the limit is of requests per second.
func shortLimit(op string) func(*mirror) string {
	return func(m *mirror) string {
		m.hub.Inject(hubsim.Fault{Op: op, PullLimit: true, Times: 1})
		m.tagsBy("")
		first := m.pull()
		<-time.After(2 * time.Second)
		return fmt.Sprint(first, ", ", m.pull())
	}
}

// limitedTags lists tags when that is limited.
func limitedTags(m *mirror) string {
	m.hub.Inject(hubsim.Fault{Op: "tags", PullLimit: true})
	return m.tagsBy("")
}

// referrers lists the referrers of a missing manifest, and of the image.
func referrers(m *mirror) string {
	return m.referrersOf([]byte("nothing")) + ", " + m.referrersOf(m.image.index)
}

func (m *mirror) referrersOf(manifest []byte) string {
	r := m.content(m.repo, "referrers/"+digestOf(manifest))
	var index imgspec.Index
	if r.StatusCode == http.StatusOK && json.Unmarshal(r.body, &index) == nil {
		return fmt.Sprint(r, " ", len(index.Manifests))
	}
	return r.String()
}
