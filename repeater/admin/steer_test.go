package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
	"github.com/posthouse/posthouse/routes"
)

// A station is a repeater between two brokers in memory, with its server: route orders, a/in to b/out, and route other.
type station struct {
	t    *testing.T
	addr string
	a, b *mem.Broker
	rep  *repeater.Repeater
}

// newStation runs one until the test ends. Its target refuses what has an odd number.
func newStation(t *testing.T) *station {
	t.Helper()
	s := &station{t: t, a: mem.NewBroker("a", mem.Options{}), b: mem.NewBroker("b", mem.Options{})}
	s.b.SetRules("out", mem.Rules{Refuse: func(m *adapters.Message) bool { v, _ := m.Prop("n"); return v.Int()%2 == 1 }})
	table := &routes.Table{Brokers: map[string]*routes.Broker{}, Spool: &routes.Spool{Dir: t.TempDir(), SegmentSize: 32 << 10}}
	for _, n := range []string{"a", "b"} {
		table.Brokers[n] = &routes.Broker{Name: n, Kind: "mem", Config: adapters.Config{Name: n, Addresses: []string{n}}, Trusted: true,
			Reconnect: routes.Reconnect{Delay: time.Millisecond, MaxDelay: 5 * time.Millisecond}}
	}
	for name, from := range map[string]string{"orders": "in", "other": "others"} {
		table.Routes = append(table.Routes, &routes.Route{
			Name: name, From: adapters.Address{Broker: "a", Form: adapters.Queue, Name: from}, Enabled: true, MaxHops: 8, Prefetch: 64, PrefetchSize: 1 << 20, InFlight: 16,
			To:    []routes.Target{{Name: "b", Addr: adapters.Address{Broker: "b", Form: adapters.Queue, Name: "out"}}},
			Batch: routes.Batch{Count: 4, Size: 1 << 20}, Retry: routes.Retry{Delay: time.Millisecond, MaxDelay: time.Second},
			ConfirmTimeout: 30 * time.Second, MaxMessageSize: 1 << 20, MaxAttempts: 1, OnPoison: routes.PoisonDeadLetter,
			Spool: routes.RouteSpool{Mode: routes.SpoolAuto, SlowAfter: 30 * time.Second},
		})
	}
	rep, err := repeater.New(table, routes.Kinds{"mem": mem.New(s.a, s.b)}, repeater.Options{})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := admin.Listen("127.0.0.1:0", admin.Options{Status: rep.Status, Repeater: rep, Metrics: prometheus.NewRegistry(), Resolve: rep.Resolve})
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.rep = srv.Addr(), rep
	ctx, cancel := context.WithCancel(t.Context())
	ran, served := make(chan error, 1), make(chan error, 1)
	go func() { ran <- rep.Run(ctx) }()
	go func() { served <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, <-served); err != nil {
			t.Error(err)
		}
	})
	s.until("all is up", func(st repeater.Status) bool {
		return len(st.Routes) == 2 && st.Routes[0].State == "pass-through" && st.Routes[1].State == "pass-through"
	})
	return s
}

// until waits for a status.
func (s *station) until(what string, ok func(repeater.Status) bool) {
	s.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(20 * time.Second); ; {
		st := s.rep.Status()
		if ok(st) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("not: %s\n%+v", what, st.Routes)
		}
	}
}

func (s *station) route(st repeater.Status, name string) repeater.RouteStatus {
	for _, r := range st.Routes {
		if r.Name == name {
			return r
		}
	}
	s.t.Fatalf("no route %s", name)
	return repeater.RouteStatus{}
}

// put gives the source messages with these numbers.
func (s *station) put(ns ...int) {
	for _, n := range ns {
		s.a.Put("in", &adapters.Message{ID: adapters.StringID(fmt.Sprint("m", n)), Durable: adapters.Yes,
			Props: []adapters.Prop{{Name: "n", V: adapters.Int(adapters.TI64, int64(n))}}, Body: adapters.Body{Form: adapters.BodyText, Data: fmt.Appendf(nil, "body %d", n)}})
	}
}

