package broker

import (
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/posthouse/posthouse/adapters/adaptertest"
)

func kafkaClient(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func makeTopic(t *testing.T, c *kgo.Client, name string) {
	t.Helper()
	if _, err := kadm.NewClient(c).CreateTopic(deadline(t), 1, 1, nil, name); err != nil {
		t.Fatalf("create topic %s: %v", name, err)
	}
}

func TestKafkaKeepsRecordsOverKill(t *testing.T) {
	b := Private(t, Kafka)
	seed := kgo.SeedBrokers(b.Env()[EnvKafka])
	c := kafkaClient(t, seed, kgo.ConsumeTopics("kept"))
	makeTopic(t, c, "kept")
	if err := c.ProduceSync(deadline(t), &kgo.Record{Topic: "kept", Value: []byte("over the crash")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.Kill()
	if b.Alive() {
		t.Fatal("alive after Kill")
	}
	if err := b.Restart(deadline(t)); err != nil {
		t.Fatal(err)
	}
	records := kafkaClient(t, seed, kgo.ConsumeTopics("kept")).PollFetches(deadline(t)).Records()
	if len(records) != 1 || string(records[0].Value) != "over the crash" {
		t.Errorf("got %v, want the record of before", records)
	}
}

// TestKafkaVia: a client that begins at the address of Via is sent nowhere else, and loses the broker with it.
func TestKafkaVia(t *testing.T) {
	proxy := adaptertest.NewProxy(t)
	b := PrivateVia(t, Kafka, proxy.Relay)
	c := kafkaClient(t, kgo.SeedBrokers(b.Env()[EnvKafkaVia]), kgo.RequestRetries(0))
	brokers, err := kadm.NewClient(c).ListBrokers(deadline(t))
	if err != nil || len(brokers) != 1 {
		t.Fatalf("%v, %v", brokers, err)
	}
	if got := net.JoinHostPort(brokers[0].Host, fmt.Sprint(brokers[0].Port)); got != b.Env()[EnvKafkaVia] {
		t.Errorf("the broker says it is at %s, want %s", got, b.Env()[EnvKafkaVia])
	}
	proxy.Refuse()
	proxy.Cut()
	if err := c.Ping(deadline(t)); err == nil {
		t.Error("reached the broker round the proxy")
	}
	if err := kafkaClient(t, kgo.SeedBrokers(b.Env()[EnvKafka])).Ping(deadline(t)); err != nil {
		t.Errorf("the other listeners: %v", err)
	}
}

func TestKafkaListeners(t *testing.T) {
	Need(t, Kafka, EnvKafkaSASL, EnvKafkaTLS, EnvTLSDir)
	secured := kgo.SeedBrokers(os.Getenv(EnvKafkaSASL))
	dir := os.Getenv(EnvTLSDir)
	scramAuth := scram.Auth{User: User, Pass: Password}
	for name, opts := range map[string][]kgo.Opt{
		"plaintext":     {kgo.SeedBrokers(os.Getenv(EnvKafka))},
		"PLAIN":         {secured, kgo.SASL(plain.Auth{User: User, Pass: Password}.AsMechanism())},
		"SCRAM-SHA-256": {secured, kgo.SASL(scramAuth.AsSha256Mechanism())},
		"SCRAM-SHA-512": {secured, kgo.SASL(scramAuth.AsSha512Mechanism())},
		"TLS":           {kgo.SeedBrokers(os.Getenv(EnvKafkaTLS)), kgo.DialTLSConfig(tlsConfig(t, dir, FileClient, FileClientKey))},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := kadm.NewClient(kafkaClient(t, opts...)).ListTopics(deadline(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
	bad := func(mechanism sasl.Mechanism) []kgo.Opt { return []kgo.Opt{secured, kgo.SASL(mechanism)} }
	for name, opts := range map[string][]kgo.Opt{
		"wrong PLAIN password": bad(plain.Auth{User: User, Pass: "wrong"}.AsMechanism()),
		"wrong SCRAM password": bad(scram.Auth{User: User, Pass: "wrong"}.AsSha256Mechanism()),
		"no certificate":       {kgo.SeedBrokers(os.Getenv(EnvKafkaTLS)), kgo.DialTLSConfig(tlsConfig(t, dir, "", ""))},
		"expired":              {kgo.SeedBrokers(os.Getenv(EnvKafkaTLS)), kgo.DialTLSConfig(tlsConfig(t, dir, FileExpired, FileExpiredKey))},
	} {
		t.Run(name, func(t *testing.T) {
			if err := kafkaClient(t, append(opts, kgo.RequestRetries(0))...).Ping(deadline(t)); err == nil {
				t.Fatal("let in")
			}
		})
	}
}
