package kafka

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"github.com/posthouse/posthouse/adapters"
)

// The words of credentials.mechanism.
const (
	mechanismPlain    = "plain"
	mechanismSCRAM256 = "scram-sha-256"
	mechanismSCRAM512 = "scram-sha-512"
	mechanismOAuth    = "oauthbearer"
	mechanismExternal = "external"
)

// mechanism is the one in use: as written, or what the credentials suggest; "" means no login.
func mechanism(c adapters.Credentials) string {
	switch {
	case c.Mechanism != "":
		return c.Mechanism
	case c.User != "":
		return mechanismPlain
	case !c.Token.IsZero():
		return mechanismOAuth
	}
	return ""
}

func checkCredentials(c adapters.Config) error {
	problem := func(key, what, help string) error {
		return &adapters.OptionError{Key: "credentials." + key, Problem: what, Help: help}
	}
	cr := c.Credentials
	switch m := mechanism(cr); m {
	case "":
		return nil
	case mechanismPlain, mechanismSCRAM256, mechanismSCRAM512:
		if cr.User == "" || cr.Password.IsZero() {
			return problem("mechanism", m+" needs user and password", "give both")
		}
	case mechanismOAuth:
		if cr.Token.IsZero() {
			return problem("token", "oauthbearer needs a token", "give one by env or file")
		}
	case mechanismExternal:
		if !c.TLS.On || c.TLS.CertFile == "" {
			return problem("mechanism", "external means a client certificate, and there is none", "give tls.cert_file and tls.key_file")
		}
	default:
		return problem("mechanism", fmt.Sprintf("unknown mechanism %q", m), "write plain, scram-sha-256, scram-sha-512, oauthbearer or external")
	}
	return nil
}

// login sets the SASL part of a configuration.
func login(s *sarama.Config, c adapters.Credentials) {
	sasl := &s.Net.SASL
	switch mechanism(c) {
	case mechanismPlain:
		sasl.Mechanism = sarama.SASLTypePlaintext
	case mechanismSCRAM256:
		sasl.Mechanism = sarama.SASLTypeSCRAMSHA256
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{hash: scram.SHA256} }
	case mechanismSCRAM512:
		sasl.Mechanism = sarama.SASLTypeSCRAMSHA512
		sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{hash: scram.SHA512} }
	case mechanismOAuth:
		sasl.Mechanism = sarama.SASLTypeOAuth
		sasl.TokenProvider = bearer{c.Token}
	default:
		return // no login, or the TLS certificate is the login
	}
	sasl.Enable = true
	sasl.User, sasl.Password = c.User, c.Password.Reveal()
}

// A bearer hands out the configured token (RFC 7628).
type bearer struct{ token adapters.Secret }

// Token is called for every connection.
func (b bearer) Token() (*sarama.AccessToken, error) {
	return &sarama.AccessToken{Token: b.token.Reveal()}, nil
}

// A conversation is one SCRAM exchange (RFC 5802) in the form that sarama wants.
type conversation struct {
	hash scram.HashGeneratorFcn
	conv *scram.ClientConversation
}

// Begin starts the exchange.
func (c *conversation) Begin(user, password, authzID string) error {
	client, err := c.hash.NewClient(user, password, authzID)
	if err != nil {
		return err
	}
	c.conv = client.NewConversation()
	return nil
}

// Step answers one challenge.
func (c *conversation) Step(challenge string) (string, error) { return c.conv.Step(challenge) }

// Done reports whether the exchange is over.
func (c *conversation) Done() bool { return c.conv.Done() }

// shorten makes a name that fits 249 bytes and is different for different originals.
func shorten(name, original string) string {
	sum := sha256.Sum256([]byte(original))
	return name[:min(len(name), 200)] + "-" + hex.EncodeToString(sum[:12])
}