// post sends JSON and decodes the answer, which must have the status code want.
func (s *station) post(path, body string, want int, v any) {
	s.t.Helper()
	s.say("POST", path, body, want, v)
}

func (s *station) say(method, path, body string, want int, v any) {
	s.t.Helper()
	code, _, text := send(s.t, method, s.addr, path, body, "Content-Type", "application/json")
	if code != want {
		s.t.Fatalf("%s %s: %d, want %d: %s", method, path, code, want, text)
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		s.t.Fatalf("%s: %v in %s", path, err, text)
	}
}

// Over HTTP a route is paused, and goes on; a dry run changes nothing.
func TestSteering(t *testing.T) {
	s := newStation(t)
	var out repeater.Obeyed
	s.post("/api/v1/routes/orders/pause?dry_run=1", `{"reason": "x"}`, 200, &out)
	if !out.DryRun || s.route(s.rep.Status(), "orders").Told != nil {
		t.Errorf("%+v", out)
	}
	s.post("/api/v1/routes/orders/pause", `{"reason": "maintenance"}`, 200, &out)
	s.until("it is paused", func(st repeater.Status) bool { return s.route(st, "orders").State == "paused" })
	s.put(2, 4)
	var one repeater.RouteStatus
	get(t, s.addr, "/api/v1/routes/orders", &one)
	if one.Told == nil || one.Told.Reason != "maintenance" || one.Source.State != "paused" {
		t.Errorf("%+v", one)
	}
	s.post("/api/v1/lanes/other/b/pause", `{"reason": ""}`, 200, &out)
	s.until("the lane is paused", func(st repeater.Status) bool { return s.route(st, "other").Lanes[0].State == "paused" })
	s.post("/api/v1/lanes/other/b/resume", `{"reason": ""}`, 200, &out)
	s.post("/api/v1/routes/orders/resume", `{"reason": ""}`, 200, &out)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if ms, err := s.b.Take(ctx, "out", 2); err != nil {
		t.Errorf("%d, %v", len(ms), err)
	}
	s.post("/api/v1/routes/orders/restart", `{}`, 200, &out)
	var again admin.Reconnected
	s.post("/api/v1/brokers/a/reconnect", `{}`, 200, &again)
	if len(out.Begun) != 1 || len(again.Begun) != 2 {
		t.Errorf("%+v, %+v", out, again)
	}
	var brokers []admin.Broker
	s.until("all is up again", func(st repeater.Status) bool {
		return s.route(st, "orders").State == "pass-through" && s.route(st, "other").State == "pass-through"
	})
	get(t, s.addr, "/api/v1/brokers", &brokers)
	if len(brokers) != 2 || brokers[0].Name != "a" || brokers[0].Sources != 2 || brokers[0].SourcesUp != 2 || brokers[0].State != "up" || brokers[1].TargetsUp != 2 {
		t.Errorf("%+v", brokers)
	}
	var links []admin.Link
	get(t, s.addr, "/api/v1/links", &links)
	if len(links) != 2 || links[0].State != "up" {
		t.Errorf("%+v", links)
	}
}

