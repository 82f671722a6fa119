package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// maxRecord is the largest message in bytes that the client library can carry: it refuses requests beyond 100 MiB.
const maxRecord = 96 << 20

// Keys of Config.Options and of Address.Options.
const (
	keyGroup       = "group"
	keyCompression = "compression"
	keyStartAt     = "start_at"
	keyStateTopic  = "state_topic"
	keyConvention  = "convention"
)

const (
	defaultGroup      = "posthouse"
	defaultStateTopic = "posthouse-state"
)

// Adapter opens topics of Kafka. It is safe for concurrent use.
type Adapter struct{}

var (
	_ adapters.TxAdapter = (*Adapter)(nil)
	_ adapters.Pinger    = (*Adapter)(nil)
)

// New returns the adapter. It bounds, once for the process, what one compressed batch may unpack to: sarama keeps that
// bound in a variable of its own.
func New() *Adapter {
	boundUnpacking()
	return &Adapter{}
}

var boundUnpacking = sync.OnceFunc(func() {
	if sarama.MaxDecompressedBatchSize == 0 {
		sarama.MaxDecompressedBatchSize = sarama.MaxResponseSize
	}
})

// Kind is "kafka".
func (*Adapter) Kind() string { return "kafka" }

// Capabilities are the same for every configuration, but for what the convention says of headers.
func (*Adapter) Capabilities(c adapters.Config) adapters.Capabilities {
	return adapters.Capabilities{
		Sources: []adapters.Form{adapters.Topic}, Targets: []adapters.Form{adapters.Topic},
		Settle: adapters.Prefix, SettleConfirmed: true, Attempts: adapters.CountNone, Order: adapters.OrderPerKey,
		Directed: true, Dynamic: true, Durable: true, Target: adapters.ClassTx, Source: adapters.SourcePosition,
		Headers: headers(c.Options.String(keyConvention, plainConvention)),
	}
}

// Check looks at options, addresses and credentials without touching network or files.
func (*Adapter) Check(c adapters.Config, as ...adapters.Address) error {
	errs := []error{c.Options.Unknown(keyGroup, keyCompression, keyStartAt, keyStateTopic, keyConvention), checkConvention(c.Options)}
	if _, err := compression(c.Options); err != nil {
		errs = append(errs, err)
	}
	if _, err := startAt(c.Options); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, checkGroup(c.Options), checkCredentials(c), checkAddresses(c.Addresses))
	errs = append(errs, checkStateTopic(c.Options, as))
	for _, a := range as {
		errs = append(errs, checkEnd(a))
	}
	return errors.Join(errs...)
}

func stateTopic(o adapters.Options) string { return o.String(keyStateTopic, defaultStateTopic) }

// checkStateTopic keeps messages and positions apart.
func checkStateTopic(o adapters.Options, as []adapters.Address) error {
	name := stateTopic(o)
	if v, ok := o[keyStateTopic]; ok && (v != name || !legalTopic(name)) {
		return &adapters.OptionError{Key: keyStateTopic, Problem: fmt.Sprintf("%q is no name of a topic", fmt.Sprint(v)), Help: "1 to 249 of a-z A-Z 0-9 . _ -"}
	}
	for _, a := range as {
		if a.Name == name && !a.Dynamic {
			return &adapters.OptionError{Key: keyStateTopic, Problem: fmt.Sprintf("topic %s holds the positions of lanes and takes no messages", name),
				Help: "give " + keyStateTopic + " of this broker another name"}
		}
	}
	return nil
}

func checkEnd(a adapters.Address) error {
	errs := []error{a.Options.Unknown(keyGroup, keyStartAt), checkGroup(a.Options)}
	if _, err := startAt(a.Options); err != nil {
		errs = append(errs, err)
	}
	if a.Form != adapters.Topic {
		errs = append(errs, &adapters.OptionError{Key: string(a.Form), Problem: fmt.Sprintf("Kafka has no %s", a.Form), Help: "write topic"})
	}
	if !legalTopic(a.Name) && !(a.Dynamic && (a.Name == "" || legalTopic(a.Name+"x"))) {
		errs = append(errs, &adapters.OptionError{Key: "topic", Problem: fmt.Sprintf("%q is no name of a topic", a.Name),
			Help: "1 to 249 of a-z A-Z 0-9 . _ -"})
	}
	return errors.Join(errs...)
}

