package ibmmq

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// waitSlice is how long one MQGET waits: it cannot be cancelled, so a stop takes that long.
const waitSlice = time.Second

// A source gets messages in one unit of work at a time. What Receive has returned is that unit, until all of it is settled.
type source struct {
	*link
	queue    object
	name     string // of the queue; for an alias that of its base
	backout  backout
	limits   adapters.Limits
	settled  chan struct{} // holds a token when nothing is open
	position *batches      // the state queue; nil without

	mu   sync.Mutex
	open map[*tag]struct{}
	unit bool // what is open is in the unit of work; else it is back at the queue, and waits there for its settle
}

var (
	_ adapters.Source    = (*source)(nil)
	_ adapters.Prober    = (*source)(nil)
	_ adapters.Described = (*source)(nil)
)

// A tag is the Delivery.Tag: a message as it was got.
type tag struct {
	src  *source
	wire Wire
	id   string // Delivery.SourceID
}

// openSource opens the queue at a and reads what it says about messages that are given out again and again.
func openSource(ctx context.Context, k connector, c adapters.Config, a adapters.Address) (*source, error) {
	l, err := dial(ctx, k, c, a)
	if err != nil {
		return nil, err
	}
	s, err := run(ctx, l, c.Limits.Confirm, func() (*source, error) { return attachSource(l) })
	if err != nil {
		l.drop(err)
		return nil, attachError(a, err)
	}
	return s, nil
}

func attachSource(l *link) (*source, error) {
	s := &source{link: l, limits: l.cfg.Limits, settled: make(chan struct{}, 1), open: make(map[*tag]struct{})}
	s.settled <- struct{}{}
	options := int32(mqooInputShared | mqooInquire | mqooNoReadAhead | mqooSaveAllContext)
	if l.at.Options.Bool(keyExclusive, false) {
		options += mqooInputExclusive - mqooInputShared
	}
	var err error
	if s.queue, err = l.conn.open(objectName{queue: l.at.Name}, options); err != nil {
		return nil, err
	}
	if s.backout, s.name, err = askQueue(l, s.queue); err != nil {
		return nil, err
	}
	if q := l.at.Options.String(keyState, ""); q != "" {
		if s.position, err = openBatches(l, q); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Receive gets the next unit of work, once the last one is settled: all that is there, up to max and the limits.
func (s *source) Receive(ctx context.Context, max int) ([]adapters.Delivery, error) {
	if err := s.free(ctx); err != nil {
		return nil, op("receive", err)
	}
	for {
		tags, err := s.get(ctx, max)
		if len(tags) > 0 {
			return s.hand(tags), nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			s.settled <- struct{}{}
			return nil, op("receive", err)
		}
	}
}

// free waits until nothing is open, and asks in every heartbeat whether the queue manager is still there: nobody else does.
func (s *source) free(ctx context.Context) error {
	beat := time.NewTicker(s.cfg.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-s.settled:
			return nil
		case <-s.gone:
			return s.cause()
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
		}
		if err := s.Probe(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// get is one slice of waiting, and what comes in it. An error comes alone.
func (s *source) get(ctx context.Context, most int) ([]*tag, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	most = min(most, s.limits.Prefetch, s.facts.unit())
	return run(context.WithoutCancel(ctx), s.link, waitSlice+3*s.cfg.Heartbeat, func() ([]*tag, error) { return s.gather(most) })
}

// gather gets up to most messages. What has come before an error is returned without it: the next get meets it again.
func (s *source) gather(most int) ([]*tag, error) {
	var tags []*tag
	var bytes int64
	wait, aside := waitSlice, 0
	for len(tags)+aside < most && bytes < s.limits.PrefetchBytes {
		w, err := s.queue.get(getOptions{wait: wait, max: int(s.largest())})
		if err != nil && (len(tags)+aside == 0 || kindOf(err) == adapters.Lost || codeOf(err) == mqrcBackedOut) {
			return nil, s.refused(err)
		}
		if err != nil {
			break
		}
		wait = 0
		if s.backout.reached(&w) {
			if err := s.setAside(&w); err != nil {
				return nil, err
			}
			aside++
			continue
		}
		tags = append(tags, &tag{s, w, s.identify(&w)})
		bytes += int64(len(w.Body))
	}
	if len(tags) == 0 {
		return nil, s.conn.commit() // of what was set aside; else it goes with the messages
	}
	return tags, nil
}

// refused says what the error of a get means: nil if nothing is there. A message that is too large stays at the queue, in front of the others.
func (s *source) refused(err error) error {
	var e *mqError
	if errors.As(err, &e) && e.rc == mqrcNoMessage {
		return nil
	}
	if e != nil && e.rc == mqrcTruncated {
		return &adapters.Error{Op: "receive", Addr: s.at, Kind: adapters.Denied,
			Err: fmt.Errorf("a message of %d bytes waits, and this end takes %d: raise max_message_size (limits), or have it removed", e.length, s.largest())}
	}
	if e != nil && e.rc == mqrcBackedOut {
		_ = s.conn.back() // the unit of work can only be backed out; where that fails too the next get says so
	}
	return classify("receive", s.at, err)
}

// identify is what makes a message known when it comes again: applications may give ids themselves, so the time it was put
// and what is in it are part of it.
func (s *source) identify(w *Wire) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%x\x00%s%s\x00", s.facts.id, s.name, w.MD.MsgID, w.MD.PutDate, w.MD.PutTime)
	h.Write(w.Body)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// hand makes deliveries of tags, which are the open ones from now on.
func (s *source) hand(tags []*tag) []adapters.Delivery {
	received := s.cfg.Now().UnixMilli()
	ds := make([]adapters.Delivery, len(tags))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unit = true
	for i, t := range tags {
		s.open[t] = struct{}{}
		ds[i] = adapters.Delivery{Message: s.decode(t.wire, received), Tag: t, Attempt: int(t.wire.MD.BackoutCount) + 1, SourceID: t.id}
	}
	return ds
}

// decode is Decode. A queue manager writes its own name beside a reply queue that has none: that says nothing.
func (s *source) decode(w Wire, received int64) *adapters.Message {
	m := Decode(w, received)
	if m.ReplyTo.Scope == s.facts.name {
		m.ReplyTo.Scope = ""
	}
	return m
}
