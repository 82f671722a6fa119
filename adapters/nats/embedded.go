package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/posthouse/posthouse/adapters"
)

// embeddedPayload is the largest message of an embedded server in bytes; NATS advises against more.
const embeddedPayload = 8 << 20

// A host is a JetStream server inside this process. Its directory is locked for as long as it runs.
type host struct {
	server *server.Server
	unlock func()
	forget func()
	once   sync.Once
}

// startHost starts the server and waits until it is ready or ctx ends.
func startHost(ctx context.Context, c adapters.Config) (*host, error) {
	e := c.Options.Sub(KeyEmbedded)
	bad := func(kind adapters.Kind, err error) error {
		return &adapters.Error{Op: "start", Addr: adapters.Address{Broker: c.Name}, Kind: kind, Err: err}
	}
	dir := e.String(KeyDir, "")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, bad(adapters.Denied, err)
	}
	unlock, err := lockDir(dir, c.Now())
	if err != nil {
		return nil, bad(adapters.Denied, err)
	}
	h := &host{unlock: unlock, forget: func() {}}
	log := &serverLog{log: c.Log, fatal: make(chan error, 1)}
	if err := h.launch(c, e, log); err != nil {
		unlock()
		return nil, bad(adapters.Permanent, err)
	}
	if err := h.ready(ctx, log); err != nil {
		_ = h.Close()
		return nil, bad(adapters.Denied, err)
	}
	return h, nil
}

func (h *host) launch(c adapters.Config, e adapters.Options, log *serverLog) error {
	opts, err := serverOptions(c, e)
	if err != nil {
		return err
	}
	if h.server, err = server.NewServer(opts); err != nil {
		return err
	}
	h.server.SetLoggerV2(log, false, false, false)
	go h.server.Start()
	return nil
}

// readyWait bounds the start of a server; recovering large streams takes time.
const readyWait = 2 * time.Minute

// ready waits for the server in slices, so that a fatal error or the end of ctx is seen between two of them.
func (h *host) ready(ctx context.Context, log *serverLog) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyWait, errors.New("the embedded server does not get ready"))
	defer cancel()
	for {
		if h.server.ReadyForConnections(50*time.Millisecond) && h.server.JetStreamEnabled() {
			return nil
		}
		select {
		case err := <-log.fatal:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		default:
		}
	}
}

// Close stops the server, waits for it, and frees its directory. A second Close is harmless.
func (h *host) Close() error {
	h.once.Do(func() {
		h.forget()
		h.server.Shutdown()
		h.server.WaitForShutdown()
		h.unlock()
	})
	return nil
}

func serverOptions(c adapters.Config, e adapters.Options) (*server.Options, error) {
	s, err := parseSync(e)
	if err != nil {
		return nil, err
	}
	o := &server.Options{
		ServerName: "posthouse-" + durableName(c.Name), JetStream: true, StoreDir: e.String(KeyDir, ""),
		JetStreamMaxStore: e.Int(KeyMaxSize, 0), MaxPayload: embeddedPayload,
		SyncAlways: s.always, SyncInterval: s.interval,
		NoSigs: true, DisableShortFirstPing: true, DontListen: true,
		Username: c.Credentials.User, Password: c.Credentials.Password.Reveal(), Authorization: c.Credentials.Token.Reveal(),
	}
	listen := e.String(KeyListen, "")
	if listen == "" {
		return o, nil
	}
	hostName, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, wrong(KeyEmbedded+"."+KeyListen, "write HOST:PORT", "%q: %v", listen, err)
	}
	o.DontListen, o.Host = false, hostName
	if o.Port, err = strconv.Atoi(port); err != nil || o.Port < 0 || o.Port > 65535 {
		return nil, wrong(KeyEmbedded+"."+KeyListen, "write HOST:PORT", "%q has no port number", listen)
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	return o, nil
}

// syncMode says when the server calls fsync.
type syncMode struct {
	always   bool
	interval time.Duration
}

// parseSync reads the key sync: always, never or a duration.
func parseSync(e adapters.Options) (syncMode, error) {
	const help = `write always, never or a duration such as 2s; anything but always can lose confirmed messages in a power cut`
	switch v := e[KeySync].(type) {
	case nil:
		return syncMode{always: true}, nil
	case time.Duration:
		if v > 0 {
			return syncMode{interval: v}, nil
		}
	case string:
		if v == "always" {
			return syncMode{always: true}, nil
		}
		if v == "never" {
			return syncMode{interval: 365 * 24 * time.Hour}, nil
		}
		if d, err := time.ParseDuration(v); err == nil && d > 0 {
			return syncMode{interval: d}, nil
		}
	}
	return syncMode{}, wrong(KeyEmbedded+"."+KeySync, help, "%v is no way to sync", e[KeySync])
}

// serverLog brings the server's log into ours. A fatal error of the server must not end our process: it is handed to
// whoever starts it.
type serverLog struct {
	log   *slog.Logger
	fatal chan error
}

// Noticef logs the server's notices as debug: they tell of its start, not of messages.
func (l *serverLog) Noticef(f string, v ...any) { l.log.Debug("nats-server: " + fmt.Sprintf(f, v...)) }

// Warnf logs a warning.
func (l *serverLog) Warnf(f string, v ...any) { l.log.Warn("nats-server: " + fmt.Sprintf(f, v...)) }

// Errorf logs an error.
func (l *serverLog) Errorf(f string, v ...any) { l.log.Error("nats-server: " + fmt.Sprintf(f, v...)) }

// Debugf logs nothing; it is off.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef logs nothing; it is off.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf keeps the first fatal error for ready and logs it.
func (l *serverLog) Fatalf(f string, v ...any) {
	err := fmt.Errorf(f, v...)
	l.log.Error("nats-server: " + err.Error())
	select {
	case l.fatal <- err:
	default:
	}
}
