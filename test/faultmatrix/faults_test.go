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

// fault causes a fault between the mirror and its upstream until repair is called.
type fault func(*mirror) (repair func())

// inject injects faults into the hub.
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

// registry applies f to the registry's manifests and blobs.
func registry(f hubsim.Fault) fault { return inject(each(f, "manifest-head", "manifest", "blob")...) }

// bodies applies f to bodies: of manifests, and of blobs at the CDN. They take some
// time, so that the client reads before the end of the body is known.
func bodies(f hubsim.Fault) fault {
	f.Bandwidth = cmp.Or(f.Bandwidth, paced)
	return inject(each(f, "manifest", "cdn")...)
}

// dropped cuts a blob in the middle, once, and applies f to the next request of op.
func dropped(op string, f hubsim.Fault) fault {
	f.Op = op
	first := hubsim.Fault{Op: "blob", Times: 1} // no fault
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

// at applies f to one operation.
func at(op string, f hubsim.Fault) fault { return inject(each(f, op)...) }

// onLine applies f to the line to the hub.
func onLine(f lineFault) fault {
	return func(m *mirror) func() {
		m.line.set(f)
		return func() { m.line.set(lineFault{}) }
	}
}

// lost silently loses the idle connections to the hub.
func lost(m *mirror) func() {
	m.get("manifests/another") // opens connections to the registry and the token service
	<-time.After(10 * time.Second)
	m.line.network.Lose()
	return func() {}
}

// noName makes the name of host unresolvable.
func noName(host string) fault {
	return onLine(lineFault{host: host, err: &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}})
}

// noEntry makes host refuse connections.
func noEntry(host string) fault {
	return onLine(lineFault{host: host, err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}})
}

// redirect redirects all requests for content to location.
func redirect(location string) fault {
	return registry(hubsim.Fault{Status: 307, Header: map[string]string{"Location": location}})
}

// page is an HTML page with status 200, such as a login page.
var page = hubsim.Fault{
	Status: 200, ContentType: "text/html; charset=utf-8", Bandwidth: 100_000,
	Body: "<!doctype html><title>Wi-Fi</title><h1>Log in to go on</h1>" + strings.Repeat("<p>", 5_000),
}

// specError is an error in the JSON of the spec, with the header of a registry.
func specError(status int, code string) hubsim.Fault {
	f := untyped(status, code)
	f.ContentType = "application/json"
	f.Header = map[string]string{"Docker-Distribution-Api-Version": "registry/2.0"}
	return f
}

// untyped is the same as plain text and without the header.
func untyped(status int, code string) hubsim.Fault {
	return hubsim.Fault{Status: status, ContentType: "text/plain", Body: `{"errors":[{"code":"` + code + `","message":"no"}]}`}
}

// refusalPage is the page of a company's web filter, or of an ingress without a backend.
func refusalPage(status int) hubsim.Fault {
	return hubsim.Fault{Status: status, ContentType: "text/html", Body: "<html><h1>Blocked by policy</h1>"}
}

// challenged is a 401 with the header of a registry and no body.
func challenged(challenge string) hubsim.Fault {
	return hubsim.Fault{Status: 401, Header: map[string]string{
		"Www-Authenticate": challenge, "Docker-Distribution-Api-Version": "registry/2.0",
	}}
}

// harbor is Harbor's response to a token that may not pull: a challenge for Basic,
// although it requires a token.
var harbor = func() hubsim.Fault {
	f := specError(401, "UNAUTHORIZED")
	f.Header["Www-Authenticate"] = `Basic realm="harbor"`
	return f
}()

// refused is a registry that refuses fresh tokens, so many times or (0) always.
func refused(parameters string, times int) fault {
	return func(m *mirror) func() {
		f := challenged(`Bearer realm="http://` + tokenHost + `/token",service="registry.docker.io",` + parameters)
		f.Times = times
		return registry(f)(m)
	}
}

// moved is a registry whose token service has moved to another host; the old one
// refuses connections.
func moved(m *mirror) func() {
	m.hub.Announce(registryHost+":80", cdnHost+":80")
	repair := noEntry(tokenHost)(m)
	return func() {
		repair()
		m.hub.Announce(tokenHost+":80", cdnHost+":80")
	}
}

// mistyped sends the right manifest with a wrong Content-Type.
func mistyped(ops ...string) fault {
	return func(m *mirror) func() {
		return inject(each(hubsim.Fault{
			Status: 200, ContentType: "text/plain", Body: string(m.manifest),
			Header: map[string]string{"Docker-Content-Digest": m.named.String()},
		}, ops...)...)(m)
	}
}

// unnamed moves the tag to a manifest without a mediaType, together with another fault.
func unnamed(beside fault) fault {
	return func(m *mirror) func() {
		m.publishAs(padded(manifestSize, "untyped manifest", ""))
		repair := beside(m)
		return func() {
			repair()
			m.publish(manifestSize, "typed manifest")
		}
	}
}

// heads replaces headers in responses to HEADs of manifests.
func heads(headers map[string]string) fault {
	return at("manifest-head", hubsim.Fault{Headers: headers})
}

// headDigest replaces the digest in responses to HEADs of manifests.
func headDigest(digest func(raw []byte) string) fault {
	return func(m *mirror) func() {
		return heads(map[string]string{"Docker-Content-Digest": digest(m.manifest)})(m)
	}
}

// zipped sends content with gzip, although the request does not accept it.
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
	_, _ = w.Write(raw) // a buffer never fails
	_ = w.Close()
	return body.String()
}

// skewed is a token service whose clock is off by that much.
func skewed(by time.Duration) fault {
	return func(m *mirror) func() {
		issued := time.Now().Add(by).UTC().Format(time.RFC3339)
		return at("token", hubsim.Fault{Token: map[string]any{"issued_at": issued}})(m)
	}
}

// expiresIn replaces the announced lifetime of tokens; nil removes it.
func expiresIn(seconds any) fault {
	return at("token", hubsim.Fault{Token: map[string]any{"expires_in": seconds}})
}

// huge moves the tag to a manifest that is too large, together with another fault.
func huge(beside fault) fault {
	return func(m *mirror) func() {
		m.publish(5<<20, "huge manifest")
		repair := beside(m)
		return func() {
			repair()
			m.publish(manifestSize, "slim manifest")
		}
	}
}

// after applies one fault to five requests within more than a second, and then another
// one.
func after(earlier, then fault) fault {
	return func(m *mirror) func() {
		repair := earlier(m)
		for i := range 5 {
			m.get("manifests/another" + strconv.Itoa(i))
			<-time.After(250 * time.Millisecond)
		}
		repair()
		return then(m)
	}
}

// untrusted makes the hub present an unknown certificate.
func untrusted(m *mirror) func() {
	m.certs.untrusted.Store(true)
	return func() { m.certs.untrusted.Store(false) }
}
