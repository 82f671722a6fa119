package nats

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"

	natsgo "github.com/nats-io/nats.go"

	"github.com/posthouse/posthouse/adapters"
)

// An Adapter opens the ends of NATS brokers and keeps the embedded servers that it started. It is safe for concurrent
// use. New makes one.
type Adapter struct {
	mu    sync.Mutex
	hosts map[string]*host // by broker name
	pool  pool
}

var (
	_ adapters.Adapter = (*Adapter)(nil)
	_ adapters.Pinger  = (*Adapter)(nil)
	_ adapters.Host    = (*Adapter)(nil)
)

// New returns an Adapter with no server running.
func New() *Adapter {
	return &Adapter{hosts: make(map[string]*host), pool: pool{trunks: make(map[trunkKey][]*trunk)}}
}

// Kind is "nats".
func (*Adapter) Kind() string { return "nats" }

// Capabilities are the claims for a broker configured like c.
func (*Adapter) Capabilities(c adapters.Config) adapters.Capabilities {
	return adapters.Capabilities{
		Sources: []adapters.Form{adapters.Stream}, Targets: []adapters.Form{adapters.Subject},
		Settle: adapters.Each, SettleConfirmed: true, Attempts: adapters.CountEach,
		Order: adapters.OrderPerAddress, Directed: true, Dynamic: true, Durable: true,
		Target: adapters.ClassWindow, Source: adapters.SourcePosition,
		Headers: headers(c.Options.Bool(keyTTL, false)),
	}
}

func headers(ttl bool) adapters.Headers {
	h := adapters.Headers{
		Protocol: "nats", Fields: adapters.FieldContentType,
		Types: adapters.Types(adapters.TString), TextOnly: true, Names: adapters.NameToken,
		Duplicates: true, Bodies: adapters.Bodies(adapters.BodyBytes), ExpiryUnit: 1,
		Reserved: []string{natsPrefix}, Taken: []string{hdrContentType, ceContentType},
	}
	if ttl {
		h.ExpiryUnit = 1000
	}
	return h
}

// Decode reads a message as the ends of this adapter do, before bridge.Restore. It is for measurements and for tests of
// conversion that need no broker.
func Decode(h natsgo.Header, data []byte) *adapters.Message {
	m := decode(h, data)
	return &m
}

// Encode makes the headers of a message that bridge.Fit has fitted, as the ends of this adapter do; ttl is the option
// nats_ttl. It is for measurements and for tests of conversion that need no broker.
func Encode(m *adapters.Message, ttl bool) (natsgo.Header, error) { return encode(m, ttl) }

// OpenSource connects, finds or (create: true) makes the stream, finds or makes the durable consumer, and returns when
// the server has both. The error is an *adapters.Error of Kind Denied, NotFound, Permanent or Lost.
func (ad *Adapter) OpenSource(ctx context.Context, c adapters.Config, a adapters.Address) (adapters.Source, error) {
	if err := checkEnd(a); err != nil || a.Form != adapters.Stream {
		return nil, refuse(a, err)
	}
	cn, err := ad.connect(ctx, c, a)
	if err != nil {
		return nil, err
	}
	s, err := attachSource(ctx, cn)
	if err != nil {
		cn.close()
		return nil, err
	}
	return s, nil
}

// OpenTarget connects, looks which stream takes the subject, or (create: true) makes one, and compares its duplicate
// window with what the broker's duplicate_window states. The error is an *adapters.Error of Kind Denied, NotFound,
// Permanent or Lost. A client without the right to ask for streams is attached without the look.
func (ad *Adapter) OpenTarget(ctx context.Context, c adapters.Config, a adapters.Address) (adapters.Target, error) {
	if err := checkEnd(a); err != nil || a.Form != adapters.Subject {
		return nil, refuse(a, err)
	}
	cn, err := ad.connect(ctx, c, a)
	if err != nil {
		return nil, err
	}
	t, err := attachTarget(ctx, cn)
	if err != nil {
		cn.close()
		return nil, err
	}
	return t, nil
}

func refuse(a adapters.Address, err error) error {
	if err == nil {
		err = fmt.Errorf("nats has no %s here: a source is a stream, a target is a subject", a.Form)
	}
	return &adapters.Error{Op: "attach", Addr: a, Kind: adapters.Permanent, Err: err}
}

// Ping connects to the first address that answers, looks for the streams of as, makes nothing, and disconnects.
func (ad *Adapter) Ping(ctx context.Context, c adapters.Config, as ...adapters.Address) (adapters.Peer, error) {
	cn, err := ad.connect(ctx, c, adapters.Address{Broker: c.Name})
	if err != nil {
		return adapters.Peer{}, err
	}
	defer cn.close()
	err = cn.lookAll(ctx, as)
	return cn.peer, err
}

// lookAll looks for every end; one that is to be made may be absent.
func (c *conn) lookAll(ctx context.Context, as []adapters.Address) error {
	for _, a := range as {
		if c.at = a; a.Dynamic {
			continue
		}
		if err := c.look(ctx); err != nil && !(adapters.KindOf(err) == adapters.NotFound && a.Options.Bool(KeyCreate, false)) {
			return err
		}
	}
	return nil
}

// Start runs the server that c.Options asks for with embedded, and returns when it accepts connections; nil, nil where
// nothing is asked for. The closer stops it and waits. Its error is an *adapters.Error: Denied when the directory is in
// use or may not be written, Permanent for bad options.
func (ad *Adapter) Start(ctx context.Context, c adapters.Config) (io.Closer, error) {
	if c.Options.Sub(KeyEmbedded) == nil {
		return nil, nil
	}
	if err := checkEmbedded(c, c.Options.Sub(KeyEmbedded)); err != nil {
		return nil, &adapters.Error{Op: "start", Addr: adapters.Address{Broker: c.Name}, Kind: adapters.Permanent, Err: err}
	}
	h, err := startHost(ctx, c.WithDefaults())
	if err != nil {
		return nil, err
	}
	h.forget = func() { ad.remove(c.Name, h) }
	ad.mu.Lock()
	defer ad.mu.Unlock()
	ad.hosts[c.Name] = h
	return h, nil
}

func (ad *Adapter) running(name string) *host {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	return ad.hosts[name]
}

func (ad *Adapter) remove(name string, h *host) {
	ad.mu.Lock()
	defer ad.mu.Unlock()
	if ad.hosts[name] == h {
		delete(ad.hosts, name)
	}
}

// durableName makes a consumer's name of Config.Client. Letters, digits and "-" stay, "." becomes "_", every other byte
// "=" and two hex digits, so that equal names mean equal clients; one that gets too long ends in its hash.
func durableName(client string) string {
	var b strings.Builder
	for i := 0; i < len(client); i++ {
		switch c := client[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		case c == '.':
			b.WriteByte('_')
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	const most = 128
	if b.Len() <= most {
		return b.String()
	}
	sum := sha256.Sum256([]byte(client))
	return b.String()[:64] + "=h" + hex.EncodeToString(sum[:16])
}
