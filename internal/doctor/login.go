package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"mirrord/internal/oci"
	"mirrord/internal/upstream"
)

// loginTimeout is for the challenge, the token and the request with it.
const loginTimeout = 14 * time.Second

// credential checks whether the registry lets in one member of the pool: it gets a new
// token, and sends a HEAD of an image with it. It returns the Registry that has the token,
// nil when the login cannot be read or is refused.
func (u Upstream) credential(ctx context.Context, m upstream.Member) (Check, *upstream.Registry) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	what := fmt.Sprintf("login %s of %s", m.Name, u.Pool.Name())
	loggedIn, err := m.Registry.HasLogin(ctx)
	if err != nil {
		return unreadable(what, err), nil
	}
	var r reached
	ctx = r.watch(ctx)
	sent := time.Now()
	fresh := m.Registry.Afresh()
	err = u.logIn(ctx, fresh, loggedIn)
	c := u.outcome(what, loggedIn, time.Since(sent), err)
	if errors.Is(err, oci.ErrLogin) {
		return c, nil
	}
	if c.State == Fail {
		c.Detail, c.Hint = r.detail(err), r.hint(err, c.Hint)
		if r.address() == "" {
			c.Hint = hintNotSent
		}
	}
	if loggedIn && !fresh.AskedForLogin() && (c.State == OK || c.State == Info) {
		return Check{what, Info, "the registry asked for no login; it was not checked", "what is public needs none; a wrong one shows when something else is pulled"}, fresh
	}
	if c.State == OK && !u.usable(m.Name) {
		c = Check{what, Warn, "it works now, and failed before: the mirror tries it again within 5 minutes", "systemctl reload mirrord makes it try at once"}
	}
	return c, fresh
}

// logIn makes the requests of credential. What docker login does comes first: a token for an
// image that is refused would have to be followed by that to tell a wrong password from a
// missing permission, and registries count wrong passwords towards locking an account. Any
// other failure of it is not conclusive while there is an image to ask for.
func (u Upstream) logIn(ctx context.Context, r *upstream.Registry, loggedIn bool) error {
	if loggedIn || u.Image == (oci.Ref{}) {
		err := r.LogIn(ctx)
		if errors.Is(err, oci.ErrLogin) || u.Image == (oci.Ref{}) {
			return err
		}
	}
	_, err := r.Resolve(ctx, u.Image)
	return err
}

// unreadable is the check of a login that cannot be read.
func unreadable(what string, err error) Check {
	if errors.Is(err, fs.ErrPermission) {
		return Check{what, Fail, err.Error(), "this was checked as " + processUser() + ": let the user of the mirror read that file, and if that is another, run mirrord doctor as that one, such as with sudo -u mirrord"}
	}
	return Check{what, Fail, err.Error(), "correct the file, or its path under credentials; with docker_config or a helper, run docker login again"}
}

func (u Upstream) usable(member string) bool {
	for i, usable := range u.Pool.Usable() {
		if u.Pool.Members()[i].Name == member {
			return usable
		}
	}
	return true
}

// outcome is the check of a round trip that ended with err.
func (u Upstream) outcome(what string, loggedIn bool, took time.Duration, err error) Check {
	who, asked := "without a login", "a request for a token"
	if loggedIn {
		who = "with the login"
	}
	if u.Image != (oci.Ref{}) {
		asked = "a HEAD of " + u.Image.String() + " with a new token, if it requires one"
	}
	var limit *oci.LimitError
	switch {
	case err == nil:
		return Check{what, OK, fmt.Sprintf("%s, %s, was accepted after %s", asked, who, took.Round(time.Millisecond)), ""}
	case errors.Is(err, oci.ErrLogin):
		return Check{what, Fail, err.Error(), "correct the user name and the password or access token, in password_file or by docker login; a token may have expired. Then: systemctl reload mirrord"}
	case errors.As(err, &limit):
		return Check{what, Warn, err.Error(), "nothing could be found out: run this again after that time"}
	case errors.Is(err, oci.ErrNeedsGet), oci.CodeOf(err) == oci.ManifestUnknown:
		return Check{what, Info, fmt.Sprintf("%s, %s, got a response, though not that image (%v)", asked, who, err), "its token service responds; a pull would tell more, and this spends none"}
	case oci.IsUnknown(err) || oci.CodeOf(err) == oci.Denied:
		return u.denied(what, loggedIn, err)
	}
	return Check{what, Fail, err.Error(), "the registry responds, and its token service, which may be another host (auth.docker.io for Docker Hub), does not as it should: see its status page, the firewall, the proxy, and token_hosts"}
}

// denied is the check of a credential that may not pull an image.
func (u Upstream) denied(what string, loggedIn bool, err error) Check {
	if loggedIn {
		return Check{what, Info, err.Error(), "the login is accepted; if it should be able to pull that image, give it the permission at the registry"}
	}
	return Check{what, Warn, err.Error(), "no login was sent: set credentials of the upstream if the registry requires one"}
}