// Dead letters over HTTP: listed, shown, sent again, discarded only when they have been counted.
func TestDeadLettersOverHTTP(t *testing.T) {
	s := newStation(t)
	s.put(1, 2, 3, 5)
	s.until("three dead letters", func(st repeater.Status) bool { return s.route(st, "orders").Dead.Spooled == 3 })
	var dead []admin.DeadRoute
	get(t, s.addr, "/api/v1/dlq", &dead)
	if len(dead) != 2 {
		t.Fatalf("%+v", dead)
	}
	for _, d := range dead {
		if d.Route == "orders" && (d.Messages != 3 || !d.Kept || d.Oldest == nil) {
			t.Errorf("%+v", d)
		}
	}
	var p repeater.Page
	get(t, s.addr, "/api/v1/dlq/orders/messages?limit=2", &p)
	if len(p.Letters) != 2 || p.Next == 0 || p.Letters[0].Message.Body != "" {
		t.Errorf("%+v", p)
	}
	after := p.Next
	p = repeater.Page{}
	get(t, s.addr, fmt.Sprint("/api/v1/dlq/orders/messages?body=1&cursor=", after), &p)
	if len(p.Letters) != 1 || p.Next != 0 || p.Letters[0].Message.Body != "body 5" {
		t.Errorf("%+v", p)
	}
	var l repeater.Letter
	get(t, s.addr, fmt.Sprint("/api/v1/dlq/orders/messages/", p.Letters[0].Seq), &l)
	if l.Dead == nil || l.Dead.Reason != "rejected" || l.Message == nil {
		t.Errorf("%+v", l)
	}
	var out repeater.DeadDone
	s.post("/api/v1/dlq/orders/move", `{"filter": "int(msg.header.n) == 5", "to": {"broker": "a", "queue": "aside"}}`, 200, &out)
	if out.Done != 1 {
		t.Errorf("%+v", out)
	}
	var no admin.Problem
	s.post("/api/v1/dlq/orders/discard", `{"all": true, "why": "x"}`, 428, &no)
	s.post("/api/v1/dlq/orders/discard", `{"all": true, "expect_count": 2}`, 400, &no)
	s.post("/api/v1/dlq/orders/discard", `{"all": true, "expect_count": 3, "why": "x"}`, 409, &no)
	if no.Code != "A007" {
		t.Errorf("%+v", no)
	}
	s.post("/api/v1/dlq/orders/discard?dry_run=1", `{"all": true}`, 200, &out)
	if out.Selected != 2 || out.Done != 0 {
		t.Errorf("%+v", out)
	}
	s.b.SetRules("out", mem.Rules{})
	s.post("/api/v1/dlq/orders/retry", `{"filter": "int(msg.header.n) == 1"}`, 200, &out)
	if out.Done != 1 {
		t.Errorf("%+v", out)
	}
	s.post("/api/v1/dlq/orders/discard", `{"all": true, "expect_count": 1, "why": "ticket 7"}`, 200, &out)
	s.until("none is left", func(st repeater.Status) bool { return s.route(st, "orders").Dead.Spooled == 0 })
}

// The spool over HTTP.
func TestSpoolOverHTTP(t *testing.T) {
	s := newStation(t)
	var told repeater.Obeyed
	s.post("/api/v1/lanes/orders/b/pause", `{}`, 200, &told)
	s.put(2, 4, 6)
	s.until("three are spooled", func(st repeater.Status) bool { return s.route(st, "orders").Lanes[0].Spooled == 3 })
	var p repeater.Page
	get(t, s.addr, "/api/v1/spools/orders/b/messages", &p)
	if len(p.Letters) != 3 {
		t.Errorf("%+v", p)
	}
	var l repeater.Letter
	get(t, s.addr, "/api/v1/spools/orders/b/messages/2?body=1", &l)
	if l.Message == nil || l.Message.Body != "body 4" {
		t.Errorf("%+v", l)
	}
	var v admin.LaneVerify
	s.post("/api/v1/spools/orders/b/verify", `{}`, 200, &v)
	if len(v.Lanes) != 1 || v.Lanes[0].Messages != 3 {
		t.Errorf("%+v", v)
	}
	s.post("/api/v1/spools/verify", `{}`, 200, &v)
	if len(v.Lanes) == 0 {
		t.Errorf("%+v", v)
	}
	var none []repeater.Orphan
	get(t, s.addr, "/api/v1/orphans", &none)
	next := *s.rep.Table()
	next.Routes = nil
	for _, r := range s.rep.Table().Routes {
		if r.Name == "other" {
			next.Routes = append(next.Routes, r)
		}
	}
	if _, err := s.rep.Reload(t.Context(), &next, false); err != nil {
		t.Fatal(err)
	}
	var orphans []repeater.Orphan
	get(t, s.addr, "/api/v1/orphans", &orphans)
	if len(none) != 0 || len(orphans) != 1 || orphans[0].Messages != 3 {
		t.Errorf("%+v, %+v", none, orphans)
	}
	var no admin.Problem
	const orphan = "/api/v1/orphans/orders/b"
	s.say("DELETE", orphan, "", 428, &no)
	s.say("DELETE", orphan+"?expect_count=3", "", 400, &no)
	s.say("DELETE", orphan+"?expect_count=4&reason=x", "", 409, &no)
	s.say("DELETE", orphan+"?expect_count=x&reason=x", "", 400, &no)
	s.say("DELETE", "/api/v1/orphans/other/b?expect_count=1&reason=x", "", 404, &no)
	var gone admin.Purge
	s.say("DELETE", orphan+"?dry_run=1", "", 200, &gone)
	if gone.Messages != 3 || !gone.DryRun {
		t.Errorf("%+v", gone)
	}
	var done repeater.DeadDone
	s.post(orphan+"/adopt?dry_run=1", `{"route": "other"}`, 200, &done)
	s.post(orphan+"/adopt", `{"route": "other", "expect_count": 3}`, 200, &done)
	if done.Done != 3 {
		t.Errorf("%+v", done)
	}
	s.say("DELETE", orphan+"?expect_count=3&reason=x", "", 404, &no)
}

