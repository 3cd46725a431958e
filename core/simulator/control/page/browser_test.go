package page_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browser is one tab of a real, headless Chromium.
type browser struct {
	t    testing.TB
	ctx  context.Context
	base string
}

// chromium is the browser's program: $CHROMIUM, or the first that is installed.
func chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("REQUIRE_CHROMIUM") == "1" {
		require.FailNow(t, "no chromium is installed, and REQUIRE_CHROMIUM=1 wants one")
	}
	t.Skip("no chromium is installed: apt-get install chromium, or set CHROMIUM to one")
	return ""
}

func newBrowser(t testing.TB, base string) *browser {
	t.Helper()
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(
		options, chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1440, 900),
	)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // it may have crashed, which the test would have seen
		cancel()
		stop()
	})
	require.NoError(t, chromedp.Do(ctx))
	return &browser{t, ctx, base}
}

// do runs actions, each for at most half a minute.
func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.shot("failed")
		require.NoError(b.t, err)
	}
}

// open goes to a path of the sandbox.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

// until waits until an expression of the page is true, over changes of the page. The
// page's own rules forbid what chromedp would use for that.
func (b *browser) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	ticks := time.NewTicker(30 * time.Millisecond)
	defer ticks.Stop()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err == nil && ok {
			return
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			b.shot("failed")
			require.FailNow(b.t, "timeout", "waiting for %s (%v)", expression, err)
		}
	}
}

// set writes into a field.
func (b *browser) set(selector, text string) {
	b.t.Helper()
	b.run("document.querySelector(" + quote(selector) + ").value = " + quote(text))
}

// fill writes into a field and presses the button of its form.
func (b *browser) fill(selector, text, button string) {
	b.t.Helper()
	b.set(selector, text)
	b.press(button)
}

// attach sends a file with the composer.
func (b *browser) attach(path, caption string) {
	b.t.Helper()
	b.do(chromedp.SetUploadFiles(chromedp.CSS(`.composer input[type=file]`), []string{path}))
	b.fill(`.composer textarea`, caption, `.composer button`)
}

// press clicks something that leads to another page, and waits for that.
func (b *browser) press(selector string) {
	b.t.Helper()
	b.run("window.stays = true; document.querySelector(" + quote(selector) + ").click()")
	b.until("!window.stays && document.readyState === 'complete'")
}

// run runs a script in the page.
func (b *browser) run(script string) {
	b.t.Helper()
	b.until("(() => { " + script + "; return true })()")
}

// sees waits until an element has a text, without any reload.
func (b *browser) sees(selector, text string) {
	b.t.Helper()
	b.until("[...document.querySelectorAll(" + quote(selector) + ")].some(e => e.textContent.includes(" + quote(text) + "))")
}

// gone waits until no element has a text.
func (b *browser) gone(selector, text string) {
	b.t.Helper()
	b.until("![...document.querySelectorAll(" + quote(selector) + ")].some(e => e.textContent.includes(" + quote(text) + "))")
}

// quote makes a string of JavaScript.
func quote(text string) string { return strconv.Quote(text) }

// shot saves a picture of the window to $SCREENSHOTS/name.png, if that is set.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Logf("screenshot %s: %v", name, err)
		return
	}
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}
