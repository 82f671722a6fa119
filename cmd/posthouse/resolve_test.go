package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/repeater/admin"
)

// A picky daemon carries from a/orders to b/x in strict order; how large a message b/x takes can be changed.
type picky struct {
	t          *testing.T
	file, addr string
	daemon     *running
	js         jetstream.JetStream // of b
}

// newPicky starts a daemon with two embedded servers. Its route has keys of its own instead of the strict order, if they are
// given.
func newPicky(t *testing.T, keys ...string) *picky {
	t.Helper()
	if keys == nil {
		keys = []string{"order: strict"}
	}
	var free []string
	for range 3 {
		ln := listen(t)
		free = append(free, ln.Addr().String())
		_ = ln.Close()
	}
	p := &picky{t: t, addr: free[2], file: write(t, "topology.yaml", `version: 1
brokers:
  a: { type: nats, embedded: { dir: a, listen: "`+free[0]+`" } }
  b: { type: nats, embedded: { dir: b, listen: "`+free[1]+`" } }
routes:
  - name: orders
    from: { broker: a, stream: ORDERS, subject: orders, create: true }
    to: { broker: b, subject: x, create: true, stream: X }
    `+strings.Join(keys, "\n    ")+`
spool: { dir: spool, segment_size: 1MiB }
admin: { listen: "`+free[2]+`", log: { level: warn } }
`)}
	p.daemon = start(t, p.file, p.addr)
	p.up()
	nc, err := natsgo.Connect("nats://" + free[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if p.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *picky) lane() laneView {
	var v view
	if ask(p.t.Context(), p.addr, "/api/v1/status", &v) != nil {
		return laneView{}
	}
	return v.Routes[0].Lanes[0]
}

// up waits until both ends are attached: only then there are the streams that they make.
func (p *picky) up() {
	p.t.Helper()
	eventually(p.t, "both ends are attached", func() bool {
		var v view
		return ask(p.t.Context(), p.addr, "/api/v1/status", &v) == nil && v.Routes[0].Source.State == "up" && v.Routes[0].Lanes[0].State == "pass-through"
	})
}

func (p *picky) is(state string) {
	p.t.Helper()
	eventually(p.t, "the lane is "+state, func() bool { return p.lane().State == state })
}

// takes bounds the messages that b/x takes.
func (p *picky) takes(bytes int32) {
	p.t.Helper()
	s, err := p.js.Stream(p.t.Context(), "X")
	if err != nil {
		p.t.Fatal(err)
	}
	c := s.CachedInfo().Config
	c.MaxMsgSize = bytes
	if _, err := p.js.UpdateStream(p.t.Context(), c); err != nil {
		p.t.Fatal(err)
	}
}

func (p *picky) send(body string) {
	p.t.Helper()
	posthouse(p.t, "send", "-c", p.file, "a/orders", body).want(p.t, 0)
}

// arrived waits until b/x has n messages.
func (p *picky) arrived(n uint64) {
	p.t.Helper()
	eventually(p.t, "the messages arrive", func() bool { got, _ := left(p.t, p.js, "X"); return got == n })
}

// TestResolveHeldLane: an operator sees a held lane, gives one message up, and has another one tried when its cause is
// mended; both decisions are in the log.
func TestResolveHeldLane(t *testing.T) {
	p := newPicky(t)
	posthouse(t, "resolve", "-c", p.file, "orders/b", "retry", "--reason", "x").want(t, 1, "holds nothing that could be resolved so: no message that the target has refused [A009]", "help: posthouse status")
	p.takes(4000)
	for _, body := range []string{"first", strings.Repeat("y", 5000), "third"} {
		p.send(body)
	}
	p.is("held")
	posthouse(t, "status", "-c", p.file).want(t, 0, "lane orders/b is held since ", "posthouse resolve orders/b ACTION --reason TEXT")
	posthouse(t, "resolve", "-c", p.file, "orders/c", "retry", "--reason", "x").want(t, 1, `"orders/c": no lane of that name runs here [R011]`)
	posthouse(t, "resolve", "-c", p.file, "orders/b", "sent", "--reason", "x").want(t, 1, "[A009]")
	p.arrived(1)
	posthouse(t, "resolve", "-c", p.file, "orders/b", "dead-letter", "--reason", "a test\nmessage").want(t, 0, "lane orders/b: dead-letter, 1 message\n")
	p.arrived(2)
	eventually(t, "the dead letter is kept", func() bool { return spooled(t, p.file, "daemon", "orders/b") == 0 && p.lane().State == "pass-through" })

	p.send(strings.Repeat("z", 5000))
	p.is("held")
	p.takes(8000)
	r := posthouse(t, "resolve", "-c", p.file, "orders/b", "retry", "--reason", "limit raised", "-o", "json")
	var done admin.Resolved
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "resolve", ""), &done); err != nil || done != (admin.Resolved{Lane: "orders/b", Action: "retry", Messages: 1}) || r.code != 0 {
		t.Errorf("%v, %+v, %+v", err, done, r)
	}
	p.arrived(3)
	end := p.daemon.stop()
	end.want(t, 0, `"msg":"resolved"`, `"lane":"orders/b","action":"dead-letter","messages":1,"reason":"a test message"`, `"action":"retry","messages":1,"reason":"limit raised"`)
	posthouse(t, "spool", "export", "-c", p.file, "orders/dead-letter").want(t, 0, "given up by an operator: a test message; before: ")
}

