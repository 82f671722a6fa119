// Package amqp connects Posthouse to brokers that speak AMQP 1.0: ActiveMQ Artemis, RabbitMQ, Qpid, Azure Service Bus,
// IBM MQ's AMQP channel, and others by the standard alone.
//
// # What it connects to
//
// Addresses are amqp://host:port (default port 5672) and amqps://host:port (5671). Login is SASL PLAIN, EXTERNAL (the
// client certificate) or ANONYMOUS. Each end has a connection, a session and an AMQP link of its own. Brokers differ;
// the differences are the switches of a profile, chosen by the option `dialect` or, without it, by what the broker says
// of itself. A topic is a source only with a subscription, which is durable and shared; RabbitMQ 4 has topics as targets
// only (routing keys of amq.topic).
//
// # Settle
//
// Each delivery by itself, many in one frame. On RabbitMQ the outcome is sent unsettled and Settle waits until the broker
// has settled it. Elsewhere the receiver settles first: nil from Settle means that the frame was written, not that the
// broker has recorded it (AMQP 1.0 part 2, section 2.7.3, rcv-settle-mode; Artemis knows no other mode). Released gives
// the message back without counting a failure.
//
// # Send
//
// Pipelined, unsettled until the broker's outcome. Outcomes are collected in order by whoever waits. On Artemis the
// Track.ID goes along as duplicate id, so that a message sent twice inside the broker's window is taken once.
//
// A message with a Dest goes there over an AMQP link of its own on the same session; at most 256 are kept. RabbitMQ answers
// a queue that is not there with the end of the session, so the target is Lost then, beside the refusal of the message.
// Artemis makes a queue that is not there, unless auto-create-queues is off.
//
// # Order
//
// The order of Post is the order on the wire, and a queue keeps it. A refused message does not stop those behind it.
//
// # Errors
//
// One table in errors.go turns error conditions into Kinds. After any error of the link, the session or the connection
// the end is spent: Kind Lost. A broker that gives no credit for Limits.Confirm is Full. One that does not answer for a
// message within Limits.Confirm, or is silent for two heartbeats, is Lost.
//
// # Limits
//
// At most Limits.Prefetch deliveries are unsettled, and about PrefetchBytes of them: credit is given for messages as
// large as the largest recent one. A message larger than Limits.MaxSize is never in memory as a whole: as soon as its
// transfers exceed the limit the connection is cut, whatever the peer has said of its sizes, and the source is Lost with
// that reason. The message stays at the broker and comes again when the source is opened again, at the pace of the
// caller's backoff, until an operator raises the limit or takes it away; most brokers count such a delivery as failed
// and set the message aside after some attempts (Artemis: max-delivery-attempts, 10).
package amqp

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// Adapter opens ends at AMQP 1.0 brokers. It has no state.
type Adapter struct{}

// New returns the adapter.
func New() *Adapter { return &Adapter{} }

var (
	_ adapters.Adapter   = (*Adapter)(nil)
	_ adapters.Pinger    = (*Adapter)(nil)
	_ adapters.Poster    = (*target)(nil)
	_ adapters.Source    = (*source)(nil)
	_ adapters.Prober    = (*target)(nil)
	_ adapters.Prober    = (*source)(nil)
	_ adapters.Described = (*target)(nil)
	_ adapters.Described = (*source)(nil)
)

// Kind is "amqp".
func (*Adapter) Kind() string { return "amqp" }

// keyWindow is the broker option that states how many ids an address of Artemis remembers (id-cache-size). It changes
// nothing here: whoever promises to send once compares it with how much may be on its way.
const keyWindow = "duplicate_window"

const keyConvention = "convention"

// dialects are the values of the option dialect.
func dialects() []string {
	return []string{"artemis", "rabbitmq", "servicebus", "qpid", "ibmmq", "generic"}
}

// Capabilities are those of the configured dialect. Without one they are what every broker can do, except that bodies
// of every shape are claimed: the broker is known when the end is open, and a shape it cannot take is Permanent then.
func (*Adapter) Capabilities(c adapters.Config) adapters.Capabilities {
	dialect := c.Options.String("dialect", "")
	p := profileOf(dialect)
	switch dialect {
	case "":
		p = generic()
		p.bodies = allBodies()
	case "rabbitmq":
		p = rabbitmq4()
	}
	caps := adapters.Capabilities{
		Sources: []adapters.Form{adapters.Queue}, Targets: []adapters.Form{adapters.Queue},
		Settle: adapters.Each, SettleConfirmed: p.confirms, Attempts: p.counting, RejectAside: p.rejectAside, Order: adapters.OrderPerAddress, Directed: true,
		Durable: true, Target: adapters.ClassNone, Source: adapters.SourceNone,
		Headers: conventional(headersOf(p), c.Options.String(keyConvention, plain)),
	}
	if p.topicSource {
		caps.Sources = append(caps.Sources, adapters.Topic)
	}
	if p.topicTarget {
		caps.Targets = append(caps.Targets, adapters.Topic)
	}
	if p.dupID {
		caps.Target = adapters.ClassWindow
	}
	return caps
}

