package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// A target whose address is dynamic sends each message to the topic that it names (Message.Dest), and any other does so with
// the replies whose requests have named a topic. The topic is asked for before the message is handed over: a produce request to
// one that is not there would spend the target, and with it what is in flight.

// absentFor is how long a topic that is not there is not asked for again.
const absentFor = time.Second

// absences are topics that were not there lately. The zero value is ready.
type absences struct {
	mu   sync.Mutex
	when map[string]time.Time
	why  map[string]error
}

// own is the topic of the target; none where every message names one.
func (t *sender) own() []string {
	if t.addr.Dynamic {
		return nil
	}
	return []string{t.addr.Name}
}

// named is the topic that m goes to.
func (t *sender) named(m *adapters.Message) string {
	if t.addr.Dynamic || m.Dest != "" {
		return m.Dest
	}
	return t.addr.Name
}

// topicOf is named, when the topic is there. The error is ErrGone with Kind Permanent if it is not.
func (t *sender) topicOf(m *adapters.Message) (string, error) {
	name := t.named(m)
	if !t.addr.Dynamic && m.Dest == "" {
		return name, nil
	}
	if !legalTopic(name) || t.addr.Dynamic && !strings.HasPrefix(name, t.addr.Name) || name == t.reserved {
		return "", t.noPlace(fmt.Errorf("%q cannot be the name of a topic for messages", name))
	}
	return name, t.there(name)
}

// there asks the cluster for a topic; what it has told is kept by the client.
func (t *sender) there(name string) error {
	if why := t.absent.lately(name); why != nil {
		return t.noPlace(why)
	}
	_, err := t.client.Partitions(name)
	code, _ := codeOf(err)
	switch {
	case err == nil:
		return nil
	case code == sarama.ErrUnknownTopicOrPartition, code == sarama.ErrInvalidTopic, code == sarama.ErrTopicAuthorizationFailed:
		err = fmt.Errorf("topic %s: %w", name, err)
		t.absent.note(name, err)
		return t.noPlace(err)
	}
	t.fail(withCause(fmt.Errorf("topic %s: %w", name, err), t.net))
	return asLost("send", t.addr, t.failure())
}

// place takes the partition that the requester of a reply has named (kafka_replyPartition of its request) from the headers of
// the reply. Only a message with a topic of its own has one: elsewhere the header is a request's, for its responder.
func (t *sender) place(w *wire, m *adapters.Message) error {
	if m.Dest == "" || t.addr.Dynamic {
		return nil
	}
	i := slices.IndexFunc(w.headers, func(h sarama.RecordHeader) bool { return string(h.Key) == headerSpringPartition })
	if i < 0 {
		return nil
	}
	value := w.headers[i].Value
	w.headers = slices.Delete(w.headers, i, i+1)
	if len(value) != 4 {
		return t.noPlace(fmt.Errorf("%s is no number of four bytes", headerSpringPartition))
	}
	w.chosen = choice{made: true, partition: int32(binary.BigEndian.Uint32(value))}
	all, err := t.client.Partitions(w.topic)
	if err != nil {
		t.fail(withCause(fmt.Errorf("topic %s: %w", w.topic, err), t.net))
		return asLost("send", t.addr, t.failure())
	}
	if n := w.chosen.partition; n < 0 || int(n) >= len(all) {
		return t.noPlace(fmt.Errorf("topic %s has no partition %d", w.topic, n))
	}
	return nil
}

func (t *sender) noPlace(err error) error {
	return &adapters.Error{Op: "send", Addr: t.addr, Kind: adapters.Permanent, Err: errors.Join(adapters.ErrGone, err)}
}

// lately is why a topic was not there a moment ago, nil if it was not asked for.
func (a *absences) lately(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.when[name]) < absentFor {
		return a.why[name]
	}
	return nil
}

func (a *absences) note(name string, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.when == nil || len(a.when) >= 1000 { // the names are bounded by their owner, but not for ever
		a.when, a.why = map[string]time.Time{}, map[string]error{}
	}
	a.when[name], a.why[name] = time.Now(), why
}
