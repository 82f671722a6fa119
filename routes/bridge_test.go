package routes

import (
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// TestDestination: a reply goes where its request asks for, if the file allows it, and nowhere else.
func TestDestination(t *testing.T) {
	const uuid = "3ba76f5d-18d6-440c-a859-31dbbbc8f74b"
	fixed := adapters.Addr{Name: "TQ2", Form: adapters.AddrQueue}
	b := Bridge{Fixed: fixed, Makes: "amqp/artemis", Temporary: true, Allow: []string{"ONE", "R.*", "REPLIES@QM2"}}
	for _, c := range []struct {
		a  adapters.Addr
		ok bool
	}{
		{adapters.Addr{}, true},
		{adapters.Addr{Name: "TQ2"}, true},
		{adapters.Addr{Name: "/queues/TQ2"}, true},
		{adapters.Addr{Name: "TQ2", Form: adapters.AddrTopic}, false},
		{adapters.Addr{Name: "TQ2", Scope: "QM2"}, false},
		{adapters.Addr{Name: "ONE", Scope: "QM2"}, false},
		{adapters.Addr{Name: "R.x", Scope: "QM2"}, false},
		{adapters.Addr{Name: "REPLIES", Scope: "QM2"}, true},
		{adapters.Addr{Name: "REPLIES", Scope: "QM3"}, false},
		{adapters.Addr{Name: "REPLIES"}, false},
		{adapters.Addr{Name: "ONE"}, true},
		{adapters.Addr{Name: "ONE.x"}, false},
		{adapters.Addr{Name: "R.x-1", Form: adapters.AddrQueue}, true},
		{adapters.Addr{Name: "R"}, false},
		{adapters.Addr{Name: "XR.x"}, false},
		{adapters.Addr{Name: "R.x::PAYMENTS"}, false},
		{adapters.Addr{Name: "R.#"}, false},
		{adapters.Addr{Name: "R.x?a=b"}, false},
		{adapters.Addr{Name: "R.x", Form: adapters.AddrTempQueue}, false},
		{adapters.Addr{Name: uuid}, true},
		{adapters.Addr{Name: uuid, Form: adapters.AddrTempQueue}, true},
		{adapters.Addr{Name: uuid + "::PAYMENTS"}, false},
		{adapters.Addr{Name: "PAYMENTS", Form: adapters.AddrTempQueue}, false},
		{adapters.Addr{Name: "_INBOX.x"}, false},
	} {
		got, err := b.Destination(c.a)
		if (err == nil) != c.ok || c.a.Name == "" && got != fixed {
			t.Errorf("%+v: %+v, %v", c.a, got, err)
		}
	}
	b.Makes, b.Fixed = "nats", adapters.Addr{}
	if _, err := b.Destination(adapters.Addr{Name: "_INBOX.x.y"}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", "_INBOX.>", "_INBOX.a b", uuid} {
		if to, err := b.Destination(adapters.Addr{Name: name}); err == nil {
			t.Errorf("%q: %v", name, to)
		}
	}
}
