package repeater_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// A crossing is a world with one bridge: requests a/SQ1 to b/TQ1, replies b/SQ2 to a/TQ2. Its applications know nothing of it.
type crossing struct {
	*world
	bridge *routes.Bridge
	disk   *spooltest.Disk
}

// bridged runs f in virtual time.
func bridged(t *testing.T, f func(c *crossing)) {
	bridgedOf(t, func(string) mem.Options { return mem.Options{} }, f)
}

func bridgedOf(t *testing.T, options func(name string) mem.Options, f func(c *crossing)) {
	synctest.Test(t, func(t *testing.T) {
		c := &crossing{world: newWorldOf(t, options, "a", "b"), disk: spooltest.NewDisk()}
		c.bridge = c.span("pricing", "a", "b")
		c.table.Spool = &routes.Spool{Dir: "spool", SegmentSize: 64 << 10}
		c.opts.SpoolFS = c.disk
		f(c)
	})
}

// span adds a bridge from one broker to another.
func (w *world) span(name, from, to string) *routes.Bridge {
	br := &routes.Bridge{
		Name: name, Request: name + ".request", Reply: name + ".reply", ReplyFrom: adapters.Addr{Name: "SQ2", Form: adapters.AddrQueue},
		Fixed: adapters.Addr{Name: "TQ2", Form: adapters.AddrQueue}, Makes: "mem", Mode: routes.ReplyRewrite, Late: routes.LateDeadLetter,
		Correlate: routes.CorrelateAuto, Timeout: 30 * time.Second, MaxOutstanding: 10000,
	}
	w.table.Bridges = append(w.table.Bridges, br)
	ask := w.route(br.Request, [2]string{from, "SQ1"}, [2]string{to, "TQ1"})
	answer := w.route(br.Reply, [2]string{to, "SQ2"}, [2]string{from, "TQ2"})
	ask.Asks, answer.Answers = br, br
	for _, r := range []*routes.Route{ask, answer} {
		r.Spool, r.MaxAttempts = routes.RouteSpool{Mode: routes.SpoolAuto, SlowAfter: 30 * time.Second}, 5
	}
	return br
}

// request is the n-th request; its ids repeat those of other requesters.
func request(n int, corr string) *adapters.Message {
	m := message(n)
	m.Corr, m.ReplyTo = adapters.StringID(corr), adapters.Addr{Name: "TQ2"}
	m.Report = 7
	return m
}

// asked takes the next request at the responders' broker.
func (c *crossing) asked() *adapters.Message {
	c.t.Helper()
	return c.take("b", "TQ1", 1)[0]
}

// replyTo is what a responder sends for a request. byCorr is its habit.
func replyTo(m *adapters.Message, byCorr bool) *adapters.Message {
	r := &adapters.Message{ID: adapters.StringID("reply"), Corr: m.ID, Props: m.Props[:1], Body: adapters.Body{Form: adapters.BodyText, Data: []byte("answer to " + string(m.Body.Data))}}
	if byCorr {
		r.Corr = m.Corr
	}
	return r
}

// answer replies to a request where it says.
func (c *crossing) answer(m *adapters.Message, byCorr bool) {
	c.brokers["b"].Put(m.ReplyTo.Name, replyTo(m, byCorr))
}

func (c *crossing) status() repeater.BridgeStatus { return c.rep.Status().Bridges[0] }

// outstanding waits until so many requests have no reply.
func (c *crossing) outstanding(n int) {
	c.t.Helper()
	c.until(fmt.Sprint(n, " outstanding"), func() bool { return c.status().Outstanding == n })
}

// dug reads the local dead letters of a route; the repeater has stopped.
func (c *crossing) dug(route string) (whys []bridge.Dead) {
	c.t.Helper()
	err := spool.Export(c.t.Context(), c.disk, route+"/dead-letter", func(rec spool.Item) error {
		var why bridge.Dead
		if err := json.Unmarshal(rec.ID, &why); err != nil {
			return err
		}
		whys = append(whys, why)
		return nil
	})
	if err != nil && !errors.Is(err, spool.ErrNoLane) {
		c.t.Fatal(err)
	}
	return whys
}

