//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"mirrord/internal/status/page/pagetest"
)

// replaced is every text, attribute and row that the script replaces, in order.
const replaced = `[...document.querySelectorAll("[data-live], [data-bind], [data-when], [data-unless], [data-list]")].map((e) => {
	const bound = e.dataset.bind?.split(" ")[0];
	return [e.dataset.live ?? e.dataset.bind ?? e.dataset.list ?? e.dataset.when ?? e.dataset.unless,
		e.dataset.live ? e.textContent : "", bound ? e.getAttribute(bound) ?? "" : "", e.hidden, e.children.length].join("|");
}).filter((line) => !line.startsWith("moment now"))`

// The script writes what the server has written, to the letter.
func TestPageScriptAgrees(t *testing.T) {
	p := servePage(t)
	b := openTab(t, p.address, look{width: 1280})
	before := eval[[]string](t, b, replaced)
	p.send(t, pagetest.Status(p.now))
	b.await(t, "#live", "Live")
	if diff := cmp.Diff(before, eval[[]string](t, b, replaced)); diff != "" {
		t.Errorf("the script changes (-server +script):\n%s", diff)
	}
	if len(before) < 100 {
		t.Errorf("only %d things to compare", len(before))
	}
	if title := eval[string](t, b, "document.title"); !strings.HasPrefix(title, "mirrord at 127.0.0.1:") {
		t.Errorf("the title is %q", title)
	}
	if n := eval[int](t, b, "document.images.length + document.querySelectorAll('script').length"); n != 1 {
		t.Errorf("%d images and scripts, want one script", n)
	}
	b.calm(t, p.address)
}

// Figures, rows and banners follow the mirror, and a lost connection is told.
func TestPageFollows(t *testing.T) {
	p := servePage(t)
	b := openTab(t, p.address, look{width: 360, dark: true})
	s := pagetest.Status(p.now)
	s.Today.PullsSaved = 7_654_321
	s.Degraded, s.Failing, s.Errors = nil, nil, nil
	s.Fills = append(s.Fills[:1], s.Fills...)
	s.Fills[0].Bytes = s.Fills[0].Size / 2
	p.send(t, s)
	b.await(t, "#live", "Live")
	for selector, want := range map[string]string{
		".tiles > :nth-child(2)": "Pulls saved today 7,654,321 38,120 this month",
		".state":                 "Working: every component works and every upstream responds. Live",
		"section:has(> #errors)": "Recent errors None that clients met.",
	} {
		if got := b.text(t, selector); got != want {
			t.Errorf("%s: %q, want %q", selector, got, want)
		}
	}
	if got := b.text(t, "section:has(> #fills) li"); !strings.Contains(got, "50.0 %") || !strings.Contains(got, "1.58 GiB of 3.16 GiB") {
		t.Errorf("the first fill is %q", got)
	}
	if n := eval[int](t, b, `document.querySelectorAll("[data-list=fills] > li").length`); n != 4 {
		t.Errorf("%d fills, want 4", n)
	}
	b.calm(t, p.address)
	p.server.CloseClientConnections()
	p.server.Listener.Close()
	b.await(t, "#live", "No connection to the mirror since ")
	if got := b.text(t, "#live"); !strings.Contains(got, "The figures are of "+p.now.UTC().Format("2006-01-02 15:04:05")) {
		t.Errorf("the page does not say how old its figures are: %q", got)
	}
	if b.visible(t, ".state .good") {
		t.Error("the page says that all is well, which it does not know")
	}
	b.screenshot(t, "lost")
}

// A long list shows its beginning, and all of it when that is asked for.
func TestPageShortensLists(t *testing.T) {
	p := servePage(t)
	b := openTab(t, p.address, look{width: 1280})
	const seen = `[...document.querySelectorAll("[data-list=errors] > li")].filter((e) => e.checkVisibility()).length`
	if b.visible(t, "section:has(> #errors) .more") {
		t.Error("a short list can be lengthened")
	}
	s := pagetest.Status(p.now)
	for range 5 {
		s.Errors = append(s.Errors, s.Errors[0])
	}
	p.send(t, s)
	b.await(t, "section:has(> #errors)", "All of them")
	if n := eval[int](t, b, seen); n != 5 {
		t.Errorf("%d errors are shown, want 5", n)
	}
	b.do(t, chromedp.Click(chromedp.CSS("section:has(> #errors) .more summary")))
	eventually(t, 10*time.Second, "all 8 errors are shown", func() bool { return eval[int](t, b, seen) == 8 })
	b.calm(t, p.address)
}

