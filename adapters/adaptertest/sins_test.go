package adaptertest_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
)

// A sinner replaces the ends of an adapter; nil leaves them as they are.
type sinner struct {
	adapters.Adapter
	source func(adapters.Config, adapters.Source, error) (adapters.Source, error)
	target func(adapters.Config, adapters.Target, error) (adapters.Target, error)
}

func (s *sinner) OpenSource(ctx context.Context, c adapters.Config, a adapters.Address) (adapters.Source, error) {
	src, err := s.Adapter.OpenSource(ctx, c, a)
	if s.source == nil {
		return src, err
	}
	return s.source(c, src, err)
}

func (s *sinner) OpenTarget(ctx context.Context, c adapters.Config, a adapters.Address) (adapters.Target, error) {
	g, err := s.Adapter.OpenTarget(ctx, c, a)
	if s.target == nil {
		return g, err
	}
	return s.target(c, g, err)
}

// badSource makes a sin of a change to every source.
func badSource(f func(adapters.Source) adapters.Source) func(testing.TB, adapters.Adapter) adapters.Adapter {
	return func(_ testing.TB, a adapters.Adapter) adapters.Adapter {
		return &sinner{Adapter: a, source: func(_ adapters.Config, s adapters.Source, err error) (adapters.Source, error) {
			if err != nil {
				return nil, err
			}
			return f(s), nil
		}}
	}
}

// badTarget makes a sin of a change to every target.
func badTarget(f func(*mem.Target) adapters.Target) func(testing.TB, adapters.Adapter) adapters.Adapter {
	return func(_ testing.TB, a adapters.Adapter) adapters.Adapter {
		return &sinner{Adapter: a, target: func(_ adapters.Config, g adapters.Target, err error) (adapters.Target, error) {
			if err != nil {
				return nil, err
			}
			return f(g.(*mem.Target)), nil
		}}
	}
}

// eager settles inside Receive.
type eager struct{ adapters.Source }

func (s eager) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	ds, err := s.Source.Receive(ctx, n)
	if err == nil {
		err = s.Source.Settle(ctx, adapters.Accepted, ds...)
	}
	return ds, err
}

// swapped returns a batch in reverse.
type swapped struct{ adapters.Source }

func (s swapped) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	ds, err := s.Source.Receive(ctx, n)
	slices.Reverse(ds)
	return ds, err
}

// deaf does not end Receive when it is closed.
type deaf struct{ adapters.Source }

func (s deaf) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	ds, err := s.Source.Receive(ctx, n)
	if err != nil && isClosed(err) {
		<-ctx.Done()
	}
	return ds, err
}

func isClosed(err error) bool {
	var e *adapters.Error
	return errors.As(err, &e) && e.Err.Error() == "closed"
}

// forgetful drops what it had when the context ends.
type forgetful struct{ adapters.Source }

func (s forgetful) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	if ctx.Err() == nil {
		return s.Source.Receive(ctx, n)
	}
	if _, err := s.Source.Receive(context.WithoutCancel(ctx), n); err != nil {
		return nil, err
	}
	return nil, ctx.Err()
}

// grabber takes more than asked.
type grabber struct{ adapters.Source }

func (s grabber) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	return s.Source.Receive(ctx, n+1)
}

// upTo settles everything up to a delivery instead of each.
type upTo struct {
	adapters.Source
	mu   sync.Mutex
	open []adapters.Delivery
}

func (s *upTo) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	ds, err := s.Source.Receive(ctx, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, ds...)
	return ds, err
}

func (s *upTo) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.open) - 1; o == adapters.Accepted && i >= 0; i-- {
		if slices.ContainsFunc(ds, func(d adapters.Delivery) bool { return d.Tag == s.open[i].Tag }) {
			return s.Source.Settle(ctx, o, s.open[:i+1]...)
		}
	}
	return s.Source.Settle(ctx, o, ds...)
}

// swallow takes a connection that broke after the request for success.
type swallow struct{ adapters.Poster }

func (g swallow) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	r, err := g.Poster.Post(ctx, ms)
	if err != nil {
		return 0, err
	}
	n, err := r.Wait(ctx)
	if adapters.KindOf(err) == adapters.Lost {
		return len(ms), nil
	}
	return n, err
}

// hasty returns before the confirm.
type hasty struct{ adapters.Poster }

func (g hasty) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	if _, err := g.Poster.Post(ctx, ms); err != nil {
		return 0, err
	}
	return len(ms), nil
}

// keeper keeps the caller's slice and sends it with the next call. It does so only with the batch that KeepsNothing
// scribbles on: always would be hasty's sin too.
type keeper struct {
	adapters.Target
	held []*adapters.Message
}

func (g *keeper) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	if len(ms) == 3 && string(ms[0].Body.Data) == "a-0" {
		g.held = ms
		return len(ms), nil
	}
	held := g.held
	g.held = nil
	for _, m := range held {
		if m == nil {
			m = &adapters.Message{}
		}
		if _, err := g.Target.Send(ctx, []*adapters.Message{m}); err != nil {
			return 0, err
		}
	}
	return g.Target.Send(ctx, ms)
}

// liar returns all of them beside the error.
type liar struct{ adapters.Target }

func (g liar) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	_, err := g.Target.Send(ctx, ms)
	return len(ms), err
}

// lumper calls every error Transient.
func lumper(_ testing.TB, a adapters.Adapter) adapters.Adapter {
	return &sinner{Adapter: a,
		source: func(_ adapters.Config, s adapters.Source, err error) (adapters.Source, error) {
			return lumpingSource{s}, lump(err)
		},
		target: func(_ adapters.Config, g adapters.Target, err error) (adapters.Target, error) {
			return lumpingTarget{g}, lump(err)
		}}
}

