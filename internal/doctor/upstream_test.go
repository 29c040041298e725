package doctor

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mirrord/internal/hubsim"
	"mirrord/internal/login"
	"mirrord/internal/oci"
	"mirrord/internal/stack"
	"mirrord/internal/upstream"
)

const password = "correct-horse"

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startHub(t *testing.T, o hubsim.Options) *hubsim.Hub {
	t.Helper()
	hub, err := hubsim.Start(o)
	check(t, err)
	t.Cleanup(hub.Close)
	return hub
}

// connect returns Docker Hub at address, with these logins.
func connect(t *testing.T, address string, logins ...*login.Login) Upstream {
	t.Helper()
	return connectBy(t, nil, address, logins...)
}

// connectBy is connect over a network in memory, unless that is nil.
func connectBy(t *testing.T, network *hubsim.Network, address string, logins ...*login.Login) Upstream {
	t.Helper()
	at, err := url.Parse(address)
	check(t, err)
	transport := upstream.NewTransport(upstream.TransportOptions{URL: at})
	if network != nil {
		transport.Proxy, transport.DialContext = nil, network.DialContext
	}
	t.Cleanup(transport.CloseIdleConnections)
	return connectOver(t, transport, at, logins...)
}

// connectOver is connect over a transport.
func connectOver(t *testing.T, transport http.RoundTripper, at *url.URL, logins ...*login.Login) Upstream {
	t.Helper()
	u := stack.Upstream{
		Name: oci.DockerHub, URL: at, Transport: transport, Reserve: func(int) int { return 2 },
		Hooks: stack.UpstreamHooks{HostFails: func(string, error) {}, HostRecovered: func(string) {}, LoginFails: func(string, error, time.Time) {}, LoginWorks: func(string) {}},
	}
	for i, l := range logins {
		u.Credentials = append(u.Credentials, stack.Credential{Name: fmt.Sprint("c", i), Login: l})
	}
	s := stack.Connect(u)[0]
	return Upstream{Pool: s.Pool, Hosts: s.Hosts, Reserve: u.Reserve, Image: upstream.Preview()}
}

// passwordFile returns a login with that password.
func passwordFile(t *testing.T, password string) *login.Login {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	check(t, os.WriteFile(path, []byte(password), 0o600))
	return login.File("me", path)
}

// Nothing is wrong, and nothing is spent.
func TestHealthy(t *testing.T) {
	hub := startHub(t, hubsim.Options{Limit: 100, Users: map[string]string{"me": password}})
	all := connect(t, hub.URL(), login.Anonymous(), passwordFile(t, password)).check(t.Context())
	want(t, all, "upstream docker.io", OK, "401")
	want(t, all, "clock", OK, "127.0.0.1:")
	want(t, all, "login c0 of docker.io", OK, "without a login")
	want(t, all, "login c1 of docker.io", OK, "with the login")
	want(t, all, "download from docker.io", Info, "not checked")
	want(t, all, "pull limit of docker.io, c0", OK, "100 of 100 pulls left")
	if len(all) != 7 {
		t.Errorf("%+v", all)
	}
	if n := hub.Counters(); n.ManifestGETs != 0 || n.ManifestHEADs != 2 {
		t.Errorf("%+v", n)
	}
}

