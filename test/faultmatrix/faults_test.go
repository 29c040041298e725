package faultmatrix

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mirrord/internal/hubsim"
)

// fault makes something go wrong between the mirror and its upstream, until
// mend.
type fault func(*mirror) (mend func())

// inject lets the hub do as each of faults says.
func inject(faults ...hubsim.Fault) fault {
	return func(m *mirror) func() {
		var removes []func()
		for _, f := range faults {
			removes = append(removes, m.hub.Inject(f))
		}
		return func() {
			for _, remove := range removes {
				remove()
			}
		}
	}
}

// registry strikes what is asked of the registry, tokens apart.
func registry(f hubsim.Fault) fault { return inject(each(f, "manifest-head", "manifest", "blob")...) }

// bodies strikes what has one: manifests, and blobs at the CDN. They take some
// time, so that the client is there before it is known how they end.
func bodies(f hubsim.Fault) fault {
	f.Bandwidth = cmp.Or(f.Bandwidth, paced)
	return inject(each(f, "manifest", "cdn")...)
}

// dropped cuts a blob in the middle, once; f strikes what op is asked next.
func dropped(op string, f hubsim.Fault) fault {
	f.Op = op
	first := hubsim.Fault{Op: "blob", Times: 1} // none
	return inject(hubsim.Fault{Op: "cdn", DropAfter: middle, Times: 1, Bandwidth: paced}, first, f)
}

const paced = 10 << 20 // bytes a second

func each(f hubsim.Fault, ops ...string) (faults []hubsim.Fault) {
	for _, op := range ops {
		f.Op = op
		faults = append(faults, f)
	}
	return faults
}

// at strikes one operation.
func at(op string, f hubsim.Fault) fault { return inject(each(f, op)...) }

// onLine breaks the line to the hub.
func onLine(f lineFault) fault {
	return func(m *mirror) func() {
		m.line.set(f)
		return func() { m.line.set(lineFault{}) }
	}
}

// lost makes the connections to the hub silent that have idled for a while.
func lost(m *mirror) func() {
	m.get("manifests/another") // over the registry's and the token service's
	<-time.After(10 * time.Second)
	m.line.network.Lose()
	return func() {}
}

// noName is a name that is not found, noEntry a port where nobody listens.
func noName(host string) fault {
	return onLine(lineFault{host: host, err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}})
}

func noEntry(host string) fault {
	return onLine(lineFault{host: host, err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}})
}

// redirect sends all requests for content elsewhere.
func redirect(location string) fault {
	return registry(hubsim.Fault{Status: 307, Header: map[string]string{"Location": location}})
}

// page is a login page, say, that answers 200.
var page = hubsim.Fault{
	Status: 200, ContentType: "text/html; charset=utf-8", Bandwidth: 100_000,
	Body: "<!doctype html><title>Wi-Fi</title><h1>Log in to go on</h1>" + strings.Repeat("<p>", 5_000),
}

// word is an error of the registry's, with the header that only registries send.
func word(status int, code string) hubsim.Fault {
	f := untyped(status, code)
	f.ContentType = "application/json"
	f.Header = map[string]string{"Docker-Distribution-Api-Version": "registry/2.0"}
	return f
}

// untyped is one that is sent as text, by a registry that sends no such header.
func untyped(status int, code string) hubsim.Fault {
	return hubsim.Fault{Status: status, ContentType: "text/plain", Body: `{"errors":[{"code":"` + code + `","message":"no"}]}`}
}

// refusalPage is what a company's filter sends, or an ingress without a backend.
func refusalPage(status int) hubsim.Fault {
	return hubsim.Fault{Status: status, ContentType: "text/html", Body: "<html><h1>Blocked by policy</h1>"}
}

// challenged is a 401 with the header of the registry's and no body.
func challenged(challenge string) hubsim.Fault {
	return hubsim.Fault{Status: 401, Header: map[string]string{
		"Www-Authenticate": challenge, "Docker-Distribution-Api-Version": "registry/2.0",
	}}
}