type lumpingSource struct{ adapters.Source }

func (s lumpingSource) Receive(ctx context.Context, n int) ([]adapters.Delivery, error) {
	ds, err := s.Source.Receive(ctx, n)
	return ds, lump(err)
}

func (s lumpingSource) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	return lump(s.Source.Settle(ctx, o, ds...))
}

type lumpingTarget struct{ adapters.Target }

func (g lumpingTarget) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	n, err := g.Target.Send(ctx, ms)
	return n, lump(err)
}

func lump(err error) error {
	if err == nil {
		return nil
	}
	return &adapters.Error{Op: "send", Kind: adapters.Transient, Err: err}
}

// copycat uses the application's id for the duplicate window.
type copycat struct{ adapters.Target }

func (g copycat) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	return g.Target.Send(ctx, altered(ms, func(m *adapters.Message) { m.Track.ID = cmp.Or(m.ID.S, m.Track.ID) }))
}

// leaky leaves a goroutine for every open; they end with the test.
func leaky(t testing.TB, a adapters.Adapter) adapters.Adapter {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	return &sinner{Adapter: a, target: func(_ adapters.Config, g adapters.Target, err error) (adapters.Target, error) {
		go func() { <-stop }()
		return g, err
	}}
}

// chatty wraps the configuration into its errors.
func chatty(_ testing.TB, a adapters.Adapter) adapters.Adapter {
	return &sinner{Adapter: a, target: func(c adapters.Config, g adapters.Target, err error) (adapters.Target, error) {
		if err != nil {
			err = fmt.Errorf("with %s:%s: %w", c.Credentials.User, c.Credentials.Password.Reveal(), err)
		}
		return g, err
	}}
}

// mangler takes bodies for text that ends at the first NUL and is never empty.
type mangler struct{ adapters.Target }

func (g mangler) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	return g.Target.Send(ctx, altered(ms, func(m *adapters.Message) {
		text, _, _ := strings.Cut(strings.ToValidUTF8(string(m.Body.Data), "?"), "\x00")
		m.Body.Data = []byte(cmp.Or(text, " "))
	}))
}

// stripper forwards bodies only.
type stripper struct{ adapters.Target }

func (g stripper) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	return g.Target.Send(ctx, altered(ms, func(m *adapters.Message) { *m = adapters.Message{Track: m.Track, Body: m.Body} }))
}

// renamer gives a message a new identity every time.
type renamer struct{ adapters.Target }

func (g renamer) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	return g.Target.Send(ctx, altered(ms, func(m *adapters.Message) { m.Track.ID = rand.Text() }))
}

func altered(ms []*adapters.Message, f func(*adapters.Message)) (out []*adapters.Message) {
	for _, m := range ms {
		c := m.Clone()
		f(c)
		out = append(out, c)
	}
	return out
}

// forgiving finds every settlement fine.
type forgiving struct{ adapters.Source }

func (s forgiving) Settle(ctx context.Context, o adapters.Outcome, ds ...adapters.Delivery) error {
	_ = s.Source.Settle(ctx, o, ds...)
	return nil
}

// A careless adapter checks nothing.
type careless struct{ adapters.Adapter }

func (careless) Check(adapters.Config, ...adapters.Address) error { return nil }

// A curious adapter connects to check.
type curious struct{ adapters.Adapter }

func (a curious) Check(c adapters.Config, as ...adapters.Address) error {
	if conn, err := c.WithDefaults().Dial(context.Background(), "tcp", "127.0.0.1:1"); err == nil {
		_ = conn.Close()
	}
	return a.Adapter.Check(c, as...)
}

// A boundless adapter ignores the limit on size.
type boundless struct{ adapters.Adapter }

func (a boundless) OpenSource(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Source, error) {
	c.Limits.MaxSize = 0
	return a.Adapter.OpenSource(ctx, c, at)
}

func (a boundless) OpenTarget(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Target, error) {
	c.Limits.MaxSize = 0
	return a.Adapter.OpenTarget(ctx, c, at)
}

// A boaster claims what it does not do.
type boaster struct{ adapters.Adapter }

func (a boaster) Capabilities(c adapters.Config) adapters.Capabilities {
	caps := a.Adapter.Capabilities(c)
	caps.RefusalStops = true
	return caps
}

// tired opens a dozen ends and no more.
func tired(_ testing.TB, a adapters.Adapter) adapters.Adapter {
	opened := 0
	return &sinner{Adapter: a, target: func(_ adapters.Config, g adapters.Target, err error) (adapters.Target, error) {
		if opened++; opened > 7 && err == nil {
			_ = g.Close()
			return nil, errors.New("no handle left")
		}
		return g, err
	}}
}

// homing sends everything of a batch to the place of the first message.
type homing struct{ *mem.Target }

func (g homing) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	out := make([]*adapters.Message, len(ms))
	for i, m := range ms {
		out[i] = m.Clone()
		if m.Dest != "" && ms[0].Dest != "" && !strings.Contains(m.Dest, "missing") {
			out[i].Dest = ms[0].Dest
		}
	}
	return g.Target.Send(ctx, out)
}

// stickler takes a place that is missing for trouble of the target.
type stickler struct{ *mem.Target }

func (g stickler) Send(ctx context.Context, ms []*adapters.Message) (int, error) {
	n, err := g.Target.Send(ctx, ms)
	if errors.Is(err, adapters.ErrGone) {
		err = &adapters.Error{Op: "send", Kind: adapters.NotFound, Err: errors.New("no such queue")}
	}
	return n, err
}
