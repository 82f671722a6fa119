package kafka

import (
	"fmt"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

func mustTarget(t testing.TB, c adapters.Config, a adapters.Address) *target {
	t.Helper()
	s, err := New().OpenTarget(limited(t), c, a)
	if err != nil {
		t.Fatalf("open target: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*target)
}

func texts(from, to int) []*adapters.Message {
	ms := make([]*adapters.Message, 0, to-from)
	for i := from; i < to; i++ {
		ms = append(ms, &adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: fmt.Appendf(nil, "m%04d", i)}})
	}
	return ms
}

func TestSendArrivesInOrder(t *testing.T) {
	brokers(t, func(t *testing.T, h *harness) {
		p := h.Place(t)
		tg := mustTarget(t, h.Config(t, nil), p.Target)
		for i := 0; i < 300; i += 100 {
			if n, err := tg.Send(limited(t), texts(i, i+100)); n != 100 || err != nil {
				t.Fatalf("send: %d, %v", n, err)
			}
		}
		for i, m := range h.Take(t, p, 300) {
			if want := fmt.Sprintf("m%04d", i); string(m.Body) != want {
				t.Fatalf("message %d: got %s, want %s", i, m.Body, want)
			}
		}
	})
}
