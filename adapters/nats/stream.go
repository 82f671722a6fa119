package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// look asks whether the stream of the end exists. It makes nothing.
func (c *conn) look(ctx context.Context) error {
	return c.during(ctx, "attach", func(ctx context.Context) error {
		if c.at.Form == adapters.Stream {
			_, err := c.streamInfo(ctx, c.at.Name)
			return err
		}
		_, err := c.streamOf(ctx)
		return err
	})
}

// streamInfo describes a stream as it is now. Ends that ask for one at the same time share the answer.
func (c *conn) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	return c.tr.inquiries.ask(ctx, name, func() (*jetstream.StreamInfo, error) {
		s, err := c.js.Stream(ctx, name)
		if err != nil {
			return nil, err
		}
		return s.CachedInfo(), nil
	})
}

// streamOf describes the stream that takes the target's subject.
func (c *conn) streamOf(ctx context.Context) (*jetstream.StreamInfo, error) {
	name, err := c.js.StreamNameBySubject(ctx, c.at.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, &adapters.Error{Kind: adapters.NotFound, Err: fmt.Errorf("no stream takes the subject %s", c.at.Name)}
	}
	if err != nil {
		return nil, err
	}
	return c.streamInfo(ctx, name)
}

// targetStream is streamOf, and makes the stream where the end asks for that.
func (c *conn) targetStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	s, err := c.streamOf(ctx)
	if err == nil || !c.at.Options.Bool(KeyCreate, false) {
		return s, err
	}
	if kind, _ := classify(err); kind != adapters.NotFound {
		return nil, err
	}
	name := c.at.Options.String(KeyStream, strings.ReplaceAll(c.at.Name, ".", "_"))
	return c.makeStream(ctx, name, c.at.Name)
}

// sourceStream describes the source's stream, and makes it where the end asks for that.
func (c *conn) sourceStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	s, err := c.streamInfo(ctx, c.at.Name)
	if err == nil || !errors.Is(err, jetstream.ErrStreamNotFound) || !c.at.Options.Bool(KeyCreate, false) {
		return s, err
	}
	return c.makeStream(ctx, c.at.Name, c.at.Options.String(KeySubject, c.at.Name))
}

// makeStream makes a stream that behaves like a queue, the same from both ends: on disk, a settled message is gone, and
// a full stream refuses new messages instead of dropping old ones.
func (c *conn) makeStream(ctx context.Context, name, subject string) (*jetstream.StreamInfo, error) {
	s, err := c.js.CreateStream(ctx, c.streamConfig(name, subject))
	if err == nil {
		return s.CachedInfo(), nil
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody was faster, or the name has other subjects
		if info, err := c.streamInfo(ctx, name); err == nil && takes(info.Config.Subjects, subject) {
			return info, nil
		}
	}
	return nil, err
}

func (c *conn) streamConfig(name, subject string) jetstream.StreamConfig {
	sc := jetstream.StreamConfig{
		Name: name, Subjects: []string{subject}, Description: "made by posthouse for " + c.cfg.Client,
		Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
		Duplicates: c.cfg.Options.Duration(KeyDuplicateWindow, defaultWindow), AllowMsgTTL: c.cfg.Options.Bool(keyTTL, false),
	}
	if keep := c.at.Options.Duration(KeyKeep, 0); keep > 0 {
		sc.Retention, sc.MaxAge = jetstream.LimitsPolicy, keep
		sc.Duplicates = min(sc.Duplicates, keep) // the server permits no more
	}
	return sc
}

// copies refuses a stream in which a settled message is gone, where the source is to take copies.
func (c *conn) copies(st *jetstream.StreamInfo) error {
	if !c.cfg.Copies || st.Config.Retention != jetstream.WorkQueuePolicy {
		return nil
	}
	return &adapters.Error{Op: "attach", Addr: c.at, Kind: adapters.Denied, Err: fmt.Errorf(
		"stream %s has WorkQueue retention: what this route reads there, and does not repeat because it came from the other side, would be gone"+
			" (make the stream with limits or interest retention)", st.Config.Name)}
}

// takes reports whether one of subjects is subject itself; a wildcard that holds it was found by its subject before.
func takes(subjects []string, subject string) bool {
	for _, s := range subjects {
		if s == subject {
			return true
		}
	}
	return false
}

// checkWindow compares what the stream remembers of ids with what the file states, or its default: whoever sends relies
// on that.
func (c *conn) checkWindow(stream string, have time.Duration) error {
	want := c.cfg.Options.Duration(KeyDuplicateWindow, defaultWindow)
	if have >= want {
		return nil
	}
	return &adapters.Error{Op: "attach", Addr: c.at, Kind: adapters.Denied, Err: fmt.Errorf(
		"stream %s remembers ids for %v only, and duplicate_window of the broker is %v: a message sent again after an outage could arrive twice"+
			" (nats stream edit %s --dupe-window=%v, or write duplicate_window: %v)", stream, have, want, stream, want, have)}
}

// noTTL refuses a stream that would refuse every message with a lifetime.
func (c *conn) noTTL(stream string) error {
	return &adapters.Error{Op: "attach", Addr: c.at, Kind: adapters.Denied, Err: fmt.Errorf(
		"stream %s does not allow lifetimes of messages, and the broker has nats_ttl: true (nats stream edit %s --allow-msg-ttl)", stream, stream)}
}

// windowUnknown refuses an end of exactly-once whose stream nobody may look at.
func (c *conn) windowUnknown() error {
	return &adapters.Error{Op: "attach", Addr: c.at, Kind: adapters.Denied, Err: errors.New(
		"delivery: exactly-once rests on the stream's duplicate window, and this user may not ask for it" +
			" (let it publish to $JS.API.STREAM.NAMES and $JS.API.STREAM.INFO.*)")}
}