// TestResolveDoubt: on an exactly-once route the answer to a message is lost, and the outage is longer than max_outage. The
// lane holds it, nothing is sent twice, and an operator who has found it at the target says so.
func TestResolveDoubt(t *testing.T) {
	js, url := natsServer(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "X", Subjects: []string{"x"}, Duplicates: time.Minute}); err != nil {
		t.Fatal(err)
	}
	proxy := adaptertest.NewProxy(t)
	relay, err := proxy.Relay(strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	a, admins := listen(t), listen(t)
	p := &picky{t: t, js: js, addr: admins.Addr().String(), file: write(t, "topology.yaml", `version: 1
brokers:
  a: { type: nats, embedded: { dir: a, listen: "`+a.Addr().String()+`" } }
  b: { type: nats, addresses: ["nats://`+relay+`"], duplicate_window: 1m, reconnect: { delay: 3s, max_delay: 3s, jitter: 0 } }
routes:
  - name: orders
    from: { broker: a, stream: ORDERS, subject: orders, create: true }
    to: { broker: b, subject: x }
    delivery: exactly-once
    max_outage: 1s
spool: { dir: spool, segment_size: 1MiB }
admin: { listen: "`+admins.Addr().String()+`", log: { level: warn } }
`)}
	_, _ = a.Close(), admins.Close()
	p.daemon = start(t, p.file, p.addr)
	p.up()
	proxy.CutAfterRequest()
	p.send("first")
	p.arrived(1)
	proxy.Refuse()
	proxy.Cut()
	eventually(t, "a try is refused", func() bool { l := p.lane(); return l.Link.State == "down" && strings.Contains(l.Link.Error, "connect") })
	proxy.Allow() // the next try is three seconds later
	p.is("held")
	posthouse(t, "status", "-c", p.file).want(t, 0, "lane orders/b is held since ", "got no answer", "sent or resend")
	p.send("second")
	posthouse(t, "resolve", "-c", p.file, "orders/b", "retry", "--reason", "x").want(t, 1, "[A009]")
	p.arrived(1)
	posthouse(t, "resolve", "-c", p.file, "orders/b", "sent", "--reason", "found it there").want(t, 0, "lane orders/b: sent, 1 message\n")
	p.arrived(2)
	p.is("pass-through")
	p.daemon.stop().want(t, 0, `"action":"sent","messages":1,"reason":"found it there"`)
}

// TestResolveUsage: what is wrong with a command line is told before anybody is asked.
func TestResolveUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"resolve", "orders/b"}, 2, "accepts 2 arg"},
		{[]string{"resolve", "orders", "retry", "--reason", "x"}, 2, `"orders" is no lane`},
		{[]string{"resolve", "orders/b/c", "retry", "--reason", "x"}, 2, "write ROUTE/TARGET"},
		{[]string{"resolve", "orders/b", "skip", "--reason", "x"}, 2, "write one of retry, dead-letter, sent, resend"},
		{[]string{"resolve", "orders/b", "retry"}, 2, "a reason is missing"},
		{[]string{"resolve", "orders/b", "retry", "--reason", " "}, 2, "add --reason TEXT"},
		{[]string{"resolve", "orders/b", "retry", "--reason", "x", "-o", "xml"}, 2, "write one of text, json"},
		{[]string{"resolve", "-c", "absent.yaml", "orders/b", "retry", "--reason", "x"}, 3, "absent.yaml"},
	} {
		posthouse(t, c.args...).want(t, c.code, c.says)
	}
	ln := listen(t)
	_ = ln.Close()
	posthouse(t, "resolve", "--admin", ln.Addr().String(), "orders/b", "retry", "--reason", "x").want(t, 3, "no daemon answers", "[E105]")
	old := daemon(t, well) // a daemon of before
	posthouse(t, "resolve", "--admin", old, "orders/b", "retry", "--reason", "x").want(t, 3, "no posthouse, or one older than this program", http.StatusText(404))
}
