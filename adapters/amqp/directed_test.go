package amqp

import (
	"fmt"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// More destinations than a target keeps senders for get each their messages, and those that are not used are put away.
func TestManyDestinations(t *testing.T) {
	h := artemisHarness(t)
	p := h.Place(t)
	c := h.Config(t, nil)
	g, err := New().OpenTarget(deadline(t), c, p.Target)
	if err != nil {
		t.Fatal(err)
	}
	const n = maxSenders + 40
	for round := range 2 {
		var ms []*adapters.Message
		for i := range n {
			m := &adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: fmt.Append(nil, round)}}
			if m.Dest = fmt.Sprint(p.Target.Name, ".", i); i == 0 {
				m.Dest = ""
			}
			ms = append(ms, m)
		}
		if sent, err := g.Send(deadline(t), ms); err != nil || sent != n {
			t.Fatal(sent, err)
		}
	}
	if kept := len(g.(*target).many.by); kept > maxSenders {
		t.Errorf("%d senders are kept", kept)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	for _, i := range []int{1, 100, n - 1} {
		q := p
		q.Source.Name = fmt.Sprint(p.Source.Name, ".", i)
		for round, got := range h.Take(t, q, 2) {
			if string(got.Body) != fmt.Sprint(round) {
				t.Errorf("destination %d: %q", i, got.Body)
			}
		}
	}
	for i := range n {
		_ = h.manage(t, "destroyQueue", fmt.Sprintf("[%q, true, true]", fmt.Sprint(p.Target.Name, ".", i)))
	}
}
