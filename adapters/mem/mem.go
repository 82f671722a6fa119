// Package mem is a broker in memory and its adapter, for tests: it keeps the contract of package adapters to the letter
// and can be cut, stalled, killed, filled and told to refuse. It is not in adapters/all.
//
// # What it connects to
//
// A *Broker, made by NewBroker and named by Config.Addresses (tried in order), or by Config.Name where there are none.
// Connections go over the broker's own Link, or over the one whose Dial is in Config.Dial.
//
// # Settle
//
// Every delivery by itself, confirmed. Released goes back to the head of its queue, in the order of sending; what was
// already on its way to the source comes first, as with real brokers. Rejected is set aside (Broker.Aside). What is
// unsettled when the end closes or is lost goes back too. Attempts are counted when Receive hands a delivery out.
//
// # Send
//
// A message is visible at once but survives Kill only when its receipt was waited for, as with a broker that syncs
// before it confirms.
//
// Where Options.Tx is set, OpenTx opens a target whose messages and position the broker takes together or not at all, and
// durably as soon as they arrive. HoldReplies followed by Cut leaves a transaction applied and its sender without an
// answer; a Cut with latency, or a Stall, loses it on its way. Broker.Position tells what the broker has.
//
// # Order
//
// That of sending, for the whole queue. Priorities and expiry are carried, not acted on.
//
// # Errors
//
// As Rules and Link say; a message above Limits.MaxSize ends the source with Kind Lost and stays at the broker.
//
// # Limits
//
// Prefetch, PrefetchBytes, InFlight, MaxSize, Confirm and Heartbeat count as the contract says. All waiting is on
// channels and timers, so that time is virtual under testing/synctest.
package mem

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Protocol is Capabilities.Headers.Protocol of this adapter.
const Protocol = "mem"

// An Adapter opens ends at the brokers it was made with.
type Adapter struct {
	brokers map[string]*Broker
	ways    map[string]*Link
}

var (
	_ adapters.Adapter   = (*Adapter)(nil)
	_ adapters.TxAdapter = (*Adapter)(nil)
	_ adapters.Pinger    = (*Adapter)(nil)
)

// New makes an adapter that knows bs by their names.
func New(bs ...*Broker) *Adapter {
	a := &Adapter{brokers: make(map[string]*Broker, len(bs)), ways: make(map[string]*Link)}
	for _, b := range bs {
		a.brokers[b.name], a.ways[b.name] = b, b.link
	}
	return a
}

// Via makes name another address of the broker that l belongs to: what is opened with it goes over l. It must not be
// called once the adapter is in use.
func (a *Adapter) Via(name string, l *Link) { a.brokers[name], a.ways[name] = l.b, l }

// Kind is "mem".
func (a *Adapter) Kind() string { return "mem" }

// Capabilities are those of the first broker of c that exists.
func (a *Adapter) Capabilities(c adapters.Config) adapters.Capabilities {
	caps := adapters.Capabilities{
		Sources: []adapters.Form{adapters.Queue}, Targets: []adapters.Form{adapters.Queue},
		Settle: adapters.Each, SettleConfirmed: true, Attempts: adapters.CountEach, RejectAside: true, Dynamic: true,
		Order: adapters.OrderPerAddress, Durable: true, Directed: true, Source: adapters.SourcePosition, Headers: headers(),
	}
	for _, name := range names(c) {
		if b := a.brokers[name]; b != nil {
			caps.MaxSize = b.opts.MaxSize
			switch {
			case b.opts.Tx:
				caps.Target = adapters.ClassTx
			case b.opts.Window:
				caps.Target = adapters.ClassWindow
			}
			break
		}
	}
	return caps
}

// headers claims everything: a message is kept as it is.
func headers() adapters.Headers {
	var all adapters.TypeSet
	for t := adapters.TNull; t <= adapters.TMap; t++ {
		all |= adapters.Types(t)
	}
	return adapters.Headers{
		Protocol: Protocol, Fields: adapters.FieldFooter<<1 - 1,
		IDs:   adapters.IDSet(adapters.IDString, adapters.IDBytes, adapters.IDUUID, adapters.IDULong),
		Types: all, Duplicates: true, NullValues: true, NullBody: true, Cuts: true,
		Bodies: adapters.Bodies(adapters.BodyNone, adapters.BodyBytes, adapters.BodyText, adapters.BodyValue,
			adapters.BodySequence, adapters.BodyMap, adapters.BodyStream, adapters.BodyObject),
		ExpiryUnit: 1, CreatedUnit: 1, MaxPriority: 255,
	}
}