// headersOf states what a profile holds natively (headers.md, section 3, column AMQP 1.0).
func headersOf(p *profile) adapters.Headers {
	h := adapters.Headers{
		Protocol: "amqp",
		Fields: adapters.FieldID | adapters.FieldCorr | adapters.FieldReplyTo | adapters.FieldType | adapters.FieldContentType |
			adapters.FieldContentEncoding | adapters.FieldCreated | adapters.FieldExpires | adapters.FieldPriority |
			adapters.FieldDurable | adapters.FieldGroup | adapters.FieldReplyGroup,
		IDs: adapters.IDSet(adapters.IDString, adapters.IDBytes),
		Types: adapters.Types(adapters.TNull, adapters.TBool, adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64,
			adapters.TU8, adapters.TU16, adapters.TU32, adapters.TU64, adapters.TF32, adapters.TF64, adapters.TString,
			adapters.TSymbol, adapters.TChar, adapters.TBytes, adapters.TTime, adapters.TUUID, adapters.TDecimal),
		NullValues: true, Bodies: p.bodies, Cuts: true,
		ExpiryUnit: 1, MaxExpiry: math.MaxUint32, CreatedUnit: 1, MaxPriority: 255, Reserved: p.reserved,
	}
	if p.allIDs {
		h.IDs = adapters.IDSet(adapters.IDString, adapters.IDBytes, adapters.IDUUID, adapters.IDULong)
	}
	if p.annotations {
		h.Fields |= adapters.FieldAnnotations | adapters.FieldFooter | adapters.FieldDeliverAt
	}
	if p.userID {
		h.Fields |= adapters.FieldUserID
	}
	if p.partitionKey {
		h.Fields |= adapters.FieldKey
	}
	return h
}

// Check looks at the configuration alone.
func (a *Adapter) Check(c adapters.Config, as ...adapters.Address) error {
	errs := []error{c.Options.Unknown("dialect", keyWindow, keyConvention), checkDialect(c), checkConvention(c), checkWindow(c), checkLogin(c), checkEndpoints(c)}
	for _, at := range as {
		errs = append(errs, a.checkAddress(c, at))
	}
	return errors.Join(errs...)
}

// hideUser keeps a password that somebody wrote into an address out of the diagnostic.
func hideUser(text string) string {
	if i := strings.LastIndex(text, "@"); i >= 0 {
		scheme, _, _ := strings.Cut(text, "://")
		return scheme + "://…" + text[i:]
	}
	return text
}

func checkEndpoints(c adapters.Config) error {
	if len(c.Addresses) == 0 {
		return &adapters.OptionError{Key: "addresses", Problem: "none given", Help: "write at least one amqp://host:port"}
	}
	var errs []error
	for _, text := range c.Addresses {
		if _, err := parseEndpoint(text); err != nil {
			errs = append(errs, &adapters.OptionError{Key: "addresses", Problem: fmt.Sprintf("%q %v", hideUser(text), err)})
		}
	}
	return errors.Join(errs...)
}

func checkDialect(c adapters.Config) error {
	v, ok := c.Options["dialect"]
	if !ok || slices.Contains(dialects(), c.Options.String("dialect", "")) {
		return nil
	}
	return &adapters.OptionError{Key: "dialect", Problem: fmt.Sprintf("unknown dialect %q", v),
		Help: "write one of " + strings.Join(dialects(), ", ") + ", or leave it out: the broker tells"}
}

func checkWindow(c adapters.Config) error {
	v, ok := c.Options[keyWindow]
	if !ok {
		return nil
	}
	if n := c.Options.Int(keyWindow, 0); n < 1 {
		return &adapters.OptionError{Key: keyWindow, Problem: fmt.Sprintf("%v is not a number of ids", v),
			Help: "write the broker's id-cache-size, 1 or more"}
	}
	if d := c.Options.String("dialect", ""); d != "artemis" {
		return &adapters.OptionError{Key: keyWindow, Problem: "only Artemis remembers a number of ids",
			Help: "write dialect: artemis beside it, or take it away"}
	}
	return nil
}

