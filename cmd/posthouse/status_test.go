package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/repeater"
)

// noon is when the statuses of these tests were taken.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// ago is a time before noon.
func ago(d time.Duration) time.Time { return noon.Add(-d) }

// sick is a status in which much is wrong: made of the repeater's own types, so that what it says is what is read.
func sick() repeater.Status {
	up := repeater.EndStatus{Address: "paris/orders", State: "up", Since: ago(time.Hour)}
	down := repeater.EndStatus{Address: "berlin/orders", State: "down", Since: ago(3 * time.Minute), Error: "connect berlin/orders: dial tcp 192.0.2.7:5672: connect: connection refused"}
	lane := func(name, state string, link repeater.EndStatus) repeater.LaneStatus {
		return repeater.LaneStatus{Name: name, State: state, Since: ago(3 * time.Minute), Link: link, InFlight: 12, Error: link.Error}
	}
	spooling, full, held := lane("orders/berlin", "spooling", down), lane("fills-of-the-american-desks/warehouse", "full", up), lane("quotes/berlin", "draining", up)
	oldest := ago(26 * time.Hour)
	spooling.Spooled, spooling.SpooledBytes, spooling.Oldest = 1234567, 5<<30, &oldest
	full.Spooled, full.SpooledBytes, full.Limit, full.Error, full.Oldest = 98765432, 64<<20, 64<<20, "lane is full", &oldest
	held.Spooled, held.SpooledBytes, held.Held, held.Error = 3, 700, 2, "refused: \x1b[31mtoo\nlarge"
	return repeater.Status{Repeater: "paris", Hash: "0123456789ab", Started: ago(50 * time.Hour),
		Clock: repeater.ClockStatus{Suspect: true, Since: &oldest, Expected: &noon},
		Spool: &repeater.SpoolStatus{Dir: "/var/spool/posthouse/paris", State: "full", Error: "no space left on device", Bytes: 8 << 30, Limit: 10 << 30, DiskFree: 3 << 20,
			Segments: 128, Damaged: 1, Messages: 100000002, Orphans: []repeater.Orphan{{Name: "old/berlin", Messages: 1, Bytes: 2048}}},
		Routes: []repeater.RouteStatus{
			{Name: "orders", State: "spooling", Source: up, Lanes: []repeater.LaneStatus{spooling, lane("orders/b", "pass-through", up)}},
			{Name: "fills-of-the-american-desks", State: "full", Source: up, Lanes: []repeater.LaneStatus{full}},
			{Name: "quotes", State: "draining", Source: repeater.EndStatus{Address: "paris/quotes", State: "blocked", Since: ago(time.Second), Error: "no such queue"}, Lanes: []repeater.LaneStatus{held}},
		}}
}

// well is a status in which nothing is wrong.
func well() repeater.Status {
	s := sick()
	s.Clock, s.Spool, s.Routes = repeater.ClockStatus{}, nil, s.Routes[:1]
	s.Routes[0].Lanes = s.Routes[0].Lanes[1:]
	return s
}

func asView(t *testing.T, s repeater.Status) *view {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var v view
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return &v
}

