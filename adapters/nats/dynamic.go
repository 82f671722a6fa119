package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// A target whose address is dynamic publishes each message to the subject that it names, and any other does so with the
// replies whose requests have named one. Which stream takes a subject is
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

// A way is where a message goes.
type way struct {
	subject string
	most    int64 // largest message there, in bytes
	chosen  bool  // by the message, not by the file
	core    bool  // no stream takes the subject: whoever listens gets it (core.go)
}

// wayOf is where m goes. The error is ErrGone with Kind Permanent where no stream takes the subject, and none but a stream
// may; with another kind nobody can tell now.
func (t *target) wayOf(ctx context.Context, m *adapters.Message) (way, error) {
	if !t.c.at.Dynamic && m.Dest == "" {
		return way{subject: t.c.at.Name, most: t.most}, nil
	}
	w := way{subject: m.Dest, most: t.most, chosen: true}
	inbox, rest := !t.c.at.Dynamic && strings.HasPrefix(w.subject, natsgo.InboxPrefix), w.subject
	if inbox {
		rest = strings.TrimPrefix(rest, natsgo.InboxPrefix)
	}
	why := badSubject(rest, false)
	if inbox && why == "" && strings.HasPrefix(w.subject, t.c.tr.inbox) {
		why = "it is the inbox of this client"
	}
	if why != "" || t.c.at.Dynamic && !strings.HasPrefix(w.subject, t.c.at.Name) {
		return w, t.noPlace(fmt.Errorf("%q cannot be the subject of a message here: %s", w.subject, why))
	}
	if w.core = inbox; inbox {
		return w, nil
	}
	k := &t.known
	k.mu.Lock()
	most, ok := k.most[w.subject]
	late, mute := k.absent[w.subject], k.mute
	k.mu.Unlock()
	switch {
	case ok:
		w.most = most
		return w, nil
	case time.Since(late) < absentFor:
		return t.unclaimed(w)
	case mute:
		return t.unseen(w)
	}
	return t.ask(ctx, w)
}

// unclaimed is what a subject is that no stream takes: a target that computes its subjects has no use for it.
func (t *target) unclaimed(w way) (way, error) {
	if t.c.at.Dynamic {
		return w, t.noPlace(fmt.Errorf("no stream takes the subject %s", w.subject))
	}
	w.core = true
	return w, nil
}

// unseen is what a subject is of which this client may not ask whether a stream takes it. Where the file says that one does
// it is believed; what is only known from a request could get lost without anybody noticing.
func (t *target) unseen(w way) (way, error) {
	switch {
	case t.c.cfg.Once:
		return w, t.c.windowUnknown()
	case !t.c.at.Dynamic:
		return w, t.noPlace(fmt.Errorf("this user may not ask whether a stream takes the subject %s (let it publish to $JS.API.STREAM.NAMES and $JS.API.STREAM.INFO.*)", w.subject))
	}
	t.met(w)
	return w, nil
}

// ask looks which stream takes a subject.
func (t *target) ask(ctx context.Context, w way) (way, error) {
	subject := w.subject
	ctx, cancel := context.WithTimeoutCause(ctx, lookFor, fmt.Errorf("nobody has told which stream takes the subject %s", subject))
	defer cancel()
	defer context.AfterFunc(t.c.gone, cancel)()
	name, err := t.c.js.StreamNameBySubject(ctx, subject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		t.known.mu.Lock()
		if len(t.known.absent) >= 1000 {
			clear(t.known.absent)
		}
		t.known.absent[subject] = time.Now()
		t.known.mu.Unlock()
		return t.unclaimed(w)
	}
	var s jetstream.Stream
	if err == nil {
		s, err = t.c.js.Stream(ctx, name)
	}
	switch {
	case err != nil && t.isMute():
		return t.unseen(w)
	case err != nil:
		return w, &adapters.Error{Op: "send", Addr: t.c.at, Kind: adapters.Transient, Err: fmt.Errorf("which stream takes the subject %s: %w", subject, err)}
	}
	info := s.CachedInfo().Config
	if n := int64(info.MaxMsgSize); n > 0 {
		w.most = min(w.most, n)
	}
	t.met(w)
	return w, t.c.checkWindow(info.Name, info.Duplicates)
}

// met notes that a subject may be published to.
func (t *target) met(w way) {
	k := &t.known
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.most) >= 1000 { // the names are bounded by their owner, but not for ever
		clear(k.most)
	}
	k.most[w.subject] = w.most
	all := make([]string, 0, len(k.most)+1)
	if !t.c.at.Dynamic {
		all = append(all, t.c.at.Name)
	}
	for s := range k.most {
		all = append(all, s)
	}
	t.c.publishes(all...)
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
	if !strings.Contains(err.Error(), "$JS.API.") {
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