// Check refuses unknown options and forms other than queue.
func (a *Adapter) Check(c adapters.Config, as ...adapters.Address) error {
	errs := []error{c.Options.Unknown()}
	for _, at := range as {
		errs = append(errs, at.Options.Unknown())
		if at.Form != adapters.Queue {
			errs = append(errs, &adapters.OptionError{Key: string(at.Form), Problem: "mem has queues only", Help: "write queue"})
		}
	}
	return errors.Join(errs...)
}

// OpenSource attaches a source to the queue at.
func (a *Adapter) OpenSource(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Source, error) {
	e, err := a.open(ctx, c, at)
	if err != nil {
		return nil, err
	}
	s := &Source{end: e}
	if !e.attach(s) {
		return nil, e.lost("attach")
	}
	return s, nil
}

// OpenTarget attaches a target, which is also an adapters.Poster, to the queue at.
func (a *Adapter) OpenTarget(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Target, error) {
	e, err := a.open(ctx, c, at)
	if err != nil {
		return nil, err
	}
	t := &Target{end: e}
	if !e.attach(t) {
		return nil, e.lost("attach")
	}
	return t, nil
}

// Ping connects, looks for as, and disconnects.
func (a *Adapter) Ping(ctx context.Context, c adapters.Config, as ...adapters.Address) (adapters.Peer, error) {
	e, err := a.open(ctx, c, as...)
	if err != nil {
		return adapters.Peer{}, err
	}
	defer e.close()
	return e.Peer(), nil
}

// open connects to the first broker of c that answers and asks it for as. The end it returns stands for as[0].
func (a *Adapter) open(ctx context.Context, c adapters.Config, as ...adapters.Address) (*end, error) {
	c = withDefaults(c)
	var errs []error
	for _, name := range names(c) {
		e, err := a.connect(ctx, c, name)
		if err == nil {
			return e, e.ask(as)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// connect makes one connection. The errors of a broker that is not there are of Kind Lost.
func (a *Adapter) connect(ctx context.Context, c adapters.Config, name string) (*end, error) {
	fail := func(k adapters.Kind, err error) (*end, error) {
		return nil, &adapters.Error{Op: "connect", Addr: adapters.Address{Broker: c.Name}, Kind: k, Err: err}
	}
	b := a.brokers[name]
	if b == nil {
		return fail(adapters.Lost, fmt.Errorf("there is no broker %q in this process", name))
	}
	link := a.ways[name]
	if c.Dial != nil {
		conn, err := c.Dial(ctx, "mem", name)
		if err != nil {
			return fail(adapters.Lost, err)
		}
		mc, ok := conn.(*wire)
		if !ok || mc.link.b != b {
			_ = conn.Close()
			return fail(adapters.Permanent, errors.New("mem dials only through a mem.Link of the same broker"))
		}
		link = mc.link
	}
	e := newEnd(b, link, c)
	e.address = name
	if err := e.greet(ctx); err != nil {
		return fail(adapters.Lost, err)
	}
	if want := b.opts.Password; want != "" && c.Credentials.Password.Reveal() != want {
		e.close()
		return fail(adapters.Denied, fmt.Errorf("wrong password for user %q", c.Credentials.User))
	}
	return e, nil
}

// names are the brokers that c means.
func names(c adapters.Config) []string {
	if len(c.Addresses) > 0 {
		return c.Addresses
	}
	return []string{c.Name}
}

// withDefaults leaves Dial nil: without one there is no network to go through.
func withDefaults(c adapters.Config) adapters.Config {
	dial := c.Dial
	c = c.WithDefaults()
	c.Dial = dial
	return c
}

// clone copies m so deeply that nothing the sender does later reaches it.
func clone(m *adapters.Message) *adapters.Message {
	c := m.Clone()
	c.Body.Data = slices.Clone(m.Body.Data)
	c.Body.Cuts = slices.Clone(m.Body.Cuts)
	c.Key = slices.Clone(m.Key)
	c.UserID = slices.Clone(m.UserID)
	c.ID.B = slices.Clone(m.ID.B)
	c.Corr.B = slices.Clone(m.Corr.B)
	return c
}

// silence is how long a dead peer stays unnoticed.
func silence(c adapters.Config) time.Duration { return 3 * c.Heartbeat }