// harbor is Harbor's answer to a token that may not pull: it speaks of Basic, and
// wants a token.
var harbor = func() hubsim.Fault {
	f := word(401, "UNAUTHORIZED")
	f.Header["Www-Authenticate"] = `Basic realm="harbor"`
	return f
}()

// refused is a registry that does not take fresh tokens, so many times or always.
func refused(parameters string, times int) fault {
	return func(m *mirror) func() {
		f := challenged(`Bearer realm="http://` + tokenHost + `/token",service="registry.docker.io",` + parameters)
		f.Times = times
		return registry(f)(m)
	}
}

// moved is a registry whose token service is at another name by now; nobody
// listens at the old one.
func moved(m *mirror) func() {
	m.hub.Announce(registryHost+":80", cdnHost+":80")
	mend := noEntry(tokenHost)(m)
	return func() {
		mend()
		m.hub.Announce(tokenHost+":80", cdnHost+":80")
	}
}

// mistyped is the right manifest, said to be something else.
func mistyped(ops ...string) fault {
	return func(m *mirror) func() {
		return inject(each(hubsim.Fault{
			Status: 200, ContentType: "text/plain", Body: string(m.manifest),
			Header: map[string]string{"Docker-Content-Digest": m.named.String()},
		}, ops...)...)(m)
	}
}

// unnamed makes the tag name a manifest that does not say itself what it is,
// beside another fault.
func unnamed(beside fault) fault {
	return func(m *mirror) func() {
		m.publishAs(padded(manifestSize, "untyped manifest", ""))
		mend := beside(m)
		return func() {
			mend()
			m.publish(manifestSize, "typed manifest")
		}
	}
}

// heads answers HEADs of manifests with these headers in the place of its own.
func heads(headers map[string]string) fault {
	return at("manifest-head", hubsim.Fault{Headers: headers})
}

// headDigest lets HEADs tell what digest makes of the manifest.
func headDigest(digest func(raw []byte) string) fault {
	return func(m *mirror) func() {
		return heads(map[string]string{"Docker-Content-Digest": digest(m.manifest)})(m)
	}
}

// zipped sends what was asked for in gzip, which nobody asked for.
func zipped(m *mirror) func() {
	gzip := map[string]string{"Content-Encoding": "gzip"}
	return inject(
		hubsim.Fault{Op: "manifest", Status: 200, ContentType: imageType, Header: gzip, Body: zip(m.manifest), Bandwidth: paced},
		hubsim.Fault{Op: "cdn", Status: 200, Header: gzip, Body: zip(blob), Bandwidth: paced},
	)(m)
}

func zip(raw []byte) string {
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	_, _ = w.Write(raw) // a buffer takes all
	_ = w.Close()
	return body.String()
}

// skewed is a token service whose clock is wrong by that much.
func skewed(by time.Duration) fault {
	return func(m *mirror) func() {
		issued := time.Now().Add(by).UTC().Format(time.RFC3339)
		return at("token", hubsim.Fault{Token: map[string]any{"issued_at": issued}})(m)
	}
}

// expiresIn tells another life of tokens than they have; nil tells none.
func expiresIn(seconds any) fault {
	return at("token", hubsim.Fault{Token: map[string]any{"expires_in": seconds}})
}

// huge makes the tag name a manifest that is too large, beside another fault.
func huge(beside fault) fault {
	return func(m *mirror) func() {
		m.publish(5<<20, "huge manifest")
		mend := beside(m)
		return func() {
			mend()
			m.publish(manifestSize, "slim manifest")
		}
	}
}

// after lets one fault strike five requests within more than a second, and then
// another one.
func after(earlier, then fault) fault {
	return func(m *mirror) func() {
		mend := earlier(m)
		for i := range 5 {
			m.get("manifests/another" + strconv.Itoa(i))
			<-time.After(250 * time.Millisecond)
		}
		mend()
		return then(m)
	}
}

// untrusted shows a certificate that nobody knows.
func untrusted(m *mirror) func() {
	m.certs.spoilt.Store(true)
	return func() { m.certs.spoilt.Store(false) }
}
