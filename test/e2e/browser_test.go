//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// axeFile is what clients.sh fetches.
const axeFile = "axe-core-4.14.1.js"

// look is how a page is looked at.
type look struct {
	width    int64
	dark     bool
	noScript bool
}

func (l look) String() string {
	theme := "light"
	if l.dark {
		theme = "dark"
	}
	if l.noScript {
		theme += "-noscript"
	}
	return fmt.Sprintf("%d-%s", l.width, theme)
}

// tab is a page in a browser of its own, for the whole of a test. What the browser
// complains about, and what it asks others for, fails the test.
type tab struct {
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	requested  []string // URLs
}

// openTab opens a page in Debian's chromium. As root that has no sandbox; it opens nothing
// but pages of this test.
func openTab(t *testing.T, address string, l look) *tab {
	t.Helper()
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &tab{ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("chromium cannot be started; install it with test/e2e/install.sh: %v", err)
	}
	theme := "light"
	if l.dark {
		theme = "dark"
	}
	call(t, b, network.Enable, network.EnableParams{})
	call(t, b, log.Enable, cdp.Empty{})
	call(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: 900, DeviceScaleFactor: 1, Mobile: l.width < 600})
	call(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
	call(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.noScript})
	b.do(t, chromedp.Navigate(address))
	return b
}

// listen is called by the goroutine that reads from the browser.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch event := event.(type) {
	case *runtime.EventConsoleAPICalled:
		b.complaints = append(b.complaints, fmt.Sprintf("console.%s: %s", event.Type, event.Args[0].Value))
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, event.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		b.complaints = append(b.complaints, fmt.Sprintf("%s: %s %s", event.Entry.Level, event.Entry.Text, event.Entry.URL))
	case *network.EventRequestWillBeSent:
		b.requested = append(b.requested, event.Request.URL)
	}
}

func call[P, R any](t *testing.T, b *tab, command cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		t.Fatalf("%s: %v", command.Method, err)
	}
}

// do does something, for half a minute at the most.
func (b *tab) do(t *testing.T, action chromedp.Action[chromedp.Void]) {
	t.Helper()
	act(t, b, action)
}

func act[T any](t *testing.T, b *tab, action chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		t.Fatalf("%v; the browser said %q", err, b.complaints)
	}
	return result
}

// eval returns the value of an expression, which may be a promise.
func eval[T any](t *testing.T, b *tab, expression string) T {
	t.Helper()
	return act(t, b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// text returns the text of an element as it is read, with plain spaces.
func (b *tab) text(t *testing.T, selector string) string {
	t.Helper()
	quoted, _ := json.Marshal(selector)
	return strings.Join(strings.Fields(eval[string](t, b, "document.querySelector("+string(quoted)+").innerText")), " ")
}

// calm fails the test when the browser has complained or asked another server.
func (b *tab) calm(t *testing.T, address string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.complaints {
		t.Error("the browser says:", complaint)
	}
	own, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range b.requested {
		if u, err := url.Parse(request); err != nil || u.Host != own.Host && request != "about:blank" {
			t.Errorf("the page asks for %s", request)
		}
	}
}

// screenshot saves the whole page among the artifacts of the test.
func (b *tab) screenshot(t *testing.T, name string) {
	t.Helper()
	png := act(t, b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), png, 0o644); err != nil {
		t.Error(err)
	}
}

// accessible fails the test for each barrier that axe finds, by the rules of WCAG 2 A and
// AA, that of contrast among them.
func (b *tab) accessible(t *testing.T) {
	t.Helper()
	axe, err := os.ReadFile(filepath.Join(clientsDir(), axeFile))
	if err != nil {
		t.Fatalf("%v; fetch it with test/e2e/clients.sh", err)
	}
	eval[any](t, b, string(axe)+";0")
	type violation struct {
		ID, Help string
		Nodes    []struct{ HTML, FailureSummary string }
	}
	result := eval[struct {
		Violations []violation
		Passes     []violation
	}](t, b, `axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})`)
	if len(result.Passes) < 20 {
		t.Errorf("only %d rules of axe had anything to check", len(result.Passes))
	}
	for _, v := range result.Violations {
		for _, node := range v.Nodes {
			t.Errorf("%s: %s\n%s\n%s", v.ID, v.Help, node.HTML, node.FailureSummary)
		}
	}
}
