package hubsim

import "time"

// Profile says how a registry differs from Docker Hub, which is the zero Profile. It is
// data: no handler looks at a Name.
type Profile struct {
	Name   string
	Prefix string            // of all paths of the API, such as "/repository/docker-proxy"
	Header map[string]string // of every response of the registry; an empty value removes the header

	// OtherHost says that the registry has a host beside itself and its CDN, which is
	// {other} in a Reply: its token service, what it forwards to, or a page for people.
	OtherHost bool
	// Proxied is a project whose names of one component are redirected to its library/.
	Proxied string

	Auth      Auth
	Tokens    TokenService
	Forward   Forward
	Manifests Manifests
	Blobs     Blobs
	Tags      Tags

	Missing   Reply // for a missing repository; zero: 404 NAME_UNKNOWN
	NoSubject Reply // for the referrers of a missing manifest; zero: an empty index
	Limited   Reply // for a pull beyond the limit; zero: Docker Hub's 429
	NoQuota   bool  // no response has the headers of the quota

	// Replies are the responses to all requests of a method and an operation, such as
	// "GET referrers", that are not refused for their authorization.
	Replies map[string]Reply
}

// Auth is how a registry requires authorization, and how it refuses without it.
type Auth struct {
	Open  bool // it requires none
	Basic bool // it accepts a login itself, like a token
	// Challenges are the values of its WWW-Authenticate headers; nil means that of
	// Docker Hub. {realm} is its token service; {scope} and {error} are parameters with
	// the comma before them, or nothing.
	Challenges []string
	Ping       []string // for /v2/; nil: Challenges
	Rejected   []string // for a token or a login that is not valid; nil: Challenges
	PingBody   string   // of the responses to /v2/; empty: as usual

	// The responses without authorization, with one that is not valid, and with one
	// that does not include the repository; zero means 401 UNAUTHORIZED. A 401 has
	// the challenges.
	Required, Invalid, Denied Reply
}

// TokenService is what issues tokens.
type TokenService struct {
	Path      string        // of its URL; empty: /token
	OtherHost bool          // it is not at the registry's host
	TTL       time.Duration // of a token, unless Options have one; 0: 300 s
	Fields    []string      // of its responses; nil: token, access_token, expires_in, issued_at
	Service   string        // that clients must name; empty: any
	OneScope  bool          // a request for several scopes is refused
	AnyRepo   bool          // a token includes all repositories of its user

	GrantsMissing bool  // a token includes a repository that does not exist
	Denied        Reply // when a user may have none of the scopes; zero: a token without them
	BadLogin      Reply // for a wrong login; zero: 401
}

// Forward redirects requests to the other host, without their query.
type Forward struct {
	Status int      // of the redirect; 0: nothing is forwarded
	Kinds  []string // of content: "manifests", "tags", "referrers", "blobs"
	Agents []string // how the User-Agent begins of those that are forwarded; nil: any
}

// Manifests is how a registry serves manifests.
type Manifests struct {
	Type     string // Content-Type, instead of the manifest's own
	NoDigest string // the methods whose responses have no Docker-Content-Digest, such as "GET HEAD"
	Chunked  bool   // a GET has no Content-Length

	AnyAccept   bool  // the Accept header is ignored
	NoWildcard  bool  // */* in the Accept header accepts nothing
	NotAccepted Reply // zero: 404 MANIFEST_UNKNOWN
	Missing     Reply // for a missing tag or digest; zero: 404 MANIFEST_UNKNOWN
}

// Blobs is how a registry and its CDN serve blobs.
type Blobs struct {
	Direct       bool          // without a CDN
	Redirect     Reply         // to the CDN; zero: 307 without a body
	Relative     bool          // the redirect is to another path of the registry
	RedirectHead bool          // a HEAD is redirected too, to a link that is signed for GET
	Gzip         bool          // compressed for clients that accept it
	LinkTTL      time.Duration // of a link to the CDN, unless Options have one; 0: 20 min
	MultiRange   int           // the status for several ranges; 200 is the whole blob, 0 means 206
}

// Tags is how a registry lists tags.
type Tags struct {
	Page int   // the number of tags in a response without n; 0: Max
	Max  int   // of n; 0: all tags
	Over Reply // to an n above Max; zero: a page of Max tags

	// Link is the header Link, in which {last}, {cursor} and {n} stand for the
	// parameters of the next page; empty means that of Docker Hub. {cursor} is opaque.
	Link        string
	NoLink      bool
	Cursor      string // the parameter that {cursor} is for
	UnknownLast Reply  // when last is not a tag; zero: the tags after it

	Action  string         // that a token must permit; empty: pull
	Extra   map[string]any // further members of the list
	Strict  bool           // 406 for clients that accept manifests
	Missing Reply          // for a missing repository; zero: Profile.Missing
}