// What cannot be asked says why, with a code that is explained, and changes nothing.
func TestSteeringProblems(t *testing.T) {
	s := newStation(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/api/v1/routes/bills/pause", `{}`, 404, "R011"}, {"POST", "/api/v1/lanes/orders/x/pause", `{}`, 404, "R011"},
		{"GET", "/api/v1/routes/orders/pause", ``, 405, "A016"}, {"POST", "/api/v1/routes/orders/pause", `{"why": 1}`, 400, "A014"},
		{"POST", "/api/v1/routes/orders/stop", `{}`, 404, "A012"}, {"POST", "/api/v1/lanes/orders/b/drain", `{}`, 404, "A012"},
		{"POST", "/api/v1/brokers/z/reconnect", `{}`, 404, "A012"}, {"GET", "/api/v1/brokers/z", ``, 404, "A012"},
		{"GET", "/api/v1/spools/orders/x/messages", ``, 404, "R011"}, {"GET", "/api/v1/spools/orders/b/messages?limit=-1", ``, 400, "A014"},
		{"GET", "/api/v1/spools/orders/b/messages?cursor=x", ``, 400, "A014"}, {"GET", "/api/v1/spools/orders/b/messages?filter=1+%2B", ``, 400, "A014"},
		{"GET", "/api/v1/spools/orders/b/messages/7", ``, 404, "A012"}, {"GET", "/api/v1/spools/orders/b/messages/x", ``, 400, "A014"},
		{"POST", "/api/v1/dlq/bills/retry", `{"all": true}`, 404, "R011"}, {"POST", "/api/v1/dlq/orders/retry", `{}`, 400, "A014"},
		{"POST", "/api/v1/dlq/orders/move", `{"all": true}`, 400, "A014"}, {"POST", "/api/v1/dlq/orders/move", `{"all": true, "to": {"broker": "a"}}`, 400, "A014"},
		{"POST", "/api/v1/dlq/orders/move", `{"all": true, "to": {"broker": "a", "topic": "x", "subject": "x"}}`, 400, "A014"},
		{"POST", "/api/v1/routes/orders/pause", `{"reason": "` + strings.Repeat("x", 1<<19) + `"}`, 413, "A006"},
	} {
		var p admin.Problem
		s.say(c.method, c.path, c.body, c.status, &p)
		if _, ok := admin.Explain(p.Code); p.Code != c.code || p.Detail == "" || p.Help == "" || !ok && p.Code != "R011" {
			t.Errorf("%s %s: %+v", c.method, c.path, p)
		}
	}
	if code, _, _ := send(t, "POST", s.addr, "/api/v1/routes/orders/pause", "reason=x", "Content-Type", "application/x-www-form-urlencoded"); code != http.StatusUnsupportedMediaType {
		t.Errorf("a form: %d", code)
	}
	if st := s.route(s.rep.Status(), "orders"); st.Told != nil || st.State != "pass-through" {
		t.Errorf("something has changed: %+v", st)
	}
}
