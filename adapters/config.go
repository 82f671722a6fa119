package adapters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"
)

// Config is everything an adapter needs to know of a broker to open one end of it. It is a value; adapters keep copies
// and change nothing.
type Config struct {
	Name        string   // the broker's name in the file, for errors and logs
	Addresses   []string // tried in this order
	Credentials Credentials
	TLS         TLS
	Heartbeat   time.Duration // a dead peer is noticed within three of these; 0 = 10 s
	Options     Options       // the kind's own keys: dialect, group, compression, embedded

	// Client names the user of the end: REPEATER.ROUTE. Consumer groups, durable names and connection names are made of
	// it, so it must be the same at every start.
	Client string
	Limits Limits

	// Group is set for a source that several daemons share, and equal at all of them: what Client would keep apart, such as
	// the name of a durable consumer, is made of it. "" = nobody shares it.
	Group string

	// Copies says that a source may settle what others still have to read. One where that would take it away from them is
	// Denied, as far as its broker tells.
	Copies bool

	// Once says that the route promises exactly-once. A target that cannot learn whether its broker keeps what the
	// promise rests on is Denied then.
	Once bool

	// Share lets ends use one connection: those that are opened with the same Share, which is not nil, and otherwise equal
	// brokers, addresses, logins and Dial. What happens to one of them is still its own matter; what happens to the
	// connection happens to all. nil = every end has its own. Whether there is any sharing is up to the adapter.
	Share *Share

	// Dial replaces net.Dialer for every connection, TLS included on top of it. nil = the network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Now  func() time.Time // wall time that is written into messages; nil = time.Now
	Log  *slog.Logger     // nil = discard
}

// A Share stands for ends that may use one connection. Its only meaning is its identity.
type Share struct{ _ byte }

// NewShare returns a Share that no other end has.
func NewShare() *Share { return new(Share) }

// Limits bound what an end holds in memory. Zero values mean the default in brackets.
type Limits struct {
	Prefetch      int           // [256] deliveries received and not yet settled
	PrefetchBytes int64         // [64 MiB] bytes of them, as far as the protocol lets a source bound it; one larger message still passes
	InFlight      int           // [256] messages sent and not yet confirmed
	MaxSize       int64         // [64 MiB] bytes of one message, headers included; larger ones are never held whole in memory
	Confirm       time.Duration // [30 s] without an answer to a send the connection is given up: outcome unknown
}

// WithDefaults returns l with its zero values filled in.
func (l Limits) WithDefaults() Limits {
	if l.Prefetch <= 0 {
		l.Prefetch = 256
	}
	if l.PrefetchBytes <= 0 {
		l.PrefetchBytes = 64 << 20
	}
	if l.InFlight <= 0 {
		l.InFlight = 256
	}
	if l.MaxSize <= 0 {
		l.MaxSize = 64 << 20
	}
	if l.Confirm <= 0 {
		l.Confirm = 30 * time.Second
	}
	return l
}

// WithDefaults returns c with heartbeat, limits, dialer, clock and logger filled in.
func (c Config) WithDefaults() Config {
	if c.Heartbeat <= 0 {
		c.Heartbeat = 10 * time.Second
	}
	c.Limits = c.Limits.WithDefaults()
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Credentials are how a client proves who it is.
type Credentials struct {
	Mechanism string // the kind's word: plain, scram-sha-256, scram-sha-512, oauthbearer, external, anonymous; "" = its default
	User      string
	Password  Secret
	Token     Secret // bearer token
}

// Options are keys of a kind of broker or of an end, already typed by the reader of the file: string, bool, int64,
// time.Duration, []string, or Options for a nested object.
type Options map[string]any

// String returns the string under key, or def where there is none.
func (o Options) String(key, def string) string {
	if s, ok := o[key].(string); ok {
		return s
	}
	return def
}

// Bool returns the boolean under key, or def where there is none.
func (o Options) Bool(key string, def bool) bool {
	if b, ok := o[key].(bool); ok {
		return b
	}
	return def
}

// Int returns the integer under key, or def where there is none.
func (o Options) Int(key string, def int64) int64 {
	switch n := o[key].(type) {
	case int64:
		return n
	case int:
		return int64(n)
	}
	return def
}

// Duration returns the duration under key, or def where there is none.
func (o Options) Duration(key string, def time.Duration) time.Duration {
	if d, ok := o[key].(time.Duration); ok {
		return d
	}
	return def
}

// Strings returns the list under key, or nil.
func (o Options) Strings(key string) []string {
	s, _ := o[key].([]string)
	return s
}

// Sub returns the nested object under key, or nil. A present but empty object is not nil.
func (o Options) Sub(key string) Options {
	s, _ := o[key].(Options)
	return s
}

// Unknown returns an *OptionError for every key of o that is not in known, joined, or nil.
func (o Options) Unknown(known ...string) error {
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(known, k) {
			errs = append(errs, &OptionError{Key: k, Problem: "unknown key", Help: fmt.Sprintf("known: %v", known)})
		}
	}
	return errors.Join(errs...)
}

// An OptionError says which key is wrong, what about it, and how to mend it. It never shows a secret's value.
type OptionError struct {
	Key     string // the YAML key, dots for nesting: "tls.cert_file", "dialect", "from.subscription"
	Problem string // "unknown dialect \"artmis\""
	Help    string // "write artemis, rabbitmq, servicebus or generic"
}

func (e *OptionError) Error() string {
	if e.Help == "" {
		return e.Key + ": " + e.Problem
	}
	return e.Key + ": " + e.Problem + " (" + e.Help + ")"
}

// redacted is what every formatting of a Secret prints.
const redacted = "[REDACTED]"

// A Secret is a value that no formatting shows: not String, Format, JSON, YAML, text nor a log record. The zero Secret
// is empty.
type Secret struct{ v string }

// NewSecret keeps v.
func NewSecret(v string) Secret { return Secret{v} }

// Reveal returns the value, for the one place that hands it to a client library.
func (s Secret) Reveal() string { return s.v }

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.v == "" }

// String hides the value.
func (s Secret) String() string { return redacted }

// GoString hides the value.
func (s Secret) GoString() string { return redacted }

// Format hides the value from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText hides the value from JSON, YAML and every other encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalYAML hides the value.
func (s Secret) MarshalYAML() (any, error) { return redacted, nil }

// LogValue hides the value.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
