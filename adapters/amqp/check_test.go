package amqp

import (
	"context"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

func TestCheck(t *testing.T) {
	good := adapters.Config{Addresses: []string{"amqp://a:1", "amqps://b"}, Credentials: adapters.Credentials{User: "u"},
		Options: adapters.Options{"dialect": "artemis", "duplicate_window": int64(20000)}}
	topic := adapters.Address{Form: adapters.Topic, Name: "t", Options: adapters.Options{"subscription": "s"}}
	unique := adapters.Address{Form: adapters.Queue, Name: "q", Options: adapters.Options{"unique_ids": true}}
	if err := New().Check(good, queue, topic, unique); err != nil {
		t.Errorf("good configuration: %v", err)
	}
	for _, c := range []struct {
		name  string
		cfg   func(*adapters.Config)
		at    adapters.Address
		words string
	}{
		{"scheme", func(c *adapters.Config) { c.Addresses = []string{"tcp://a:1"} }, queue, "amqp://host:port"},
		{"user in address", func(c *adapters.Config) { c.Addresses = []string{"amqp://u:canary@a:1"} }, queue, "credentials"},
		{"path", func(c *adapters.Config) { c.Addresses = []string{"amqp://a:1/q"} }, queue, "behind the port"},
		{"no address", func(c *adapters.Config) { c.Addresses = nil }, queue, "addresses"},
		{"dialect", func(c *adapters.Config) { c.Options["dialect"] = "artmis" }, queue, "artemis, rabbitmq"},
		{"window", func(c *adapters.Config) { c.Options["duplicate_window"] = "many" }, queue, "duplicate_window"},
		{"no window", func(c *adapters.Config) { c.Options["duplicate_window"] = int64(0) }, queue, "1 or more"},
		{"window elsewhere", func(c *adapters.Config) {
			c.Options["dialect"], c.Options["duplicate_window"] = "rabbitmq", int64(9)
		}, queue, "dialect: artemis"},
		{"unknown key", func(c *adapters.Config) { c.Options["prefetch"] = 1 }, queue, "prefetch"},
		{"mechanism", func(c *adapters.Config) { c.Credentials.Mechanism = "scram-sha-256" }, queue, "external"},
		{"external without certificate", func(c *adapters.Config) { c.Credentials.Mechanism = "external" }, queue, "tls.cert_file"},
		{"plain without user", func(c *adapters.Config) { c.Credentials = adapters.Credentials{Mechanism: "plain"} }, queue, "credentials.user"},
		{"form", nil, adapters.Address{Form: adapters.Stream, Name: "s"}, "stream"},
		{"empty name", nil, adapters.Address{Form: adapters.Queue}, "empty"},
		{"queue with subscription", nil, adapters.Address{Form: adapters.Queue, Name: "q", Options: topic.Options}, "subscription"},
		{"bar", nil, adapters.Address{Form: adapters.Topic, Name: "t", Options: adapters.Options{"subscription": "a|b"}}, "|"},
		{"exclusive", nil, adapters.Address{Form: adapters.Queue, Name: "q", Options: adapters.Options{"exclusive": true}}, "exclusive"},
		{"rabbitmq topic", func(c *adapters.Config) { c.Options["dialect"] = "rabbitmq" }, topic, "amq.topic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			cfg.Options = adapters.Options{}
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			err := New().Check(cfg, c.at)
			if err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%v, want something with %q", err, c.words)
			}
		})
	}
}

func TestTopicNeedsSubscription(t *testing.T) {
	_, err := New().OpenSource(context.Background(), adapters.Config{Addresses: []string{"amqp://a"}},
		adapters.Address{Form: adapters.Topic, Name: "t"})
	wantKind(t, err, adapters.Permanent, "subscription")
}

func TestProfileIsChosen(t *testing.T) {
	for _, c := range []struct{ dialect, product, version, host, want string }{
		{"", "apache-activemq-artemis", "2.55.0", "", "artemis"},
		{"", "RabbitMQ", "3.10.8", "", "rabbitmq-3"},
		{"", "RabbitMQ", "4.0.5", "", "rabbitmq-4"},
		{"rabbitmq", "", "3.13.0", "", "rabbitmq-3"},
		{"rabbitmq", "RabbitMQ", "4.1.0", "", "rabbitmq-4"},
		{"", "qpid-cpp", "1.39.0", "", "qpid"},
		{"", "IBM MQ Light Listener", "", "", "ibmmq"},
		{"", "", "", "x.servicebus.windows.net", "servicebus"},
		{"", "something", "1", "h", "generic"},
		{"generic", "apache-activemq-artemis", "2", "", "generic"},
		{"artemis", "RabbitMQ", "4", "", "artemis"},
	} {
		if p := choose(c.dialect, c.product, c.version, c.host); p.name != c.want {
			t.Errorf("%+v: %s", c, p.name)
		}
	}
}

func TestAddressForms(t *testing.T) {
	at := func(f adapters.Form, name string) adapters.Address {
		return adapters.Address{Form: f, Name: name, Options: adapters.Options{"subscription": "s"}}
	}
	for _, c := range []struct {
		p      *profile
		a      adapters.Address
		source bool
		want   string
	}{
		{artemis(), at(adapters.Queue, "a b"), true, "a b"},
		{rabbitmq4(), at(adapters.Queue, "a b/ü"), true, "/queues/a%20b%2F%C3%BC"},
		{rabbitmq4(), at(adapters.Topic, "a.b"), false, "/exchanges/amq.topic/a.b"},
		{rabbitmq4(), at(adapters.Queue, "/exchanges/e/k"), false, "/exchanges/e/k"},
		{rabbitmq3(), at(adapters.Queue, "q"), false, "q"},
		{serviceBus(), at(adapters.Topic, "t"), true, "t/Subscriptions/s"},
		{serviceBus(), at(adapters.Topic, "t"), false, "t"},
	} {
		if got := c.p.address(c.a, c.source); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.p.name, c.a.Name, got, c.want)
		}
	}
}
