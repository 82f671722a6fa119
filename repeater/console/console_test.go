package console

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// many is a console of n routes between brokers, with what they say of themselves.
func many(n, brokers int, name func(i int) string) *Console {
	t := &routes.Table{Brokers: map[string]*routes.Broker{}}
	for i := range brokers {
		b := fmt.Sprint("broker-", i)
		t.Brokers[b] = &routes.Broker{Name: b, Kind: "nats", Site: "site <of> " + b}
	}
	st := repeater.Status{Repeater: "one"}
	for i := range n {
		from, to := fmt.Sprint("broker-", i%brokers), fmt.Sprint("broker-", (i+1)%brokers)
		r := &routes.Route{Name: name(i), Enabled: true, From: adapters.Address{Broker: from, Name: "in"}}
		r.To = []routes.Target{{Name: to, Addr: adapters.Address{Broker: to, Name: "out"}}}
		t.Routes = append(t.Routes, r)
		st.Routes = append(st.Routes, repeater.RouteStatus{Name: r.Name, State: "blocked", Source: repeater.EndStatus{Address: from + "/in", State: "up"},
			Lanes: []repeater.LaneStatus{{Name: r.Name + "/" + to, State: "blocked", Error: `no <b>way</b> to "it"`, Link: repeater.EndStatus{Address: to + "/out", State: "down"}}}})
	}
	return New(Options{Status: func() repeater.Status { return st }, Table: func() *routes.Table { return t }})
}

func get(t *testing.T, c *Console, path string) (code int, page string) {
	t.Helper()
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, Prefix+path, nil))
	return w.Code, w.Body.String()
}

// The first page stays small however many routes there are, with all that it needs.
func TestOverviewIsSmall(t *testing.T) {
	c := many(10_000, 20, func(i int) string { return fmt.Sprintf("a-route-with-a-longer-name-%05d", i) })
	c.past.note(time.Now(), c.opts.Status())
	code, page := get(t, c, "")
	size := len(page)
	err := fs.WalkDir(files, "static", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			info, ierr := d.Info()
			size, err = size+int(info.Size()), ierr
		}
		return err
	})
	if code != 200 || err != nil || size > 200<<10 || !strings.Contains(page, "10,000 routes") {
		t.Errorf("%d, %v: %d bytes", code, err, size)
	}
}

// Nothing that a name or a broker says becomes a part of a page.
func TestPagesEscape(t *testing.T) {
	c := many(2, 2, func(i int) string { return fmt.Sprintf(`r%d"><script>alert(1)</script>`, i) })
	for range 3 {
		c.past.note(time.Now(), c.opts.Status())
	}
	for _, page := range []string{"", "routes", "brokers", "bridges", "spool", "dead-letters", "events", "routes/r0%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"} {
		code, text := get(t, c, page)
		if code != 200 || strings.Contains(text, "<script>alert") || strings.Contains(text, "<b>way") || strings.Contains(text, "<of>") {
			t.Errorf("%s: %d\n%s", page, code, text)
		}
	}
}

func TestPagesThatAreNot(t *testing.T) {
	c := many(1, 2, func(int) string { return "r" })
	for _, page := range []string{"nowhere", "routes/other", "config", "dead-letters/r"} {
		if code, text := get(t, c, page); code != http.StatusNotFound || !strings.Contains(text, "no such page") {
			t.Errorf("%s: %d\n%s", page, code, text)
		}
	}
}

func TestPast(t *testing.T) {
	p, begin := newPast(), time.Now()
	for i := range mostLooks + 10 {
		at := begin.Add(time.Duration(i) * every)
		oldest := at.Add(-time.Minute)
		p.note(at, repeater.Status{Spool: &repeater.SpoolStatus{State: "ok", Bytes: int64(1000 + 10*i), Limit: 10_000},
			Routes: []repeater.RouteStatus{{Name: "r", Received: int64(20 * i), Source: repeater.EndStatus{State: "up"}, Lanes: []repeater.LaneStatus{
				{Name: "r/b", State: map[bool]string{true: "pass-through", false: "spooling"}[i < 5], Forwarded: int64(10 * i), Spooled: 7, Oldest: &oldest}}}}})
	}
	looks := p.of("r")
	if len(looks) != mostLooks || rate(looks, countIn) != 10 || rate(looks, countOut) != 5 || looks[0].backlog != 7 || looks[0].oldest != time.Minute {
		t.Errorf("%d looks, in %v, out %v, %+v", len(looks), rate(looks, countIn), rate(looks, countOut), looks[0])
	}
	all := p.of("")
	if left := untilFull(all); left < 24*time.Minute || left > 25*time.Minute { // (10,000 - 2,590) bytes, 5 a second
		t.Errorf("full in %v", left)
	}
	es := p.changes()
	if len(es) != 1 || es[0].What != "lane r/b" || es[0].Text != "pass-through -> spooling" {
		t.Errorf("%+v", es)
	}
	p.note(begin.Add(time.Hour), repeater.Status{})
	if got := p.of("r"); got != nil {
		t.Errorf("a route that is gone has %d looks", len(got))
	}
	if rate([]look{{at: begin, in: 5}, {at: begin.Add(every), in: 2}}, countIn) != 0 {
		t.Error("a count that falls has a rate")
	}
}

func TestFigures(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 3: "3", 3.25: "3.2", 9999: "9999", 12345: "12.3k", 2.5e6: "2.5M", 7e9: "7.0G"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %s, want %s", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0 ms", 1500 * time.Millisecond: "2 s", 90 * time.Second: "1 min", 3 * time.Hour: "3.0 h", 72 * time.Hour: "3.0 days"} {
		if got := ago(d); got != want {
			t.Errorf("ago(%v) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 2048: "2.0 KiB", 3 << 30: "3.0 GiB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %s, want %s", n, got, want)
		}
	}
}
