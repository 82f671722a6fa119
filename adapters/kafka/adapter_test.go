package kafka

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

func TestCheckNamesWhatIsWrong(t *testing.T) {
	good := adapters.Config{Addresses: []string{"k1.example.com:9092"}}
	end := adapters.Address{Broker: "k", Form: adapters.Topic, Name: "orders"}
	for want, change := range map[string]func(*adapters.Config, *adapters.Address){
		"":                          func(*adapters.Config, *adapters.Address) {},
		"addresses: none":           func(c *adapters.Config, _ *adapters.Address) { c.Addresses = nil },
		"kafka://k1:9092":           func(c *adapters.Config, _ *adapters.Address) { c.Addresses = []string{"kafka://k1:9092"} },
		"compression: unknown":      func(c *adapters.Config, _ *adapters.Address) { c.Options = adapters.Options{"compression": "zip"} },
		"start_at: unknown":         func(c *adapters.Config, _ *adapters.Address) { c.Options = adapters.Options{"start_at": "now"} },
		"state_topic: \"a/b\"":      func(c *adapters.Config, _ *adapters.Address) { c.Options = adapters.Options{"state_topic": "a/b"} },
		"state_topic: topic orders": func(c *adapters.Config, _ *adapters.Address) { c.Options = adapters.Options{"state_topic": "orders"} },
		"offsets_topic: unknown":    func(c *adapters.Config, _ *adapters.Address) { c.Options = adapters.Options{"offsets_topic": "x"} },
		"group: not a name":         func(_ *adapters.Config, a *adapters.Address) { a.Options = adapters.Options{"group": ""} },
		"exclusive: unknown key":    func(_ *adapters.Config, a *adapters.Address) { a.Options = adapters.Options{"exclusive": true} },
		"queue: Kafka has no":       func(_ *adapters.Config, a *adapters.Address) { a.Form = adapters.Queue },
		"topic: \"a/b\" is no":      func(_ *adapters.Config, a *adapters.Address) { a.Name = "a/b" },
		"credentials.mechanism: plain needs": func(c *adapters.Config, _ *adapters.Address) {
			c.Credentials.User = "u"
		},
		"credentials.mechanism: unknown": func(c *adapters.Config, _ *adapters.Address) { c.Credentials.Mechanism = "gssapi" },
		"credentials.token:":             func(c *adapters.Config, _ *adapters.Address) { c.Credentials.Mechanism = "oauthbearer" },
		"credentials.mechanism: external": func(c *adapters.Config, _ *adapters.Address) {
			c.Credentials.Mechanism = "external"
		},
	} {
		c, a := good, end
		change(&c, &a)
		err := New().Check(c, a)
		if want == "" {
			if err != nil {
				t.Errorf("a good configuration: %v", err)
			}
			continue
		}
		var oe *adapters.OptionError
		if !errors.As(err, &oe) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestNamesInTheGroup(t *testing.T) {
	topic := adapters.Address{Name: "orders"}
	own := adapters.Address{Name: "orders", Options: adapters.Options{"group": "billing"}}
	long := adapters.Address{Name: strings.Repeat("x", 249)}
	for _, c := range []struct {
		client   string
		options  adapters.Options
		at       adapters.Address
		group    string
		instance string
	}{
		{"paris.to-berlin", nil, topic, "posthouse.to-berlin", "paris.to-berlin.orders"},
		{"paris.a.b", adapters.Options{"group": "eu"}, topic, "eu.a.b", "paris.a.b.orders"},
		{"paris.r", adapters.Options{"group": "eu"}, own, "billing", "paris.r.orders"},
		{"", nil, topic, "posthouse", ""},
		{"paris.r", nil, long, "posthouse.r", ""},
	} {
		cfg := adapters.Config{Client: c.client, Options: c.options}
		if got := groupOf(cfg, c.at); got != c.group {
			t.Errorf("group of %q: got %q, want %q", c.client, got, c.group)
		}
		got := instanceOf(cfg, c.at)
		if len(got) > 249 || len(c.at.Name) < 200 && got != c.instance {
			t.Errorf("instance of %q: got %q (%d bytes), want %q", c.client, got, len(got), c.instance)
		}
	}
	a, b := adapters.Config{Client: "a/r"}, adapters.Config{Client: "a_r"}
	if instanceOf(a, topic) == instanceOf(b, topic) {
		t.Error("two clients that differ in a sign that Kafka does not allow have one name")
	}
}

func TestKinds(t *testing.T) {
	at := adapters.Address{Broker: "k", Name: "orders"}
	for _, c := range []struct {
		err  error
		kind adapters.Kind
		text string
	}{
		{sarama.ErrMessageSizeTooLarge, adapters.Permanent, "max.message.bytes"},
		{sarama.ErrInvalidRecord, adapters.Permanent, "compacted"},
		{sarama.ErrInvalidTimestamp, adapters.Permanent, "timestamp"},
		{sarama.ErrTopicAuthorizationFailed, adapters.Denied, "no right to this topic"},
		{sarama.ErrGroupAuthorizationFailed, adapters.Denied, "consumer group"},
		{sarama.ErrSASLAuthenticationFailed, adapters.Denied, "user and password"},
		{sarama.ErrFencedInstancedId, adapters.Denied, "another process"},
		{sarama.ErrOffsetOutOfRange, adapters.Denied, "--reset-offsets"},
		{sarama.ErrUnknownTopicOrPartition, adapters.NotFound, "no such topic"},
		{sarama.ErrNotEnoughReplicas, adapters.Transient, "min.insync.replicas"},
		{sarama.ErrNotLeaderForPartition, adapters.Lost, ""},
		{sarama.ErrIllegalGeneration, adapters.Lost, ""},
		{sarama.Wrap(sarama.ErrOutOfBrokers, sarama.ErrSASLAuthenticationFailed), adapters.Denied, "user and password"},
		{sarama.Wrap(sarama.ErrSASLAuthenticationFailed, io.EOF), adapters.Denied, "user and password"},
		{fmt.Errorf("x: %w", errLogin), adapters.Denied, "during the login"},
		{errFrame, adapters.Denied, "max_message_size"},
		{io.EOF, adapters.Lost, "EOF"},
		{x509.UnknownAuthorityError{}, adapters.Denied, "tls.ca_file"},
		{x509.HostnameError{Certificate: &x509.Certificate{}}, adapters.Denied, "tls.server_name"},
		{x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}, adapters.Denied, "valid only from"},
		{errors.New("remote error: tls: bad certificate"), adapters.Denied, "tls.cert_file"},
		{&adapters.Error{Op: "read", Kind: adapters.Permanent, Err: io.EOF}, adapters.Permanent, "EOF"},
	} {
		got := classify("send", at, c.err)
		if got.Kind != c.kind || !strings.Contains(got.Error(), c.text) {
			t.Errorf("%v: got %v %q, want %v and %q", c.err, got.Kind, got, c.kind, c.text)
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%v: the cause is gone", c.err)
		}
	}
}

func TestConnectionBoundsResponses(t *testing.T) {
	c := &conn{net: &network{maxFrame: 10}}
	for _, b := range [][]byte{{0, 0}, {0, 10, 1, 2, 3, 4, 5}, {6, 7, 8, 9, 10, 0, 0, 0}, {1, 1, 0}} {
		if err := c.measure(b); err != nil {
			t.Fatalf("within the bound: %v", err)
		}
	}
	if err := c.measure([]byte{0, 0, 11, 1}); !errors.Is(err, errFrame) {
		t.Fatalf("beyond the bound: got %v", err)
	}
}