func checkLogin(c adapters.Config) error {
	cr := c.Credentials
	switch mechanism(cr) {
	case "plain":
		if cr.User == "" {
			return &adapters.OptionError{Key: "credentials.user", Problem: "missing for mechanism plain", Help: "write a user, or mechanism: anonymous"}
		}
	case "external":
		if c.TLS.CertFile == "" {
			return &adapters.OptionError{Key: "tls.cert_file", Problem: "missing for mechanism external", Help: "external logs in with the client certificate"}
		}
	case "anonymous":
	default:
		return &adapters.OptionError{Key: "credentials.mechanism", Problem: fmt.Sprintf("unknown mechanism %q", cr.Mechanism),
			Help: "write plain, external or anonymous"}
	}
	return nil
}

func (a *Adapter) checkAddress(c adapters.Config, at adapters.Address) error {
	errs := []error{at.Options.Unknown("subscription", "exclusive", adapters.KeyUniqueIDs)}
	bad := func(key, problem, help string) {
		errs = append(errs, &adapters.OptionError{Key: key, Problem: problem, Help: help})
	}
	sub := at.Options.String("subscription", "")
	switch {
	case at.Name == "":
		bad(string(at.Form), "the name is empty", "write the name of a queue or topic")
	case at.Form != adapters.Queue && at.Form != adapters.Topic:
		bad(string(at.Form), "AMQP has no such end", "write queue or topic")
	case at.Form == adapters.Queue && sub != "":
		bad("subscription", "a queue has no subscription", "write topic, or take it away")
	case strings.ContainsAny(sub, "|:"):
		bad("subscription", fmt.Sprintf("%q holds | or :", sub), "brokers use these to join names")
	case sub != "" && c.Options.String("dialect", "") == "rabbitmq":
		bad("subscription", "RabbitMQ has no subscriptions over AMQP 1.0", "bind a queue to amq.topic and read the queue")
	}
	if at.Options.Bool("exclusive", false) {
		bad("exclusive", "AMQP 1.0 has no exclusive receiver", "make the queue exclusive at the broker (Artemis: exclusive=true; RabbitMQ: x-single-active-consumer)")
	}
	return errors.Join(errs...)
}

// OpenSource connects and attaches a receiver.
func (a *Adapter) OpenSource(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Source, error) {
	c = c.WithDefaults()
	if err := a.ready(c, at); err != nil {
		return nil, err
	}
	if at.Form == adapters.Topic && at.Options.String("subscription", "") == "" {
		return nil, &adapters.Error{Op: "attach", Addr: at, Kind: adapters.Permanent,
			Err: errors.New("a topic can be read only with a subscription: what is sent while nobody listens would be lost")}
	}
	s, err := a.openSource(ctx, c, at)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OpenTarget connects and attaches a sender.
func (a *Adapter) OpenTarget(ctx context.Context, c adapters.Config, at adapters.Address) (adapters.Target, error) {
	c = c.WithDefaults()
	if err := a.ready(c, at); err != nil {
		return nil, err
	}
	t, err := a.openTarget(ctx, c, at)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (a *Adapter) ready(c adapters.Config, at adapters.Address) error {
	if err := a.Check(c, at); err != nil {
		return &adapters.Error{Op: "connect", Addr: at, Kind: adapters.Permanent, Err: err}
	}
	return nil
}

// Ping connects, logs in, attaches to each address without credit, which moves no message, and disconnects. Whether an
// address is a source or a target is not known here: it is enough that one of both is allowed.
func (a *Adapter) Ping(ctx context.Context, c adapters.Config, as ...adapters.Address) (adapters.Peer, error) {
	c = c.WithDefaults()
	if err := a.Check(c, as...); err != nil {
		return adapters.Peer{}, &adapters.Error{Op: "connect", Addr: adapters.Address{Broker: c.Name}, Kind: adapters.Permanent, Err: err}
	}
	l, err := connect(ctx, c, adapters.Address{Broker: c.Name})
	if err != nil {
		return adapters.Peer{}, err
	}
	_ = l.close()
	for _, at := range as {
		if err := a.pingAddress(ctx, c, at); err != nil {
			return l.peer, err
		}
	}
	return l.peer, nil
}

func (a *Adapter) pingAddress(ctx context.Context, c adapters.Config, at adapters.Address) error {
	t, denied := a.openTarget(ctx, c, at)
	if denied == nil {
		return t.Close()
	}
	if adapters.KindOf(denied) != adapters.Denied || at.Form != adapters.Queue {
		return denied
	}
	l, err := connect(ctx, c, at)
	if err != nil {
		return err
	}
	defer l.close()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if _, err := l.session.NewReceiver(ctx, l.p.address(at, true), l.receiverOptions()); err != nil {
		return denied
	}
	return nil
}