// Each fault of the hub is found, by name and with what to do, and no password is told.
func TestFaults(t *testing.T) {
	const wrong = "swordfish-7"
	for name, test := range map[string]struct {
		fault  hubsim.Fault
		login  string // the password that is sent; empty: none
		check  string
		state  State
		detail string
	}{
		"registry down":      {hubsim.Fault{Op: "ping", Status: 502}, "", "upstream", Fail, "status page"},
		"requests limited":   {hubsim.Fault{Op: "ping", Status: 429}, "", "upstream", Warn, "limits"},
		"web page":           {hubsim.Fault{Op: "ping", Status: 302}, "", "upstream", Warn, "login page"},
		"wrong date":         {hubsim.Fault{Op: "ping", Headers: map[string]string{"Date": "Fri, 27 Nov 2020 02:00:00 GMT"}}, "", "clock", Warn, "from the Date of 127.0.0.1:"},
		"no token":           {hubsim.Fault{Op: "token", Status: 503}, "", "login", Fail, "auth.docker.io"},
		"token of nothing":   {hubsim.Fault{Op: "token", Token: map[string]any{"token": nil, "access_token": nil}}, "", "login", Fail, "no token"},
		"token page":         {hubsim.Fault{Op: "token", Status: 403, Body: "<html>blocked", ContentType: "text/html"}, password, "login", Fail, "403"},
		"token refused":      {hubsim.Fault{Op: "manifest-head", Status: 403, Body: `{"errors":[{"code":"DENIED","message":"no"}]}`, ContentType: "application/json"}, "", "login", Info, "though not"},
		"password repeated":  {hubsim.Fault{Op: "token", Status: 401, Body: "no such login: me:" + password, ContentType: "text/plain"}, password, "login", Fail, "docker login"},
		"wrong password":     {hubsim.Fault{}, wrong, "login", Fail, "docker login"},
		"all limited":        {hubsim.Fault{Op: "token", Abuse: true}, password, "login", Warn, "after that time"},
		"limited, budget":    {hubsim.Fault{Op: "manifest-head", Abuse: true}, "", "pull limit", Warn, "no request is sent before"},
		"image unknown":      {hubsim.Fault{Op: "manifest-head", Status: 404}, "", "login", Info, "though not"},
		"no response at all": {hubsim.Fault{Op: "token", DropAfter: -1}, "", "login", Fail, "token_hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			hub := startHub(t, hubsim.Options{Users: map[string]string{"me": password}})
			if test.fault.Op != "" {
				hub.Inject(test.fault)
			}
			l := login.Anonymous()
			if test.login != "" {
				l = passwordFile(t, test.login)
			}
			all := connect(t, hub.URL(), l).check(t.Context())
			want(t, all, test.check, test.state, test.detail)
			if text := fmt.Sprint(all); strings.Contains(text, password) || strings.Contains(text, wrong) {
				t.Errorf("a secret is told: %s", text)
			}
			if n := hub.Counters().ManifestGETs; n != 0 {
				t.Errorf("%d pulls", n)
			}
		})
	}
}

func TestDown(t *testing.T) {
	hub := startHub(t, hubsim.Options{})
	hub.Down()
	all := connect(t, hub.URL(), login.Anonymous()).check(t.Context())
	want(t, all, "upstream", Fail, "no connection")
	if len(all) != 2 { // with the limit, which costs nothing
		t.Errorf("%+v", all)
	}
}

// A login that cannot be read, and one that is missing where the registry wants one.
func TestNoLogin(t *testing.T) {
	hub := startHub(t, hubsim.Options{})
	all := connect(t, hub.URL(), login.File("me", "/nowhere")).check(t.Context())
	want(t, all, "login c0", Fail, "/nowhere")
	u := connect(t, hub.URL(), login.Anonymous())
	u.Image = oci.Ref{}
	want(t, u.check(t.Context()), "login c0", OK, "for a token, without")
	hub.Inject(hubsim.Fault{Op: "token", Status: 401, Body: `{"errors":[{"code":"UNAUTHORIZED"}]}`})
	want(t, u.check(t.Context()), "login c0", Warn, "credentials")
}

// A login that works is no mistake if it may not pull everything, and neither is a login
// that the registry knows by itself, without a token service.
func TestLogins(t *testing.T) {
	users := map[string]string{"me": password}
	hub := startHub(t, hubsim.Options{Users: users})
	addLayer(t, hub)
	hub.SetPrivate("library/app", "another")
	u := connect(t, hub.URL(), passwordFile(t, password))
	var err error
	u.Image, err = oci.ParseManifest(oci.DockerHub, "library/app", "v1")
	check(t, err)
	want(t, u.check(t.Context()), "login c0", Info, "permission")

	basic, ok := hubsim.ProfileNamed("ecr")
	if !ok {
		t.Fatal("there is no profile ecr")
	}
	for _, o := range []hubsim.Options{{Users: users}, {Users: users, Profile: basic}} {
		hub := startHub(t, o)
		for sent, state := range map[string]State{password: OK, "swordfish-7": Fail} {
			u := connect(t, hub.URL(), passwordFile(t, sent))
			u.Image = oci.Ref{}
			all := u.check(t.Context())
			want(t, all, "login c0", state, map[State]string{OK: "with the login", Fail: "by docker login"}[state])
			if strings.Contains(fmt.Sprint(all), sent) {
				t.Errorf("the password is told: %+v", all)
			}
		}
	}
	hub = startHub(t, hubsim.Options{Users: users, Profile: basic})
	u = connect(t, hub.URL(), login.Anonymous())
	u.Image = oci.Ref{}
	want(t, u.check(t.Context()), "login c0", Warn, "set credentials")
}