// Charts follow once a minute, and a page of another version than the mirror is replaced.
func TestPageRefreshes(t *testing.T) {
	p := servePage(t)
	p.young.Store(true)
	b := openTab(t, "about:blank", look{width: 1280})
	call(t, b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: "const every = setInterval; window.setInterval = (f, ms) => every(f, ms / 100)",
	})
	b.do(t, chromedp.Navigate(p.address))
	b.await(t, "figure", "nothing yet")
	p.young.Store(false)
	b.await(t, "figure", "peak ")
	wide := eval[float64](t, b, "document.querySelector('figure path.hit').getBBox().width")
	if wide < 90 {
		t.Errorf("the bars are %v wide, want all of the day", wide)
	}
	eval[any](t, b, "window.old = true")
	s := pagetest.Status(p.now)
	s.Version = "v9"
	p.send(t, s)
	eventually(t, 20*time.Second, "the page is loaded again", func() bool { return eval[bool](t, b, "window.old === undefined && document.readyState === 'complete'") })
	b.calm(t, p.address)
}

// Without JavaScript the page has its figures and its tabs, and says of when they are.
func TestPageWithoutScript(t *testing.T) {
	p := servePage(t)
	b := openTab(t, p.address, look{width: 1280, noScript: true})
	if got := b.text(t, ".tiles"); !strings.HasPrefix(got, "Hit ratio today 94.0 % 92.2 % of bytes") {
		t.Errorf("figures: %q", got)
	}
	if got := b.text(t, "#live"); !strings.HasPrefix(got, "As of 20") || !strings.HasSuffix(got, "Reload for newer figures.") {
		t.Errorf("the page says %q", got)
	}
	b.do(t, chromedp.Click(chromedp.CSS(`nav a[href="#connect"]`)))
	b.await(t, "body", "Connect a client")
	b.do(t, chromedp.Click(chromedp.CSS("#connect details:last-of-type summary")))
	b.await(t, "#connect details:last-of-type pre", fmt.Sprintf("%q", strings.TrimSuffix(strings.TrimPrefix(p.address, "http://"), "/")))
	if b.visible(t, "#status") || b.visible(t, "#connect button") {
		t.Error("the figures are replaced, too, or a button that does nothing")
	}
	b.screenshot(t, "connect-noscript")
	b.calm(t, p.address)
}

// All can be reached and used with the keyboard.
func TestPageByKeyboard(t *testing.T) {
	p := servePage(t)
	b := openTab(t, p.address, look{width: 1280})
	b.tabTo(t, "Connect a client")
	b.do(t, chromedp.KeyEvent("\r"))
	b.await(t, "#connect h2", "Connect a client")
	for _, key := range []string{"\r", " "} {
		b.tabTo(t, "podman")
		b.do(t, chromedp.KeyEvent(key))
		if !b.visible(t, "#connect details:nth-of-type(2) pre") {
			t.Errorf("%q opens nothing", key)
		}
		b.do(t, chromedp.KeyEvent(key))
		if b.visible(t, "#connect details:nth-of-type(2) pre") {
			t.Errorf("%q closes nothing", key)
		}
	}
	b.do(t, chromedp.KeyEvent(" "))
	b.accessible(t)
	b.screenshot(t, "connect")
	b.tabTo(t, "Copy")
	b.do(t, chromedp.KeyEvent("\r"))
	b.await(t, "#connect details:nth-of-type(2) button", "Copied")
	b.calm(t, p.address)
}

// await waits until the text of an element begins with want.
func (b *tab) await(t *testing.T, selector, want string) {
	t.Helper()
	eventually(t, 20*time.Second, selector+" says "+want, func() bool { return strings.Contains(b.text(t, selector), want) })
}

func (b *tab) visible(t *testing.T, selector string) bool {
	t.Helper()
	return eval[bool](t, b, fmt.Sprintf("document.querySelector(%q).checkVisibility()", selector))
}

// tabTo presses the key until what has the focus begins with text.
func (b *tab) tabTo(t *testing.T, text string) {
	t.Helper()
	for range 40 {
		if strings.HasPrefix(eval[string](t, b, "document.activeElement.innerText"), text) && eval[string](t, b, "document.activeElement.localName") != "body" {
			return
		}
		b.do(t, chromedp.KeyEvent("\t"))
	}
	t.Fatalf("%q cannot be reached with the keyboard", text)
}
