package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// A target whose address is dynamic publishes each message to the subject that it names. Which stream takes a subject is
// asked before the first message goes to it: afterwards nobody could tell a subject that no stream takes from a stream
// that is away for a moment.

// lookFor is how long one question about a subject may take, and how long a subject without a stream is not asked for again.
const (
	lookFor   = 5 * time.Second
	absentFor = time.Second
)

// A subjects is what a dynamic target knows of the subjects that it has met.
type subjects struct {
	mu     sync.Mutex
	most   map[string]int64     // largest message in bytes, of those that a stream takes
	absent map[string]time.Time // when it was seen that no stream does
	mute   bool                 // this client may not ask
}

// subjectOf is where m goes, and the largest message there. The error is ErrGone with Kind Permanent where no stream
// takes the subject; with another kind nobody can tell now.
func (t *target) subjectOf(ctx context.Context, m *adapters.Message) (subject string, most int64, err error) {
	if !t.c.at.Dynamic {
		return t.c.at.Name, t.most, nil
	}
	subject = m.Dest
	if why := badSubject(subject, false); why != "" || !strings.HasPrefix(subject, t.c.at.Name) {
		return "", 0, t.noPlace(fmt.Errorf("%q cannot be the subject of a message here: %s", subject, why))
	}
	k := &t.known
	k.mu.Lock()
	most, ok := k.most[subject]
	late, mute := k.absent[subject], k.mute
	k.mu.Unlock()
	switch {
	case ok:
		return subject, most, nil
	case time.Since(late) < absentFor:
		return "", 0, t.noPlace(fmt.Errorf("no stream takes the subject %s", subject))
	case mute:
		return subject, t.met(subject, t.most), nil
	}
	return t.ask(ctx, subject)
}

// ask looks which stream takes a subject.
func (t *target) ask(ctx context.Context, subject string) (string, int64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lookFor, fmt.Errorf("nobody has told which stream takes the subject %s", subject))
	defer cancel()
	defer context.AfterFunc(t.c.gone, cancel)()
	name, err := t.c.js.StreamNameBySubject(ctx, subject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		t.known.mu.Lock()
		t.known.absent[subject] = time.Now()
		t.known.mu.Unlock()
		return "", 0, t.noPlace(fmt.Errorf("no stream takes the subject %s", subject))
	}
	var s jetstream.Stream
	if err == nil {
		s, err = t.c.js.Stream(ctx, name)
	}
	switch {
	case err != nil && t.isMute():
		if t.c.cfg.Once {
			return "", 0, t.c.windowUnknown()
		}
		return subject, t.met(subject, t.most), nil
	case err != nil:
		return "", 0, &adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Transient, Err: fmt.Errorf("which stream takes the subject %s: %w", subject, err)}
	}
	info := s.CachedInfo().Config
	most := t.most
	if n := int64(info.MaxMsgSize); n > 0 {
		most = min(most, n)
	}
	return subject, t.met(subject, most), t.c.checkWindow(info.Name, info.Duplicates)
}

// met notes that a subject may be published to.
func (t *target) met(subject string, most int64) int64 {
	k := &t.known
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.most) >= 1000 { // the names are bounded by their owner, but not for ever
		clear(k.most)
	}
	k.most[subject] = most
	all := make([]string, 0, len(k.most))
	for s := range k.most {
		all = append(all, s)
	}
	t.c.publishes(all...)
	return most
}

// unmet forgets all subjects: a stream has gone.
func (t *target) unmet() {
	t.known.mu.Lock()
	defer t.known.mu.Unlock()
	clear(t.known.most)
	clear(t.known.absent)
}

// silenced notes that this client may not ask for streams, if that is what the server has refused.
func (t *target) silenced(err error) bool {
	if !t.c.at.Dynamic || !strings.Contains(err.Error(), "$JS.API.") {
		return false
	}
	t.known.mu.Lock()
	defer t.known.mu.Unlock()
	t.known.mute = true
	return true
}

func (t *target) isMute() bool {
	t.known.mu.Lock()
	defer t.known.mu.Unlock()
	return t.known.mute
}

func (t *target) noPlace(err error) error {
	return &adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Permanent, Err: errors.Join(adapters.ErrGone, err)}
}