// golden compares got with a file of testdata. POSTHOUSE_UPDATE=1 writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name
	if os.Getenv("POSTHOUSE_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestStatusTable(t *testing.T) {
	golden(t, "status.txt", asView(t, sick()).text(noon, false))
	golden(t, "status-wide.txt", asView(t, sick()).text(noon, true))
	golden(t, "status-well.txt", asView(t, well()).text(noon, false))
	table, _, _ := strings.Cut(asView(t, sick()).text(noon, false), "\n\nspool")
	for line := range strings.SplitSeq(table, "\n") {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// daemon answers like one whose status is what give returns.
func daemon(t *testing.T, give func() repeater.Status) (addr string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/status" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(give())
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestStatusCommand(t *testing.T) {
	addr := daemon(t, sick)
	posthouse(t, "status", "--admin", addr).want(t, 0, "repeater paris, up ", "ROUTE/TARGET", "fills-of-the-americ~ full", "orphan old/berlin: 1 message, 2KiB")
	posthouse(t, "status", "--admin", addr, "-o", "wide").want(t, 0, "fills-of-the-american-desks/warehouse  full")
	file := write(t, "t.yaml", strings.ReplaceAll(frame, "DIR", t.TempDir())+"admin: { listen: \""+addr+"\" }\n")
	posthouse(t, "status", "-c", file).want(t, 0, "repeater paris")
	t.Setenv("POSTHOUSE_ADMIN", addr)
	r := posthouse(t, "status", "-o", "json")
	r.want(t, 0)
	var got struct {
		Command, Summary string
		OK               bool
		Result           repeater.Status
		Error            *problem
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || !got.OK || got.Command != "status" || got.Error != nil || got.Result.Spool.Messages != 100000002 {
		t.Errorf("%v in %s", err, r.out)
	}
	if diff := cmp.Diff(asView(t, sick()), asView(t, got.Result)); diff != "" {
		t.Error(diff)
	}
}

// TestStatusOfNobody: whatever answers or does not, the exit is 3 and says what to do; with -o json it is one object.
func TestStatusOfNobody(t *testing.T) {
	gone := listen(t)
	_ = gone.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	text := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	t.Cleanup(text.Close)
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }))
	t.Cleanup(empty.Close)
	for addr, says := range map[string]string{
		gone.Addr().String():           "no daemon answers at " + gone.Addr().String(),
		other.Listener.Addr().String(): "has no /api/v1/status (404 Not Found)",
		text.Listener.Addr().String():  "is no posthouse",
		empty.Listener.Addr().String(): "is no posthouse",
	} {
		for _, output := range []string{"table", "json"} {
			r := posthouse(t, "status", "--admin", addr, "-o", output)
			r.want(t, 3, says, "[E105]", "= help: ", "--admin HOST:PORT")
			if output == "json" {
				oneAnswer(t, r.out, false, "status", "E105")
			}
		}
		posthouse(t, "status", "-w", "--admin", addr).want(t, 3, says) // the first look must succeed
	}
}

// oneAnswer checks that out is one object of a command.
func oneAnswer(t *testing.T, out string, ok bool, command, code string) (result json.RawMessage) {
	t.Helper()
	var a struct {
		Command, Summary string
		OK               bool
		Result           json.RawMessage
		Error            *problem
	}
	d := json.NewDecoder(strings.NewReader(out))
	if err := d.Decode(&a); err != nil || d.More() {
		t.Fatalf("%v, or more than one object, in %s", err, out)
	}
	if a.OK != ok || a.Command != command || a.Summary == "" || (a.Error == nil) != ok || !ok && a.Error.Code != code {
		t.Errorf("%+v, error %+v: want ok %v of %q with code %q", a, a.Error, ok, command, code)
	}
	return a.Result
}

func TestWhereTheDaemonIs(t *testing.T) {
	t.Setenv("POSTHOUSE_ADMIN", "")
	t.Setenv("POSTHOUSE_CONFIG", "")
	open := write(t, "t.yaml", frame+"admin: { listen: 127.0.0.1:0 }\n")
	posthouse(t, "status", "-c", open).want(t, 2, "leaves the port to the system", "--admin HOST:PORT")
	posthouse(t, "status", "-c", write(t, "t.yaml", "version: 2\n")).want(t, 2, "K007")
	posthouse(t, "status", "--interval", "0s").want(t, 2, "--interval 0s")
	posthouse(t, "status", "--admin", "no address at all").want(t, 2, "is no HOST:PORT")
	if got, err := adminAddress("", nil); got != "127.0.0.1:7421" || err != nil {
		t.Error(got, err)
	}
}

// TestWatch: a line of JSON for each change, and none between; the free disk and ages are no change; a daemon that goes
// is one.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var n atomic.Int64
	var srv *httptest.Server
	gone := make(chan struct{})
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, i := sick(), n.Add(1)
		s.Spool.DiskFree = i
		if i > 3 {
			s.Routes[0].Lanes[0].Spooled = 7
		}
		if i == 6 {
			close(gone)
			panic(http.ErrAbortHandler)
		}
		if i > 7 {
			cancel()
		}
		_ = json.NewEncoder(w).Encode(s)
	}))
	defer srv.Close()
	var out, errs bytes.Buffer
	root := rootCommand()
	root.SetArgs([]string{"status", "-w", "--admin", srv.Listener.Addr().String(), "--interval", "1ms"})
	root.SetOut(&out)
	root.SetErr(&errs)
	if err := root.ExecuteContext(ctx); err != nil {
		t.Fatal(err)
	}
	<-gone
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines, want 4 (first, changed, gone, back):\n%s", len(lines), out.String())
	}
	oneAnswer(t, lines[0], true, "status", "")
	oneAnswer(t, lines[1], true, "status", "")
	oneAnswer(t, lines[2], false, "status", "E105")
	oneAnswer(t, lines[3], true, "status", "")
	if !strings.Contains(lines[1], `"spooled_messages":7,`) || strings.Contains(lines[0], `"spooled_messages":7,`) {
		t.Errorf("the change is not shown:\n%s", out.String())
	}
}

// TestRedraw: on a terminal the screen is written over, without a rest of what was there.
func TestRedraw(t *testing.T) {
	var out bytes.Buffer
	c := statusCommand()
	c.SetOut(&out)
	r := reply{text: func(w io.Writer) error { _, err := io.WriteString(w, "a\nb\n"); return err }}
	if _, err := (statusFlags{}).show(c, r, nil, true, ""); err != nil || out.String() != "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J" {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	if _, err := (statusFlags{}).show(c, reply{}, errors.New("gone"), true, ""); err != nil || out.String() != "\x1b[Hgone\x1b[K\n\x1b[J" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestHumanFigures(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 64 << 20: "64MiB", 1<<30 - 1: "1GiB", 5 << 40: "5TiB", 3 << 50: "3PiB", 1 << 62: "4096PiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999999: "999999", 1234567: "1.2M", 12345678: "12M", 1e9: "1G", 3456789012: "3.5G"} {
		if got := countText(n); got != want || len(got) > 6 {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", -time.Hour: "0s", 59 * time.Second: "59s", 61 * time.Minute: "1h", 119 * time.Second: "1m", 1000 * 24 * time.Hour: "1000d"} {
		if got := ageText(ago(d), noon); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	if got := ageText(time.Time{}, noon); got != "-" {
		t.Error(got)
	}
	for in, want := range map[string][2]string{"abcdef": {"abcd~", "~cdef"}, "äöü": {"äöü", "äöü"}, "": {"", ""}} {
		if a, b := cut(in, 5), tail(in, 5); a != want[0] || b != want[1] {
			t.Errorf("%q: %q, %q", in, a, b)
		}
	}
	if got := clean("a\x1b[31m\nb\u202e"); got != "a [31m b " {
		t.Errorf("%q", got)
	}
}
