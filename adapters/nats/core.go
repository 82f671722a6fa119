package nats

import (
	"errors"
	"fmt"
	"strings"

	natsgo "github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/adapters"
)

// A reply to an inbox goes to whoever listens there: no stream takes it, so nothing stores it, and its requester does not
// answer. What can be known is what the server says. It is asked twice, on one connection, so in this order: the reply has a
// reply subject of its own, to which the server sends "no responders" (status 503, ADR-4) when nobody listens; right behind it
// goes a marker to that same subject. If the marker comes first, somebody was listening and the server has handed the reply to
// that connection. This is what Accepted means here: it is less than durable. A requester whose connection breaks at that very
// moment loses the reply, as it would with a responder of its own.

// marker is the body of the message that follows a reply.
const marker = "posthouse: and who got it?"

// follow puts the marker on the wire.
func (t *target) follow(subject string) error {
	if err := t.c.nc.Publish(subject, []byte(marker)); err != nil {
		_, words := classify(err)
		t.spend(lost("send", t.c.at, words)) // the reply may be on its way
		return t.reason()
	}
	return nil
}

// readCore makes a fate of the first thing that comes back. Anything but the two answers of the server is from the requester,
// which has the reply then. A refusal of the reply is told beside the way of messages: while there is one that the ends have
// not heard of, nobody knows whether it was this.
func (t *target) readCore(m *natsgo.Msg, w way) error {
	switch {
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		return t.noPlace(fmt.Errorf("nobody listens on %s any more", w.subject))
	case string(m.Data) == marker && !t.c.tr.told():
		return &adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Transient,
			Err: errors.New("the server has refused something a moment ago, and it is not known yet what")}
	}
	return nil
}

// flies reports whether a subject is one that a message on its way has chosen itself, or a marker's.
func (t *target) flies(subject string) bool {
	if strings.HasPrefix(subject, t.inbox) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.slots {
		if t.slots[i].receipt != nil && t.slots[i].to.chosen && t.slots[i].to.subject == subject {
			return true
		}
	}
	return false
}

// notThere takes a permission violation that is about the subject of a single message, or about the markers.
func (t *target) notThere(err error) bool {
	subject := subjectOf(err)
	switch {
	case t.c.at.Dynamic || subject == t.c.at.Name || subject == "":
		return false
	case strings.HasPrefix(subject, t.inbox):
		t.spend(fail("send", t.c.at, err))
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := range t.slots {
		if s := &t.slots[n]; s.receipt != nil && s.to.chosen && s.to.subject == subject {
			t.finish(n, t.noPlace(fmt.Errorf("no permission to publish to %s", subject)))
		}
	}
	return true
}
