package nats

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// onAnswer runs on the goroutine of the connection's subscription.
func (t *target) onAnswer(m *natsgo.Msg) {
	left, right, _ := strings.Cut(m.Subject[len(t.inbox):], ".")
	n, err1 := strconv.Atoi(left)
	use, err2 := strconv.ParseUint(right, 10, 32)
	if err1 != nil || err2 != nil {
		return
	}
	t.answered.Store(time.Now().UnixNano())
	t.mu.Lock()
	defer t.mu.Unlock()
	if n < 0 || n >= len(t.slots) || t.slots[n].receipt == nil || t.slots[n].use != uint32(use) {
		return
	}
	t.finish(n, t.read(m, t.slots[n].to))
	t.settleDenied()
}

// read makes a fate of the answer to a message that went to w: nil is stored, or stored before, by a stream (ADR-8, ADR-22).
func (t *target) read(m *natsgo.Msg, w way) error {
	switch {
	case w.core:
		return t.readCore(m, w)
	case len(m.Data) == 0 && w.chosen:
		t.unmet() // before it is sent again somebody looks whether the stream is still there
		return &adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Transient, Err: natsgo.ErrNoResponders}
	case len(m.Data) == 0:
		return fail("send", t.c.at, natsgo.ErrNoResponders)
	case !stored(m.Data):
		return t.readSlowly(m.Data)
	case storedBefore(m.Data):
		t.duplicates.Add(1)
	}
	return nil
}

// stored reports whether an answer is plainly that of a stream that has the message.
func stored(answer []byte) bool {
	return bytes.HasPrefix(answer, []byte(`{"stream":`)) && !bytes.Contains(answer, []byte(`"error":`))
}

func storedBefore(answer []byte) bool {
	return bytes.Contains(answer, []byte(`"duplicate":true`)) || bytes.Contains(answer, []byte(`"duplicate": true`))
}

func (t *target) readSlowly(data []byte) error {
	var a struct {
		Error     *jetstream.APIError `json:"error"`
		Stream    string              `json:"stream"`
		Duplicate bool                `json:"duplicate"`
	}
	switch err := json.Unmarshal(data, &a); {
	case err == nil && a.Error != nil:
		return fail("send", t.c.at, a.Error)
	case err == nil && a.Stream != "":
		if a.Duplicate {
			t.duplicates.Add(1)
		}
		return nil
	}
	return &adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Transient,
		Err: errors.New("an answer that is none of a stream: somebody else answers on this subject")}
}
