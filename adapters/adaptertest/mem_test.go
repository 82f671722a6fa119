package adaptertest_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/adapters/mem"
)

// memHarness joins the suite to a broker in memory.
type memHarness struct {
	broker  *mem.Broker
	adapter adapters.Adapter
	places  *atomic.Int32
}

func newMem() memHarness { return newMemWith(mem.Options{Window: true, Password: "right"}) }

// newTxMem has transactions in place of the window.
func newTxMem() memHarness { return newMemWith(mem.Options{Tx: true, Password: "right"}) }

func newMemWith(o mem.Options) memHarness {
	b := mem.NewBroker("b", o)
	return memHarness{b, mem.New(b), new(atomic.Int32)}
}

func (h memHarness) Adapter() adapters.Adapter { return h.adapter }

func (h memHarness) Config(_ testing.TB, dial adaptertest.DialFunc) adapters.Config {
	c := adapters.Config{Name: "b", Dial: dial}
	c.Credentials = adapters.Credentials{User: "u", Password: adapters.NewSecret("right")}
	return c
}

func (h memHarness) Place(testing.TB) adaptertest.Place {
	a := adapters.Address{Broker: "b", Form: adapters.Queue, Name: "q" + strconv.Itoa(int(h.places.Add(1)))}
	return adaptertest.Place{Source: a, Target: a}
}

func (h memHarness) Put(_ testing.TB, p adaptertest.Place, ms ...adaptertest.Native) {
	for _, n := range ms {
		m := &adapters.Message{ID: adapters.StringID(n.ID), Corr: adapters.StringID(n.Corr), Key: n.Key}
		m.ReplyTo.Name = n.ReplyTo
		m.Body = adapters.Body{Form: adapters.BodyBytes, Data: n.Body}
		m.Durable = adapters.No
		if n.Durable {
			m.Durable = adapters.Yes
		}
		if n.Priority != nil {
			m.Priority = adapters.Priority{Set: true, Value: *n.Priority}
		}
		if n.TTL > 0 {
			m.Expires = time.Now().UnixMilli() + n.TTL
		}
		for _, h := range n.Headers {
			m.Props = append(m.Props, adapters.Prop{Name: h.Name, V: adapters.String(h.Value)})
		}
		h.broker.Put(p.Source.Name, m)
	}
}

func (h memHarness) Take(t testing.TB, p adaptertest.Place, n int) (out []adaptertest.Native) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ms, err := h.broker.Take(ctx, p.Target.Name, n)
	if err != nil {
		t.Fatalf("only %d of %d messages came", len(ms), n)
	}
	return natives(ms)
}

func (h memHarness) Aside(_ testing.TB, p adaptertest.Place, n int) []adaptertest.Native {
	all := h.broker.Aside(p.Source.Name)
	return natives(all[:min(n, len(all))])
}

func natives(ms []*adapters.Message) (out []adaptertest.Native) {
	for _, m := range ms {
		n := adaptertest.Native{Body: m.Body.Data, ID: m.ID.S, Corr: m.Corr.S, ReplyTo: m.ReplyTo.Name, Key: m.Key,
			Durable: m.Durable == adapters.Yes}
		if m.Priority.Set {
			n.Priority = &m.Priority.Value
		}
		if m.Expires > 0 {
			n.TTL = m.Expires - time.Now().UnixMilli()
		}
		for _, p := range m.Props {
			n.Headers = append(n.Headers, adaptertest.Header{Name: p.Name, Value: p.V.Text()})
		}
		out = append(out, n)
	}
	return out
}

func (h memHarness) KillAndRestart(testing.TB) {
	h.broker.Kill()
	h.broker.Start()
}

func (h memHarness) FullPlace(t testing.TB) (adaptertest.Place, func()) {
	p := h.Place(t)
	h.broker.SetRules(p.Target.Name, mem.Rules{Room: 10})
	return p, func() { h.broker.SetRules(p.Target.Name, mem.Rules{}) }
}

func (h memHarness) DeniedPlace(t testing.TB) adaptertest.Place {
	p := h.Place(t)
	h.broker.SetRules(p.Target.Name, mem.Rules{Denied: true})
	return p
}

func (h memHarness) MissingPlace(t testing.TB) adaptertest.Place {
	p := h.Place(t)
	h.broker.SetRules(p.Target.Name, mem.Rules{Missing: true})
	return p
}

func (h memHarness) GoldenFile() string { return "testdata/mem.golden" }

func (h memHarness) Wire(testing.TB) adaptertest.Wire { return memWire{h.broker.NewLink()} }

// memWire gives a mem.Link the words of the suite. A link without bytes has nothing to dribble.
type memWire struct{ *mem.Link }

func (w memWire) Set(m adaptertest.Mode) {
	w.Allow()
	switch m {
	case adaptertest.Stall:
		w.Stall()
	case adaptertest.Refuse:
		w.Refuse()
	case adaptertest.HoldReplies:
		w.HoldReplies()
		time.AfterFunc(2*time.Second, w.Cut)
	}
}

// TestMemKeepsTheContract runs the suite in real time; the one-sin adapters run it in virtual time.
func TestMemKeepsTheContract(t *testing.T) {
	t.Run("window", func(t *testing.T) { adaptertest.Run(t, newMem()) })
	t.Run("transactions", func(t *testing.T) { adaptertest.Run(t, newTxMem()) })
}
