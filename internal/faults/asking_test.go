package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Headers of requests and replies where a protocol has no fields for them (bridge/own.go).
const (
	headerMessageID = "posthouse-message-id"
	headerCorrID    = "posthouse-correlation-id"
	headerReplyTo   = "posthouse-reply-to"
	headerHabit     = "responder-habit" // of the responder: which id it has copied
)

// requesters is how many there are. They number their requests alike.
const requesters = 3

// An asking is a bridge of a round: requesters on one NATS server, a responder on another one, and what is known of both. What
// a requester gets is the history of a lane: the body and the oracle's headers of its request come back with the reply.
type asking struct {
	stormLane
	there       *natsEnd
	began       int // kills before the round
	responder   *responder
	still       bool // at the last look nothing was on its way
	outstanding int
	outOf       func(context.Context) (open, again int, err error) // requests at their source
	backOf      func(context.Context) (open, again int, err error) // replies at theirs
}

// askIn makes the bridge of a round; nil on a ground without one.
func (s *storm) askIn() *asking {
	s.t.Helper()
	if s.g.bridge.to == nil {
		return nil
	}
	p := s.g.bridge
	here, there := p.from.end.(*natsEnd), p.to.end.(*natsEnd)
	name := fmt.Sprintf("ask-%x-%d", s.seed&0xffff, s.n)
	a := &asking{stormLane: stormLane{plan: p, name: name, gone: map[string]bool{}}, there: there, began: s.kills}
	a.o = oracle{seed: s.seed + uint64(s.n*16+15), small: true}
	here.create(s.t, name)
	here.create(s.t, name+"-answers")
	for _, at := range []string{"-asked", "-replies", "-dead"} {
		there.create(s.t, name+at)
	}
	a.outOf, a.backOf = here.consumedBy(s.t, name), there.consumedBy(s.t, name+"-replies")
	return a
}

// yaml is the bridge.
func (a *asking) yaml() string {
	if a == nil {
		return ""
	}
	in, out := a.from.name+"-in", a.to.name+"-out"
	return fmt.Sprintf(`bridges:
  - name: %[1]s
    request: { from: { broker: %[2]s, stream: %[1]s }, to: { broker: %[3]s, subject: %[1]s-asked } }
    reply: { from: { broker: %[3]s, stream: %[1]s-replies, subject: %[1]s-replies }, to: { broker: %[2]s, subject: %[1]s-answers } }
    dead_letter: { broker: %[3]s, subject: %[1]s-dead }
    timeout: 30m
    late_reply: deliver
    expired: deliver
    %[4]s
`, a.name, in, out, a.kind.keys)
}

// begin lets requesters and the responder do their work.
func (a *asking) begin(s *storm) {
	s.t.Helper()
	if a == nil {
		return
	}
	a.responder = respond(s.t, a.there, a.name+"-asked", a.name+"-replies")
	a.load = startLoad(s.t, a.o, a.name, requester{a.from.end.sender(s.t, a.name), a.name})
	a.load.speed(s.g.rate / 3)
}

// A requester gives requests their ids and, now and then, a reply address.
type requester struct {
	to   sender
	name string
}

func (r requester) send(ctx context.Context, m message, done func(outcome)) {
	n := numberOf(m)
	m.headers[headerMessageID], m.headers[headerCorrID] = idsOf(n)
	if n%2 == 0 {
		m.headers[headerReplyTo] = "topic:" + r.name + "-answers"
	}
	r.to.send(ctx, m, done)
}

// numberOf is the number that stands in the oracle's id of a message; -1 if none does.
func numberOf(m message) int {
	n := -1
	_, _ = fmt.Sscanf(m.headers[headerID][strings.LastIndexByte(m.headers[headerID], '/')+1:], "%d", &n) // -1 says it
	return n
}

// idsOf are the message id and the correlation id of request n.
func idsOf(n int) (msg, corr string) {
	return fmt.Sprintf("requester-%d-%d", n%requesters, n/requesters), fmt.Sprintf("c%d/%d", n%requesters, n/requesters)
}

// A responder answers each request in its stream once, in order, in both habits.
type responder struct {
	mu       sync.Mutex
	answered uint64
}

// respond answers until the test ends.
func respond(t *testing.T, at *natsEnd, from, to string) *responder {
	t.Helper()
	js := at.client(t)
	s, err := js.Stream(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	r := &responder{}
	var done sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); done.Wait() })
	done.Go(func() {
		for seq := uint64(1); ctx.Err() == nil; {
			if err := r.answer(ctx, js, s, to, seq); err == nil {
				seq++
				continue
			}
			select { // there is no such request yet, or the server is away
			case <-ctx.Done():
			case <-time.After(beat):
			}
		}
	})
	return r
}