// again begins another life after an end of the given kind.
func (c *crossing) again(power bool) {
	c.t.Helper()
	if power {
		image := c.disk.Fail(0, nil)
		for _, b := range c.brokers {
			b.Link().Cut()
		}
		c.stop()
		<-c.done // of no interest: its disk is gone
		c.disk, c.opts.SpoolFS = image, image
	} else {
		c.halt()
	}
	c.opts.Metrics = prometheus.NewRegistry()
	c.start()
}

// Both habits work without configuration, with a correlation id and without; either can be pinned.
func TestBridge_Habits(t *testing.T) {
	for _, tc := range []struct {
		corr      string
		byCorr    bool
		correlate routes.Correlate
		want      string
	}{
		{"c1", true, routes.CorrelateAuto, "c1"},
		{"c1", false, routes.CorrelateAuto, "m0"},
		{"", true, routes.CorrelateAuto, "m0"},
		{"", false, routes.CorrelateAuto, "m0"},
		{"c1", false, routes.CorrelateCorrelation, "c1"},
		{"", false, routes.CorrelateCorrelation, "m0"},
		{"c1", true, routes.CorrelateMessage, "m0"},
	} {
		t.Run(fmt.Sprint(tc.correlate, " ", tc.corr, " ", tc.byCorr), func(t *testing.T) {
			bridged(t, func(c *crossing) {
				c.bridge.Correlate = tc.correlate
				c.start()
				begin := time.Now()
				c.brokers["a"].Put("SQ1", request(0, tc.corr))
				q := c.asked()
				if q.ReplyTo.Name != "SQ2" || q.Report != 0 || q.ID.Equal(q.Corr) || q.ID.IsZero() || q.Corr.IsZero() {
					t.Errorf("request goes out as %+v", q)
				}
				if left := time.UnixMilli(q.Expires).Sub(begin); left <= 0 || left > c.bridge.Timeout+time.Second {
					t.Errorf("it expires in %v", left)
				}
				c.answer(q, tc.byCorr)
				got := c.take("a", "TQ2", 1)[0]
				if got.Corr.S != tc.want || got.ID.S != "reply" || got.ReplyTo.Name != "" || string(got.Body.Data) != "answer to body 0" {
					t.Errorf("reply %+v, its correlation id must be %q", got, tc.want)
				}
				c.outstanding(0)
				if s := c.status(); s.Requests != 1 || s.Replies != 1 || s.Timeouts != 0 || s.P99 <= 0 && s.P99 != 0 {
					t.Errorf("%+v", s)
				}
				c.empty("b", "SQ2")
				c.halt()
				if d := c.dug("pricing.reply"); len(d) != 0 {
					t.Errorf("dead letters: %v", d)
				}
			})
		})
	}
}

// A repeater that dies between request and reply loses no reply, in whatever way it dies.
func TestBridge_DiesBetweenRequestAndReply(t *testing.T) {
	for name, power := range map[string]bool{"Stop": false, "Power": true} {
		t.Run(name, func(t *testing.T) {
			bridged(t, func(c *crossing) {
				c.bridge.Timeout = 5 * time.Minute
				c.start()
				c.up()
				for n := range 20 {
					c.brokers["a"].Put("SQ1", request(n, "same"))
				}
				qs := c.take("b", "TQ1", 20)
				c.empty("a", "SQ1")
				for _, q := range qs[:5] {
					c.answer(q, false)
				}
				first := c.take("a", "TQ2", 5)
				c.empty("b", "SQ2")
				c.again(power)
				c.outstanding(15)
				for i, q := range qs[5:] {
					c.answer(q, i%2 == 0)
				}
				for i, m := range append(first, c.take("a", "TQ2", 15)...) {
					want := fmt.Sprint("m", i)
					if i >= 5 && i%2 == 1 {
						want = "same"
					}
					if m.Corr.S != want || string(m.Body.Data) != fmt.Sprint("answer to body ", i) {
						t.Errorf("reply %d: %q for %q", i, m.Body.Data, m.Corr.S)
					}
				}
				c.outstanding(0)
				c.halt()
			})
		})
	}
}

