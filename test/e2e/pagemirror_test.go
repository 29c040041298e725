//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"mirrord/internal/hubsim"
)

// The page of a real mirror follows a pull. Whoever comes over the admin socket sees the
// names, as with ssh -L, and others do not.
func TestPageOfMirror(t *testing.T) {
	hub := startHub(t)
	blob, err := hub.AddBlobFrom("library/slow", 6<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	mend := hub.Inject(hubsim.Fault{Op: "cdn", Bandwidth: 512 << 10})
	m := startMirror(t, hub)
	addresses := map[string]string{"tcp": "http://" + m.admin + "/", "socket": "http://" + forward(t, m.home.path("cache", "admin.sock")) + "/"}
	tabs := make(map[string]*tab)
	for name, address := range addresses {
		tabs[name] = openTab(t, address, look{width: 1280})
		tabs[name].await(t, "#live", "Live")
		tabs[name].await(t, "section:has(> #fills)", "Nothing is being downloaded.")
	}

	pulled := make(chan error, 1)
	go func() { pulled <- download(m.url() + "/v2/library/slow/blobs/" + blob.String()) }()
	const fill = "section:has(> #fills) li"
	for name, repository := range map[string]string{"tcp": "docker.io", "socket": "docker.io/library/slow"} {
		tabs[name].await(t, "section:has(> #fills)", "of 6.00 MiB")
		if got := tabs[name].text(t, fill+" b"); got != repository {
			t.Errorf("%s: the fill is that of %q, want %q", name, got, repository)
		}
	}
	first := tabs["tcp"].percent(t, fill)
	eventually(t, 20*time.Second, "the fill advances", func() bool { return tabs["tcp"].percent(t, fill) > first+5 })
	tabs["socket"].screenshot(t, "fill")
	mend()
	if err := <-pulled; err != nil {
		t.Fatal(err)
	}
	for name, b := range tabs {
		b.await(t, "section:has(> #fills)", "Nothing is being downloaded.")
		b.await(t, ".tiles > :nth-child(4)", "of 1 request")
		if got := b.text(t, "#status"); strings.Contains(got, "library/slow") != (name == "socket") {
			t.Errorf("%s: the page says %q", name, got)
		}
		if hint := b.visible(t, ".hint"); hint != (name == "tcp") {
			t.Errorf("%s: how to see the names is shown: %v", name, hint)
		}
		b.screenshot(t, name)
		b.calm(t, addresses[name])
	}
	tabs["socket"].do(t, chromedp.Navigate(addresses["socket"]+"#connect"))
	eval[any](t, tabs["socket"], "document.querySelectorAll('#connect details').forEach((d) => { d.name = ''; d.open = true })")
	for client := range 10 {
		if !tabs["socket"].visible(t, fmt.Sprintf("#connect details:nth-of-type(%d) pre", client+1)) {
			t.Errorf("block %d is not shown", client+1)
		}
	}
	tabs["socket"].screenshot(t, "connect")
	tabs["socket"].accessible(t)
	if got := tabs["tcp"].text(t, ".hint pre"); got != "ssh -N -L 5001:"+m.home.path("cache", "admin.sock")+" 127.0.0.1" {
		t.Errorf("the page says to run %q", got)
	}
}

// percent is how far the first fill has come; 0 without one.
func (b *tab) percent(t *testing.T, selector string) float64 {
	t.Helper()
	text := eval[string](t, b, `document.querySelector("`+selector+` .end.num")?.innerText ?? "0"`)
	number, _ := strconv.ParseFloat(strings.TrimSuffix(text, "\u00a0%"), 64)
	return number
}

func download(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// forward forwards connections to a port of loopback to a unix socket, as ssh -L does.
func forward(t *testing.T, socket string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("unix", socket)
			if err != nil {
				from.Close()
				continue
			}
			go relay(from, to)
			go relay(to, from)
		}
	}()
	return l.Addr().String()
}

func relay(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	from.Close()
	to.Close()
}