// answer answers the request in a place of its stream. Done again it has no effect: the server knows the reply by its id.
func (r *responder) answer(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, to string, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	q, err := s.GetMsg(ctx, seq)
	if err != nil {
		return err
	}
	reply := nats.NewMsg(to)
	reply.Data = q.Data
	for name := range q.Header {
		if strings.HasPrefix(name, headerPrefix) {
			reply.Header.Set(name, q.Header.Get(name))
		}
	}
	habit := []string{headerMessageID, headerCorrID}[seq%2]
	reply.Header.Set(headerHabit, habit)
	reply.Header.Set(headerCorrID, q.Header.Get(habit))
	if _, err := js.PublishMsg(ctx, reply, jetstream.WithMsgID(fmt.Sprint(to, seq))); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = seq
	return nil
}

func (r *responder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.answered)
}

// quiet reports whether every request has been answered, every answer taken, and nothing was on its way afterwards. It is no
// matter of outstanding requests: of one that was answered a killed daemon may have left the entry (docs/limits.md).
func (a *asking) quiet(ctx context.Context, t *testing.T, st status) bool {
	if a == nil {
		return true
	}
	before := a.still
	out, _, err1 := a.outOf(ctx)
	back, _, err2 := a.backOf(ctx)
	a.still = errors.Join(err1, err2) == nil && out+back+st.open() == 0 && a.responder.count() == a.there.count(ctx, t, a.name+"-asked")
	a.outstanding = st.outstanding()
	return before && a.still
}

// outstanding is how many requests have no reply.
func (s status) outstanding() (n int) {
	for _, b := range s.Bridges {
		n += b.Outstanding
	}
	return n
}

// damage counts what the daemon has reported as lost: a request, what was known of it, or its reply.
func (a *asking) damage(log *daemonLog, st status) {
	if a == nil {
		return
	}
	lost := -a.damaged
	for _, half := range []string{".request", ".reply"} {
		lost += log.hit(msgDamaged + a.name + half)
	}
	a.damaged += lost
	for _, text := range st.Spool.Recovery.Missing {
		for _, half := range []string{".request", ".reply"} {
			lost += a.missing(a.name+half, text)
		}
	}
	a.h.reported += lost
}

// askingVerdict checks what came back: every request has its answer, it is with its requester, and under the right id.
func (s *storm) askingVerdict(a *asking) {
	s.t.Helper()
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	here := a.from.end.(*natsEnd)
	got, err := here.all(ctx, s.t, a.name+"-answers")
	if err != nil {
		s.t.Fatal(err)
	}
	h := a.h
	h.lane, h.sends, h.window, h.unsettled = a.name, a.load.outcomes(), s.g.window, 2*s.g.window // both ways
	h.absorbs, h.regives, h.kills = true, true, s.kills-a.began
	for _, m := range got {
		arrived := a.o.read(a.name, m)
		if arrived.wrong == "" {
			arrived.wrong, arrived.detail = wrongAnswer(arrived.number, m)
		}
		h.arrivals = append(h.arrivals, arrived)
	}
	dead, err := a.there.all(ctx, s.t, a.name+"-dead")
	if err != nil {
		s.t.Fatal(err)
	}
	ids, _ := distinct(h.arrivals)
	h.figures = append(h.figures,
		figure{void, "requests without an answer of their source", len(h.sends) - a.load.count(taken), 0, 0},
		figure{duplicate, "dead letters of the bridge", len(dead), 0, h.unsettled*h.kills + h.reported},
		atMost("requests that wait for an answer", a.outstanding, h.unsettled*h.kills+h.reported),
		nothing("requests at their source", here.left(s.t, a.name)), nothing("replies at theirs", a.there.left(s.t, a.name+"-replies")))
	s.examine(&a.stormLane, &h)
	s.t.Logf("bridge %s: %d requests, %d answers, %d dead letters, %d without an answer at the end, %d reported as lost", a.name, len(h.sends), ids,
		len(dead), a.outstanding, h.reported)
}

// wrongAnswer says what is wrong with the id of the answer to request n: a requester knows its own by it.
func wrongAnswer(n int, m message) (finding, detail string) {
	msg, corr := idsOf(n)
	want := map[string]string{headerMessageID: msg, headerCorrID: corr}[m.headers[headerHabit]]
	if got := m.headers[headerCorrID]; want == "" || got != want {
		return misrouted, fmt.Sprintf("the answer to request %d has the correlation id %q, want %q (%s)", n, got, want, m.headers[headerHabit])
	}
	return "", ""
}
