package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// A watched is a daemon whose console is open in a browser: a is a broker of its own, b one behind a line that can be cut. The
// route picky keeps dead letters, of messages that are too large for b.
type watched struct {
	t    *testing.T
	addr string
	file string
	line *adaptertest.Proxy
	js   jetstream.JetStream // of b
	ctx  context.Context     // of the browser

	mu     sync.Mutex
	errors []string // that the browser reports
}

func newWatched(t *testing.T) *watched {
	t.Helper()
	path := broker.NeedChromium(t)
	w := &watched{t: t, line: adaptertest.NewProxy(t)}
	js, url := natsServer(t)
	w.js = js
	far, err := w.line.Relay(strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	var free [2]string
	for i := range free {
		ln := listen(t)
		free[i] = ln.Addr().String()
		_ = ln.Close()
	}
	w.addr = free[0]
	for _, s := range []jetstream.StreamConfig{{Name: "OUT", Subjects: []string{"out"}}, {Name: "SMALL", Subjects: []string{"small"}, MaxMsgSize: 2000}} {
		if _, err := w.js.CreateStream(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	w.file = write(t, "topology.yaml", fmt.Sprintf(`version: 1
brokers:
  a: { type: nats, site: paris, embedded: { dir: a, listen: "%s" } }
  b: { type: nats, site: berlin, addresses: ["nats://%s"], reconnect: { delay: 50ms, max_delay: 200ms }, heartbeat: 1s }
routes:
  - { name: orders, from: { broker: a, stream: ORDERS, subject: orders, create: true }, to: { broker: b, subject: out } }
  - { name: picky, from: { broker: a, stream: PICKY, subject: picky, create: true }, to: { broker: b, subject: small } }
spool: { dir: spool, segment_size: 1MiB }
admin: { listen: "%s", log: { level: warn } }
`, free[1], far, w.addr))
	start(t, w.file, w.addr)
	w.open(path)
	return w
}

// open opens the browser and notes what it reports as errors.
func (w *watched) open(path string) {
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1200, 1000))
	actx, done := chromedp.NewExecAllocator(context.Background(), options...)
	w.t.Cleanup(done)
	ctx, end := chromedp.NewContext(actx)
	w.t.Cleanup(end)
	w.ctx = ctx
	chromedp.ListenTarget(ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			w.wrong("exception: " + e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.APITypeError {
				w.wrong(fmt.Sprintf("console.error: %v", e.Args))
			}
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError {
				w.wrong(e.Entry.Text + " " + e.Entry.URL)
			}
		}
	})
	if err := chromedp.Run(ctx); err != nil { // the browser ends with the context of the first call
		w.t.Fatal(err)
	}
}

func (w *watched) wrong(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errors = append(w.errors, text)
}

// does lets the browser do something, and fails the test when it cannot.
func (w *watched) does(what string, actions ...chromedp.Action) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// visit opens a page, keeps a picture of it, and returns its text.
func (w *watched) visit(page string) (text string) {
	w.t.Helper()
	var shot []byte
	w.does("open "+page, chromedp.Navigate("http://"+w.addr+"/console/"+page), chromedp.WaitVisible("main"), chromedp.Text("main", &text),
		chromedp.FullScreenshot(&shot, 100))
	name := filepath.Join(w.t.ArtifactDir(), "console-"+strings.ReplaceAll(page, "/", "-")+".png")
	if err := os.WriteFile(name, shot, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return text
}

// TestConsole looks at every page in a browser, with messages, without errors, with a link that is cut, and with a dead letter
// that is sent again by clicking.
func TestConsole(t *testing.T) {
	w := newWatched(t)
	eventually(t, "the routes pass messages", func() bool {
		var v view
		return ask(t.Context(), w.addr, "/api/v1/status", &v) == nil && v.Routes[0].State == "pass-through" && v.Routes[1].State == "pass-through"
	})
	posthouse(t, "send", "-c", w.file, "a/orders", "one").want(t, 0)
	posthouse(t, "send", "-c", w.file, "a/picky", strings.Repeat("too large ", 300)).want(t, 0)
	eventually(t, "a dead letter", func() bool { _, dead := w.picky(); return dead == 1 })
	for page, want := range map[string]string{"": "2 routes", "routes": "orders", "routes/orders": "Settings in effect", "bridges": "no bridges",
		"brokers": "berlin", "spool": "Lanes with messages", "dead-letters": "picky", "dead-letters/picky": "too-large",
		"config": "generation 1", "events": "Time"} {
		if text := w.visit(page); !strings.Contains(text, want) {
			t.Errorf("/console/%s does not say %q:\n%s", page, want, text)
		}
	}
	w.enlarge() // the new connection after the cut will know of it
	t.Run("cut", func(t *testing.T) { w.cut(t) })
	t.Run("retry", func(t *testing.T) { w.retry(t) })
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.errors {
		t.Errorf("the browser says: %s", text)
	}
}

// picky are the messages of the route that arrived, and its dead letters.
func (w *watched) picky() (arrived uint64, dead int64) {
	arrived, _ = left(w.t, w.js, "SMALL")
	var v struct {
		Routes []struct {
			Dead struct {
				Spooled int64 `json:"spooled_messages"`
			} `json:"dead_letters"`
		} `json:"routes"`
	}
	if ask(w.t.Context(), w.addr, "/api/v1/status", &v) != nil || len(v.Routes) != 2 {
		return arrived, -1
	}
	return arrived, v.Routes[1].Dead.Spooled
}

// cut: the picture turns red or orange with the first look of the page after the daemon knows of it.
func (w *watched) cut(t *testing.T) {
	w.visit("")
	good := `document.querySelector('#picture').innerHTML.includes('a -&gt; b: pass-through')`
	w.does("the link is shown as good", chromedp.Poll(good, nil))
	w.line.Refuse()
	w.line.Cut()
	began := time.Now()
	w.does("the cut is shown", chromedp.Poll(`!`+good, nil, chromedp.WithPollingInterval(50*time.Millisecond)))
	t.Logf("the picture shows the cut after %.1f s", time.Since(began).Seconds())
	w.line.Allow()
	w.does("the link is shown as good again", chromedp.Poll(good, nil, chromedp.WithPollingTimeout(patience)))
}

// enlarge lets b take large messages.
func (w *watched) enlarge() {
	w.t.Helper()
	s, err := w.js.Stream(w.t.Context(), "SMALL")
	if err != nil {
		w.t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.MaxMsgSize = 1 << 20
	if _, err := w.js.UpdateStream(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// retry ticks a dead letter, whose cause is mended, and clicks.
func (w *watched) retry(t *testing.T) {
	w.visit("dead-letters/picky")
	var notice string
	w.does("tick and click", chromedp.Click(`input[name=id]`), chromedp.Click(`button[formaction$="/retry"]`), chromedp.WaitVisible(".notice"),
		chromedp.Text(".notice", &notice))
	if notice != "retry: 1 of 1" {
		t.Errorf("the page says %q", notice)
	}
	eventually(t, "the message arrives, and is no dead letter any more", func() bool { arrived, dead := w.picky(); return arrived == 1 && dead == 0 })
}