// A registry that asks for no login says nothing of the one that is configured.
func TestLoginIsNotAskedFor(t *testing.T) {
	for _, name := range []string{"mcr", "k8s"} {
		profile, ok := hubsim.ProfileNamed(name)
		if !ok {
			t.Fatalf("there is no profile %s", name)
		}
		hub := startHub(t, hubsim.Options{Users: map[string]string{"me": password}, Profile: profile})
		layer := addLayer(t, hub)
		app, err := oci.ParseManifest(oci.DockerHub, layer.Repository(), "v1")
		check(t, err)
		none, err := oci.ParseManifest(oci.DockerHub, "library/none", "v1")
		check(t, err)
		for _, image := range []oci.Ref{{}, app, none} {
			u := connect(t, hub.URL(), passwordFile(t, "swordfish-7"), login.Anonymous())
			u.Image, u.Blob = image, layer
			all := u.check(t.Context())
			want(t, all, "login c0", Info, "the registry asked for no login; it was not checked")
			want(t, all, "login c1", map[bool]State{true: Info, false: OK}[image == none], "without a login")
			want(t, all, "download", OK, "of a layer")
		}
	}
}

// A run sends a wrong password once, with an image to ask for and a layer to download too:
// registries count them towards locking the account.
func TestWrongPasswordIsSentOnce(t *testing.T) {
	for _, name := range []string{"hub", "gitlab", "quay", "ecr"} {
		profile, ok := hubsim.ProfileNamed(name)
		if !ok {
			t.Fatalf("there is no profile %s", name)
		}
		hub := startHub(t, hubsim.Options{Users: map[string]string{"me": password}, Profile: profile})
		u := connect(t, hub.URL(), passwordFile(t, "swordfish-7"))
		u.Blob = addLayer(t, hub)
		for _, image := range []oci.Ref{{}, upstream.Preview()} {
			before := hub.Counters().TokenFailures
			u.Image = image
			all := u.check(t.Context())
			want(t, all, "login c0", Fail, "refuses the login")
			want(t, all, "download", Info, "no login works")
			if n := hub.Counters().TokenFailures - before; n != 1 {
				t.Errorf("%s, image %s: it was sent %d times", name, image, n)
			}
		}
		u = connect(t, hub.URL(), passwordFile(t, "swordfish-7"), login.Anonymous(), passwordFile(t, password))
		u.Blob, u.Image = addLayer(t, hub), oci.Ref{}
		before := hub.Counters().TokenFailures
		want(t, u.check(t.Context()), "download", OK, "of a layer")
		if n := hub.Counters().TokenFailures - before; n != 1 {
			t.Errorf("%s: it was sent %d times beside one that works", name, n)
		}
	}
}

// Neither a cached token nor a login that failed earlier hides what is so now.
func TestNow(t *testing.T) {
	hub := startHub(t, hubsim.Options{Users: map[string]string{"me": "changed"}})
	u := connect(t, hub.URL(), passwordFile(t, password))
	if _, err := u.Pool.Resolve(t.Context(), upstream.Preview()); err == nil {
		t.Fatal("a wrong password was accepted")
	}
	hub.SetUsers(map[string]string{"me": password})
	want(t, u.check(t.Context()), "login c0", Warn, "systemctl reload")
	u.Pool.Reload()
	_, err := u.Pool.Resolve(t.Context(), upstream.Preview())
	check(t, err)
	want(t, u.check(t.Context()), "login c0", OK, "accepted")
	hub.Inject(hubsim.Fault{Op: "token", Status: 503})
	want(t, u.check(t.Context()), "login c0", Fail, "503")
}

