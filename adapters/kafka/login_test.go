package kafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"github.com/posthouse/posthouse/adapters"
)

// TestConversation: against the server's side of RFC 5802, whose proof is checked, too.
func TestConversation(t *testing.T) {
	for name, hash := range map[string]scram.HashGeneratorFcn{"SHA-256": scram.SHA256, "SHA-512": scram.SHA512} {
		known, err := hash.NewClient("u", "right", "")
		if err != nil {
			t.Fatal(err)
		}
		stored, err := known.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt-of-16-bytes", Iters: 4096})
		if err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{"right", "wrong"} {
			server, err := hash.NewServer(func(user string) (scram.StoredCredentials, error) {
				if user != "u" {
					return scram.StoredCredentials{}, errors.New("nobody")
				}
				return stored, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			c, s := &conversation{hash: hash}, server.NewConversation()
			if err := c.Begin("u", password, ""); err != nil {
				t.Fatal(err)
			}
			challenge, failed := "", error(nil)
			for failed == nil && !c.Done() {
				var answer string
				if answer, failed = c.Step(challenge); failed == nil && !c.Done() {
					challenge, failed = s.Step(answer)
				}
			}
			if good := password == "right"; (failed == nil) != good || s.Valid() != good {
				t.Errorf("%s with the %s password: %v, the server holds it %v", name, password, failed, s.Valid())
			}
		}
	}
	if err := (&conversation{hash: scram.SHA256}).Begin("u", "bell\a", ""); err == nil {
		t.Error("a password that RFC 4013 forbids is taken")
	}
}

// TestMechanisms: what the credentials mean, and what the client library is told of them.
func TestMechanisms(t *testing.T) {
	secret := adapters.NewSecret("s")
	for _, c := range []struct {
		give    adapters.Credentials
		want    string
		enabled bool
	}{
		{adapters.Credentials{}, "", false},
		{adapters.Credentials{User: "u", Password: secret}, sarama.SASLTypePlaintext, true},
		{adapters.Credentials{Mechanism: "scram-sha-256", User: "u", Password: secret}, sarama.SASLTypeSCRAMSHA256, true},
		{adapters.Credentials{Mechanism: "scram-sha-512", User: "u", Password: secret}, sarama.SASLTypeSCRAMSHA512, true},
		{adapters.Credentials{Token: secret}, sarama.SASLTypeOAuth, true},
		{adapters.Credentials{Mechanism: "external"}, "", false},
	} {
		k := sarama.NewConfig()
		login(k, c.give)
		if k.Net.SASL.Enable != c.enabled || string(k.Net.SASL.Mechanism) != c.want {
			t.Errorf("%+v: got %v %q, want %v %q", c.give, k.Net.SASL.Enable, k.Net.SASL.Mechanism, c.enabled, c.want)
		}
		if err := k.Validate(); err != nil {
			t.Errorf("%+v: %v", c.give, err)
		}
	}
}

// TestNoVerdictRepeats: what the producer repeats by itself is never a refusal of the message, or a message would be set
// aside that the next attempt delivers; and every code has words where an operator has to act.
func TestNoVerdictRepeats(t *testing.T) {
	for code := sarama.KError(-1); code < 120; code++ {
		v := verdictOf(code)
		if repeated(code) && v.kind == adapters.Permanent {
			t.Errorf("%v is repeated and a refusal", code)
		}
		switch v.kind {
		case adapters.Denied, adapters.Permanent, adapters.NotFound:
			if len(strings.Fields(v.words)) < 3 {
				t.Errorf("%v: %q says too little", code, v.words)
			}
		case adapters.Transient, adapters.Lost:
		default:
			t.Errorf("%v is %v", code, v.kind)
		}
	}
}

// TestOwnTopic: whose position it is, by the topic's id in the commit.
func TestOwnTopic(t *testing.T) {
	s := newSource(adapters.Config{}.WithDefaults(), adapters.Address{Broker: "k", Name: "orders"}, facts{topicID: "new"})
	for metadata, lost := range map[string]bool{
		"": false, "another tool's note": false, metadataPrefix + "new": false, metadataPrefix + "old": true, metadataPrefix: true,
	} {
		err := s.sameTopic(3, metadata)
		if (err != nil) != lost || lost && (!errors.Is(err, errPosition) || adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), "partition 3")) {
			t.Errorf("metadata %q: got %v, lost %v", metadata, err, lost)
		}
	}
	s.facts.topicID = "" // a broker that has no ids
	if err := s.sameTopic(3, metadataPrefix+"old"); err != nil {
		t.Errorf("without topic ids: %v", err)
	}
}
