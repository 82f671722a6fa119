package nats

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthouse/posthouse/adapters"
)

// embeddedConfig is a broker inside the test process.
func embeddedConfig(t testing.TB, more keys) adapters.Config {
	e := keys{KeyDir: t.TempDir()}
	for k, v := range more {
		e[k] = v
	}
	return adapters.Config{Name: "local", Client: "test.route", Options: keys{KeyEmbedded: e}}
}

func begin(t testing.TB, ad *Adapter, c adapters.Config) *host {
	t.Helper()
	h, err := ad.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h.(*host)
}

func streamEnd(name string, o keys) adapters.Address {
	return adapters.Address{Broker: "local", Form: adapters.Stream, Name: name, Options: o}
}

func subjectEnd(name string, o keys) adapters.Address {
	return adapters.Address{Broker: "local", Form: adapters.Subject, Name: name, Options: o}
}

func openSource(t testing.TB, ad *Adapter, c adapters.Config, a adapters.Address) *source {
	t.Helper()
	s, err := ad.OpenSource(t.Context(), c, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.(*source)
}

func openTarget(t testing.TB, ad *Adapter, c adapters.Config, a adapters.Address) *target {
	t.Helper()
	g, err := ad.OpenTarget(t.Context(), c, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g.(*target)
}

func bodies(from, to int) (ms []*adapters.Message) {
	for i := from; i < to; i++ {
		ms = append(ms, &adapters.Message{Track: adapters.Track{ID: fmt.Sprint("id-", i)},
			Body: adapters.Body{Form: adapters.BodyBytes, Data: fmt.Append(nil, i)}})
	}
	return ms
}

func send(t testing.TB, g *target, ms ...*adapters.Message) {
	t.Helper()
	ctx, cancel := contextWith(t, 30*time.Second)
	defer cancel()
	if n, err := g.Send(ctx, ms); n != len(ms) || err != nil {
		t.Fatalf("Send = %d, %v; want %d", n, err, len(ms))
	}
}

// receive takes the messages from to to, in order, and settles them.
func receive(t testing.TB, s *source, from, to int) {
	t.Helper()
	ctx, cancel := contextWith(t, 30*time.Second)
	defer cancel()
	for from < to {
		ds, err := s.Receive(ctx, min(64, to-from))
		if err != nil {
			t.Fatalf("Receive, waiting for %d: %v", from, err)
		}
		for _, d := range ds {
			if got := string(d.Message.Body.Data); got != fmt.Sprint(from) {
				t.Fatalf("got message %s, want %d", got, from)
			}
			from++
		}
		if err := s.Settle(ctx, adapters.Accepted, ds...); err != nil {
			t.Fatal(err)
		}
	}
}

// A server in the process carries messages, and keeps what was not settled over a restart; what was settled is gone.
func TestEmbeddedKeepsOverRestart(t *testing.T) {
	ad, c := New(), embeddedConfig(t, nil)
	h := begin(t, ad, c)
	if !h.server.JetStreamConfig().SyncAlways {
		t.Error("the embedded server does not sync every write by default")
	}
	g := openTarget(t, ad, c, subjectEnd("orders.new", keys{KeyCreate: true}))
	if p := g.Peer(); p.MaxSize != embeddedPayload || p.ID != "posthouse-local" {
		t.Errorf("Peer = %+v", p)
	}
	send(t, g, bodies(0, 300)...)
	s := openSource(t, ad, c, streamEnd("orders_new", nil))
	receive(t, s, 0, 200)
	_ = s.Close()
	_ = g.Close()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ad.OpenSource(t.Context(), c, streamEnd("orders_new", nil)); adapters.KindOf(err) != adapters.NotFound {
		t.Errorf("source of a stopped server: %v", err)
	}
	begin(t, ad, c)
	g = openTarget(t, ad, c, subjectEnd("orders.new", keys{KeyCreate: true}))
	send(t, g, bodies(299, 301)...) // 299 is in the window still
	if g.Duplicates() != 1 {
		t.Errorf("%d duplicates, want 1", g.Duplicates())
	}
	receive(t, openSource(t, ad, c, streamEnd("orders_new", nil)), 200, 301)
	info, err := g.c.js.Stream(t.Context(), "orders_new")
	if err != nil || info.CachedInfo().State.Msgs != 0 {
		t.Errorf("%d messages left in the stream (%v), want 0: what is settled is gone", info.CachedInfo().State.Msgs, err)
	}
}

// Two servers never write one directory, in one process or in two.
func TestEmbeddedDirectoryHasOneServer(t *testing.T) {
	c := embeddedConfig(t, nil)
	h := begin(t, New(), c)
	_, err := New().Start(t.Context(), c)
	pid := fmt.Sprintf("pid %d since", os.Getpid())
	if adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), pid) {
		t.Errorf("second server: %v; want denied, in use, %s", err, pid)
	}
	_ = h.Close()
	begin(t, New(), c)
}

func TestEmbeddedStartFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tc := range []struct {
		name string
		keys keys
		kind adapters.Kind
		want string
	}{
		{"directory is a file", keys{KeyDir: file}, adapters.Denied, "not a directory"},
		{"port in use", keys{KeyListen: l.Addr().String()}, adapters.Denied, "address already in use"},
		{"bad option", keys{KeySync: "often"}, adapters.Permanent, "embedded.sync"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := embeddedConfig(t, tc.keys)
			h, err := New().Start(t.Context(), c)
			if err == nil {
				_ = h.Close()
			}
			if adapters.KindOf(err) != tc.kind || !strings.Contains(fmt.Sprint(err), tc.want) {
				t.Errorf("Start: %v (kind %v), want %v and %q", err, adapters.KindOf(err), tc.kind, tc.want)
			}
		})
	}
	if h, err := New().Start(t.Context(), adapters.Config{Addresses: []string{"nats://h"}}); h != nil || err != nil {
		t.Errorf("Start without embedded = %v, %v; want nothing", h, err)
	}
}

// With listen, clients of other processes get in by TCP, with the credentials of the file.
func TestEmbeddedListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	_ = l.Close()
	c := embeddedConfig(t, keys{KeyListen: listen, KeySync: time.Second, KeyMaxSize: int64(1 << 20)})
	c.Credentials = adapters.Credentials{User: "u", Password: adapters.NewSecret("right")}
	ad := New()
	h := begin(t, ad, c)
	if jc := h.server.JetStreamConfig(); jc.SyncAlways || jc.SyncInterval != time.Second || jc.MaxStore != 1<<20 {
		t.Errorf("JetStream runs with %+v", jc)
	}
	send(t, openTarget(t, ad, c, subjectEnd("q", keys{KeyCreate: true})), bodies(0, 3)...)
	other := New() // another process has an Adapter of its own, and the same file
	receive(t, openSource(t, other, c, streamEnd("q", nil)), 0, 3)
	c.Credentials.Password = adapters.NewSecret("wrong")
	if _, err := other.OpenSource(t.Context(), c, streamEnd("q", nil)); adapters.KindOf(err) != adapters.Denied {
		t.Errorf("wrong password: %v", err)
	}
}

// A store that is full refuses, and takes again when there is room.
func TestEmbeddedFull(t *testing.T) {
	ad, c := New(), embeddedConfig(t, keys{KeyMaxSize: int64(1 << 20)})
	begin(t, ad, c)
	g := openTarget(t, ad, c, subjectEnd("q", keys{KeyCreate: true}))
	big := func(i int) *adapters.Message {
		return &adapters.Message{Track: adapters.Track{ID: fmt.Sprint("big-", i)}, Body: adapters.Body{Form: adapters.BodyBytes, Data: make([]byte, 200<<10)}}
	}
	var err error
	n := 0
	for ; err == nil && n < 20; n++ {
		_, err = g.Send(t.Context(), []*adapters.Message{big(n)})
	}
	if adapters.KindOf(err) != adapters.Full {
		t.Fatalf("message %d: %v, want full", n, err)
	}
	s := openSource(t, ad, c, streamEnd("q", nil))
	ds, err := s.Receive(t.Context(), 1)
	if err == nil {
		err = s.Settle(t.Context(), adapters.Accepted, ds...)
	}
	if err != nil {
		t.Fatal(err)
	}
	send(t, g, big(n))
}

// Close leaves no goroutine behind, neither of the server nor of its clients, and the server has nothing to complain of.
func TestEmbeddedLeavesNothing(t *testing.T) {
	current := goleak.IgnoreCurrent()
	var log bytes.Buffer
	c := embeddedConfig(t, nil)
	c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	for range 3 {
		ad := New()
		h, err := ad.Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		g := openTarget(t, ad, c, subjectEnd("q", keys{KeyCreate: true}))
		s := openSource(t, ad, c, streamEnd("q", nil))
		for _, x := range []interface{ Close() error }{g, s, h, h} {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := goleak.Find(current); err != nil {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Errorf("the server warns:\n%s", log.String())
	}
}

// A start that is given up frees the directory.
func TestEmbeddedStartEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := embeddedConfig(t, nil)
	if h, err := New().Start(ctx, c); err == nil {
		_ = h.Close() // ready at once is no fault
	}
	begin(t, New(), c)
}
