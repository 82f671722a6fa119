package adaptertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/posthouse/posthouse/adapters"
)

func configChecks() []Check {
	const g = "Config"
	return []Check{
		{Group: g, Name: "CheckOffline", run: checkOffline},
		{Group: g, Name: "UnknownKeyRefused", run: unknownKeyRefused},
		{Group: g, Name: "SecretsHidden", run: secretsHidden, wired: true},
	}
}

// checkOffline: Check finds nothing wrong with a working configuration and opens no socket and no file.
func checkOffline(e *env) {
	p := e.h.Place(e)
	var dials atomic.Int32
	e.cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("Check must not dial")
	}
	if err := e.h.Adapter().Check(e.cfg, p.Source, p.Target); err != nil {
		e.Errorf("Check of a working configuration: %v", err)
	}
	const none = "/nonexistent/posthouse-suite.pem"
	e.cfg.TLS = adapters.TLS{On: true, CAFile: none, CertFile: none, KeyFile: none}
	if err := e.h.Adapter().Check(e.cfg, p.Source, p.Target); err != nil && strings.Contains(err.Error(), "no such file") {
		e.Errorf("Check opened a file: %v", err)
	}
	e.h.Adapter().Capabilities(e.cfg)
	if n := dials.Load(); n > 0 {
		e.Errorf("Check dialled %d times", n)
	}
}

// unknownKeyRefused: a key that nobody knows is an error that names it, at the broker and at either end.
func unknownKeyRefused(e *env) {
	const key = "no_such_key"
	p := e.h.Place(e)
	with := func(o adapters.Options) adapters.Options {
		o = maps.Clone(o)
		if o == nil {
			o = adapters.Options{}
		}
		o[key] = true
		return o
	}
	named := func(where string, err error) {
		var oe *adapters.OptionError
		if !errors.As(err, &oe) || !strings.Contains(err.Error(), key) {
			e.Errorf("unknown key %s: %v, want an *OptionError that names it", where, err)
		}
	}
	a := e.h.Adapter()
	c := e.cfg
	c.Options = with(c.Options)
	named("of the broker", a.Check(c, p.Source, p.Target))
	s, g := p.Source, p.Target
	s.Options, g.Options = with(s.Options), with(g.Options)
	named("of a source", a.Check(e.cfg, s))
	named("of a target", a.Check(e.cfg, g))
}

// A buffer is a log that several goroutines may write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// secretsHidden: a canary for every secret is in no error and no log line, whatever goes wrong.
func secretsHidden(e *env) {
	canary := "canary-" + e.tag
	var log buffer
	e.cfg.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := e.h.Place(e)
	e.cfg.Credentials.Password = adapters.NewSecret(canary)
	if !e.cfg.Credentials.Token.IsZero() {
		e.cfg.Credentials.Token = adapters.NewSecret(canary)
	}
	seen := []string{fmt.Sprintf("%v %+v %#v", e.cfg.Credentials, e.cfg.Credentials, e.cfg.Credentials)}
	note := func(err error) { seen = append(seen, fmt.Sprintf("%v %+v %#v", err, err, errors.Unwrap(err))) }
	a := e.h.Adapter()
	c := e.cfg
	c.Options = adapters.Options{"no_such_key": true}
	note(a.Check(c, p.Source, p.Target))
	for _, m := range []Mode{Pass, Refuse} {
		e.wire.Set(m)
		note(e.openOnly(p))
		if pinger, ok := a.(adapters.Pinger); ok {
			_, err := pinger.Ping(e.soon(), e.cfg, p.Target)
			note(err)
		}
	}
	for _, text := range append(seen, log.String()) {
		if at := strings.Index(text, canary); at >= 0 {
			e.Errorf("the secret shows: …%s", text[max(0, at-80):at+len(canary)])
		}
	}
}

// openOnly opens and closes both ends and returns the errors.
func (e *env) openOnly(p Place) error {
	s, err1 := e.h.Adapter().OpenSource(e.soon(), e.cfg, p.Source)
	if err1 == nil {
		e.close("source", s)
	}
	g, err2 := e.h.Adapter().OpenTarget(e.soon(), e.cfg, p.Target)
	if err2 == nil {
		e.close("target", g)
	}
	return errors.Join(err1, err2)
}