// While the mirror is offline nothing is asked, and that is no mistake.
func TestOffline(t *testing.T) {
	all := connectOver(t, refusing{}, &url.URL{Scheme: "http", Host: "hub.example"}, login.Anonymous()).check(t.Context())
	want(t, all, "upstream", OK, "offline: true")
	if len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

// refusing is the network of a mirror that is offline.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, oci.ErrOffline }

// A host that the mirror leaves alone is asked, and named.
func TestHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(hubsim.Network)
		hub := startHub(t, hubsim.Options{Listen: network.Listen, Addr: "hub.example:80", CDNAddr: "cdn.hub.example:80"})
		u := connectBy(t, network, hub.URL(), login.Anonymous())
		remove := hub.Inject(hubsim.Fault{Status: 503})
		for i := range 10 {
			ref, err := oci.ParseManifest(oci.DockerHub, fmt.Sprint("library/a", i), "v1")
			check(t, err)
			if _, err := u.Pool.Resolve(t.Context(), ref); err == nil {
				t.Fatal("a response of 503 returned no error")
			}
			time.Sleep(time.Second)
		}
		remove()
		all := u.check(t.Context())
		want(t, all, "upstream", OK, "401")
		want(t, all, "login c0", Fail, "nothing was sent")
		want(t, all, "download", Info, "nothing was sent")
		want(t, all, "hosts of docker.io", Fail, "host hub.example has failed")
	})
}

// A pull that the registry has refused shows, and so do few that are left.
func TestLimit(t *testing.T) {
	hub := startHub(t, hubsim.Options{Limit: 3})
	u := connect(t, hub.URL(), login.Anonymous())
	for _, words := range []string{"these are reserved", "1 of 3", "0 of 3 pulls left", "no pull is sent before"} {
		_, err := u.Pool.Open(t.Context(), upstream.Preview())
		if (err != nil) != strings.HasPrefix(words, "no pull") {
			t.Fatal(err)
		}
		want(t, u.check(t.Context()), "pull limit", Warn, words)
	}
}

func TestCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	want(t, connect(t, server.URL).check(t.Context()), "upstream", Fail, "ca_file")
}

func TestName(t *testing.T) {
	want(t, connect(t, "http://registry.invalid").check(t.Context()), "upstream", Fail, "DNS")
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 27, 2, 0, 0, 0, time.UTC)
	for skew, want := range map[time.Duration]State{0: OK, 30 * time.Second: OK, 31 * time.Second: Warn, -time.Hour: Warn} {
		header := http.Header{"Date": {now.Add(skew).Format(http.TimeFormat)}}
		if all := clock("hub.example", header, now); len(all) != 1 || all[0].State != want || !strings.Contains(all[0].Detail, "hub.example") {
			t.Errorf("%s: %+v", skew, all)
		}
	}
	if all := clock("hub.example", http.Header{}, now); all != nil {
		t.Errorf("without a Date: %+v", all)
	}
}

// A token service that does not respond is named.
func TestSilentTokenService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(hubsim.Network)
		hub := startHub(t, hubsim.Options{Listen: network.Listen, Addr: "hub.example:80", CDNAddr: "cdn.hub.example:80"})
		hub.Inject(hubsim.Fault{Op: "token", Latency: time.Hour})
		all := connectBy(t, network, hub.URL(), login.Anonymous()).check(t.Context())
		want(t, all, "login", Fail, "hub.example:80 does not respond in time")
		want(t, all, "login", Fail, "the MTU of this network")
	})
}

// The certificate does not arrive: the first packets that are full-size.
func TestNoCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(hubsim.Network)
		listener, err := network.Listen("hub.example:443")
		check(t, err)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, conn)
			}
		}()
		want(t, connectBy(t, network, "https://hub.example", login.Anonymous()).check(t.Context()), "upstream", Fail, "mtu 1400")
		check(t, listener.Close())
		<-ended
	})
}
