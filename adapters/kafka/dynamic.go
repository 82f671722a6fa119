package kafka

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// A target whose address is dynamic sends each message to the topic that it names. The topic is asked for before the message
// is handed over: a produce request to one that is not there would spend the target, and with it what is in flight.

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
	if t.addr.Dynamic {
		return m.Dest
	}
	return t.addr.Name
}

// topicOf is named, when the topic is there. The error is ErrGone with Kind Permanent if it is not.
func (t *sender) topicOf(m *adapters.Message) (string, error) {
	name := t.named(m)
	if !t.addr.Dynamic {
		return name, nil
	}
	if !legalTopic(name) || !strings.HasPrefix(name, t.addr.Name) || name == t.reserved {
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