func legalTopic(name string) bool {
	return name != "." && name != ".." && regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`).MatchString(name)
}

func checkAddresses(as []string) error {
	if len(as) == 0 {
		return &adapters.OptionError{Key: "addresses", Problem: "none given", Help: "list at least one HOST:PORT"}
	}
	var errs []error
	for _, a := range as {
		host, port, err := net.SplitHostPort(a)
		n, bad := strconv.Atoi(port)
		if err != nil || host == "" || bad != nil || n < 1 || n > 65535 || strings.Contains(a, "/") {
			errs = append(errs, &adapters.OptionError{Key: "addresses", Problem: fmt.Sprintf("%q is not HOST:PORT", a),
				Help: "write kafka1.example.com:9092, without a scheme; a tls section turns TLS on"})
		}
	}
	return errors.Join(errs...)
}

func checkGroup(o adapters.Options) error {
	v, ok := o[keyGroup]
	if s, isText := v.(string); ok && (!isText || s == "") {
		return &adapters.OptionError{Key: keyGroup, Problem: "not a name", Help: "write the name of a consumer group"}
	}
	return nil
}

func compression(o adapters.Options) (sarama.CompressionCodec, error) {
	v, ok := o[keyCompression]
	if !ok {
		return sarama.CompressionNone, nil
	}
	switch v {
	case "none":
		return sarama.CompressionNone, nil
	case "gzip":
		return sarama.CompressionGZIP, nil
	case "snappy":
		return sarama.CompressionSnappy, nil
	case "lz4":
		return sarama.CompressionLZ4, nil
	case "zstd":
		return sarama.CompressionZSTD, nil
	}
	return 0, &adapters.OptionError{Key: keyCompression, Problem: fmt.Sprintf("unknown compression %q", fmt.Sprint(v)),
		Help: "write none, gzip, snappy, lz4 or zstd"}
}

// startAt is where a group without a position begins: the option of the first of os that has one, else oldest.
func startAt(os ...adapters.Options) (int64, error) {
	for _, o := range os {
		v, ok := o[keyStartAt]
		switch {
		case !ok:
		case v == "oldest":
			return sarama.OffsetOldest, nil
		case v == "newest":
			return sarama.OffsetNewest, nil
		default:
			return 0, &adapters.OptionError{Key: keyStartAt, Problem: fmt.Sprintf("unknown position %q", fmt.Sprint(v)),
				Help: "write oldest or newest"}
		}
	}
	return sarama.OffsetOldest, nil
}

// groupOf is the name of the consumer group of a source.
func groupOf(c adapters.Config, a adapters.Address) string {
	if g := a.Options.String(keyGroup, ""); g != "" {
		return g
	}
	g := c.Options.String(keyGroup, defaultGroup)
	route := c.Client
	if _, after, ok := strings.Cut(c.Client, "."); ok {
		route = after
	}
	if route == "" {
		return g
	}
	return g + "." + route
}

// instanceOf is the static member's name (KIP-345): the client and the topic, so that a route that is pointed at another
// topic is a new member and is not given the old one's partitions. Without a client there is no static member.
func instanceOf(c adapters.Config, a adapters.Address) string {
	if c.Client == "" {
		return ""
	}
	name := regexp.MustCompile(`[^a-zA-Z0-9._-]`).ReplaceAllString(c.Client+"."+a.Name, "_")
	if len(name) <= 249 && name == c.Client+"."+a.Name {
		return name
	}
	return shorten(name, c.Client+"."+a.Name)
}

// OpenSource joins the consumer group of c and a, and returns when the group has given it its partitions and each has
// been found at the group's position. Besides the Kinds of the contract: Denied where that position is lost or where
// another process holds the same place in the group.
func (*Adapter) OpenSource(ctx context.Context, c adapters.Config, a adapters.Address) (adapters.Source, error) {
	return openSource(ctx, c.WithDefaults(), a)
}

// OpenTarget connects, looks that the topic is there, and gets an identity for its idempotent producer.
func (*Adapter) OpenTarget(ctx context.Context, c adapters.Config, a adapters.Address) (adapters.Target, error) {
	return openTarget(ctx, c.WithDefaults(), a)
}

// OpenTx is OpenTarget with a transactional producer; see adapters.TxAdapter. The lane's position is kept in the broker's
// state_topic.
func (*Adapter) OpenTx(ctx context.Context, c adapters.Config, a adapters.Address, lane string) (adapters.TxTarget, error) {
	if err := adapters.CheckLane(lane); err != nil {
		return nil, err
	}
	return openTx(ctx, c.WithDefaults(), a, lane)
}

// Ping connects to the first address that answers, logs in, asks for the topics as, and disconnects.
func (*Adapter) Ping(ctx context.Context, c adapters.Config, as ...adapters.Address) (adapters.Peer, error) {
	c = c.WithDefaults()
	n := newNetwork(c, maxResponse(c.Limits, 0))
	defer n.cut()
	facts, err := connect(ctx, c, n, as...)
	if err != nil {
		return adapters.Peer{}, err
	}
	return facts.peer, nil
}