// unwrite takes all records out of a lane of the journal, which must be n.
func (c *crossing) unwrite(lane string, n int) {
	c.t.Helper()
	s, _, err := spool.Open(c.t.Context(), spool.Options{FS: c.disk})
	if err != nil {
		c.t.Fatal(err)
	}
	l, err := s.Lane(lane)
	if err != nil {
		c.t.Fatal(err)
	}
	r := l.Reader(1)
	for {
		rec, ready, err := r.TryNext()
		if err != nil {
			c.t.Fatal(err)
		}
		if ready != nil {
			break
		}
		n--
		if err := l.Done(rec.Seq); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil || n != 0 {
		c.t.Fatal(n, "too few", err)
	}
}

// C21: of a request in the journal without its entry the entry is made again, and its reply finds its way.
func TestC21_RequestWithoutItsEntry(t *testing.T) {
	bridged(t, func(c *crossing) {
		c.bridge.Timeout = 5 * time.Minute
		c.brokers["b"].Link().Refuse()
		c.start()
		c.brokers["a"].Put("SQ1", request(0, "c0"), request(1, ""))
		c.empty("a", "SQ1")
		c.halt()
		c.opts.Metrics = prometheus.NewRegistry()
		c.unwrite("pricing.request/replies", 2)
		c.brokers["b"].Link().Allow()
		c.start()
		c.outstanding(2)
		for _, q := range c.take("b", "TQ1", 2) {
			c.answer(q, true)
		}
		got := c.take("a", "TQ2", 2)
		if got[0].Corr.S != "c0" || got[1].Corr.S != "m1" {
			t.Errorf("%v, %v", got[0].Corr, got[1].Corr)
		}
		c.outstanding(0)
		c.halt()
	})
}

// A reply after the timeout follows late_reply; one that nobody asked for, and a second one, are dead letters.
func TestBridge_LateTwiceUnknown(t *testing.T) {
	for late, arrive := range map[routes.LateReply]int{routes.LateDeadLetter: 0, routes.LateDeliver: 1, routes.LateDrop: 0} {
		t.Run(string(late), func(t *testing.T) {
			bridged(t, func(c *crossing) {
				c.bridge.Late = late
				c.start()
				c.brokers["a"].Put("SQ1", request(0, ""))
				q := c.asked()
				pass(c.bridge.Timeout + time.Second)
				c.outstanding(0)
				c.answer(q, false)
				if arrive > 0 {
					c.take("a", "TQ2", arrive)
				}
				c.empty("b", "SQ2")
				c.brokers["b"].Put("SQ2", message(7))                 // no correlation id
				c.brokers["b"].Put("SQ2", replyTo(message(8), false)) // of nothing
				c.brokers["a"].Put("SQ1", request(1, ""))
				q = c.asked()
				c.answer(q, false)
				c.answer(q, false) // says the same
				other := replyTo(q, false)
				other.Body.Data = []byte("something else")
				c.brokers["b"].Put("SQ2", other)
				c.take("a", "TQ2", 1)
				c.empty("b", "SQ2")
				s := c.status()
				c.halt()
				want := 3 // two that nobody asked for, and another answer
				if late == routes.LateDeadLetter {
					want++
				}
				dead := c.dug("pricing.reply")
				for _, d := range dead {
					if d.Reason != "late-reply" {
						t.Errorf("dead letter: %+v", d)
					}
				}
				if left, _ := c.brokers["a"].Len("TQ2"); len(dead) != want || s.Timeouts != 1 || s.LateReplies != 4 || s.Repeated != 1 || left != 0 {
					t.Errorf("%d dead letters, %+v, %d left", len(dead), s, left)
				}
			})
		})
	}
}

// replies: many delivers all that come within the timeout.
func TestBridge_Many(t *testing.T) {
	bridged(t, func(c *crossing) {
		c.bridge.Many = true
		c.start()
		c.brokers["a"].Put("SQ1", request(0, "c"))
		q := c.asked()
		for range 3 {
			c.answer(q, true)
		}
		for _, m := range c.take("a", "TQ2", 3) {
			if m.Corr.S != "c" {
				t.Errorf("%v", m.Corr)
			}
		}
		c.outstanding(1)
		pass(c.bridge.Timeout)
		c.outstanding(0)
		c.answer(q, true)
		c.empty("b", "SQ2")
		if s := c.status(); s.Timeouts != 0 || s.LateReplies != 1 {
			t.Errorf("%+v", s)
		}
		c.halt()
		if d := c.dug("pricing.reply"); len(d) != 1 {
			t.Errorf("%+v", d)
		}
	})
}

// A reply address that the bridge does not allow makes the request a dead letter: nothing is sent.
func TestBridge_HostileReplyTo(t *testing.T) {
	bridged(t, func(c *crossing) {
		c.start()
		for _, a := range []adapters.Addr{
			{Name: "PAYMENTS"}, {Name: "TQ2", Scope: "OTHER.QM"}, {Name: "TQ2", Form: adapters.AddrTopic}, {Name: "tmp-1", Form: adapters.AddrTempQueue}, {Name: "TQ2 "},
		} {
			m := request(0, "")
			m.ReplyTo = a
			c.brokers["a"].Put("SQ1", m)
		}
		m := request(5, strings.Repeat("x", 5000))
		c.brokers["a"].Put("SQ1", m)
		c.brokers["a"].Put("SQ1", request(9, ""))
		q := c.asked()
		if string(q.Body.Data) != "body 9" {
			t.Errorf("%q has got through", q.Body.Data)
		}
		c.empty("a", "SQ1")
		c.outstanding(1)
		c.halt()
		dead := c.dug("pricing.request")
		if len(dead) != 6 {
			t.Errorf("%d dead letters", len(dead))
		}
		for i, d := range dead {
			if want := map[bool]string{true: "invalid", false: "target-not-allowed"}[i == 5]; d.Reason != want {
				t.Errorf("%d: %+v, want %s", i, d, want)
			}
		}
	})
}

// A full table stops its source, and goes on by itself.
func TestBridge_FullTable(t *testing.T) {
	bridged(t, func(c *crossing) {
		c.bridge.MaxOutstanding = 10
		c.start()
		for n := range 25 {
			c.brokers["a"].Put("SQ1", request(n, ""))
		}
		qs := c.take("b", "TQ1", 10)
		pass(c.bridge.Timeout / 2)
		if waiting, _ := c.brokers["b"].Len("TQ1"); waiting != 0 || c.status().Outstanding != 10 {
			t.Errorf("%d more requests, %+v", waiting, c.status())
		}
		for _, q := range qs {
			c.answer(q, false)
		}
		c.take("a", "TQ2", 10)
		c.take("b", "TQ1", 10)
		pass(c.bridge.Timeout + time.Second) // nobody answers these
		c.take("b", "TQ1", 5)
		if s := c.status(); s.Timeouts != 10 || s.Outstanding != 5 {
			t.Errorf("%+v", s)
		}
		c.halt()
	})
}

// While the responders' broker is away requests wait in the spool, but not longer than their requesters do; replies wait
// for the requesters' broker.
func TestBridge_Outage(t *testing.T) {
	bridged(t, func(c *crossing) {
		for _, b := range c.table.Brokers {
			b.Reconnect.MaxDelay = time.Second
		}
		c.start()
		c.up()
		c.brokers["b"].Link().Refuse()
		c.brokers["b"].Link().Cut()
		c.brokers["a"].Put("SQ1", request(0, ""))
		c.empty("a", "SQ1")
		pass(c.bridge.Timeout - 5*time.Second)
		c.brokers["a"].Put("SQ1", request(1, ""))
		c.empty("a", "SQ1")
		pass(10 * time.Second)
		if s := c.status(); s.Timeouts != 1 || s.Outstanding != 1 {
			t.Errorf("%+v", s)
		}
		c.brokers["b"].Link().Allow()
		q := c.asked()
		if string(q.Body.Data) != "body 1" {
			t.Errorf("%q was sent after its time", q.Body.Data)
		}
		c.brokers["a"].Link().Refuse()
		c.brokers["a"].Link().Cut()
		c.answer(q, false)
		c.empty("b", "SQ2")
		pass(time.Minute)
		c.brokers["a"].Link().Allow()
		if m := c.take("a", "TQ2", 1)[0]; m.Corr.S != "m1" {
			t.Errorf("%v", m.Corr)
		}
		c.halt()
	})
}

// A request that is set aside is not outstanding.
func TestBridge_RefusedRequest(t *testing.T) {
	bridged(t, func(c *crossing) {
		c.brokers["b"].SetRules("TQ1", mem.Rules{Refuse: func(*adapters.Message) bool { return true }})
		c.table.Routes[0].MaxAttempts = 1
		c.start()
		c.brokers["a"].Put("SQ1", request(0, "c"))
		c.empty("a", "SQ1")
		c.outstanding(0)
		if s := c.status(); s.Timeouts != 0 || s.Requests != 1 {
			t.Errorf("%+v", s)
		}
		c.halt()
		if d := c.dug("pricing.request"); len(d) != 1 || d[0].Reason != "rejected" {
			t.Errorf("%+v", d)
		}
	})
}

// With reply_to: map nothing is kept: ids stay, and the reply goes to the one place.
func TestBridge_Map(t *testing.T) {
	bridged(t, func(c *crossing) {
		c.bridge.Mode = routes.ReplyMap
		c.start()
		c.brokers["a"].Put("SQ1", request(0, "c"))
		q := c.asked()
		if q.ID.S != "m0" || q.Corr.S != "c" || q.ReplyTo.Name != "SQ2" || q.Report != 0 {
			t.Errorf("%+v", q)
		}
		c.answer(q, true)
		if m := c.take("a", "TQ2", 1)[0]; m.Corr.S != "c" {
			t.Errorf("%+v", m)
		}
		c.empty("b", "SQ2")
		if len(c.rep.Status().Bridges) != 0 {
			t.Errorf("%+v", c.rep.Status().Bridges)
		}
		c.halt()
	})
}

// Requesters with temporary queues of their own and the same ids get each its own replies. One that is gone makes the reply
// a dead letter, and the lane goes on.
func TestBridge_TemporaryQueues(t *testing.T) {
	bridged(t, func(c *crossing) {
		c.bridge.Temporary = true
		c.start()
		for n := range 9 {
			m := request(0, "1")
			m.ReplyTo, m.Body.Data = adapters.Addr{Name: fmt.Sprint("tmp-", n%3)}, fmt.Append(nil, n)
			c.brokers["a"].Put("SQ1", m)
		}
		qs := c.take("b", "TQ1", 9)
		c.brokers["a"].SetRules("tmp-1", mem.Rules{Missing: true})
		for i := range qs {
			c.answer(qs[8-i], i%2 == 0)
		}
		for _, r := range []int{0, 2} {
			for _, m := range c.take("a", fmt.Sprint("tmp-", r), 3) {
				var n int
				if _, err := fmt.Sscanf(string(m.Body.Data), "answer to %d", &n); err != nil || n%3 != r || m.Corr.S != "1" && m.Corr.S != "m0" {
					t.Errorf("tmp-%d got %q for %v: %v", r, m.Body.Data, m.Corr, err)
				}
			}
		}
		c.empty("b", "SQ2")
		c.outstanding(0)
		c.halt()
		dead := c.dug("pricing.reply")
		for _, d := range dead {
			if d.Reason != "target-gone" {
				t.Errorf("%+v", d)
			}
		}
		if left, _ := c.brokers["a"].Len("TQ2"); len(dead) != 3 || left != 0 {
			t.Errorf("%d dead letters, %d in TQ2", len(dead), left)
		}
	})
}
