package amqp

import (
	"crypto/tls"
	"path/filepath"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// tlsConfig is a configuration for the acceptor that wants a client certificate.
func tlsConfig(t *testing.T) (adapters.Config, func(name string) string) {
	h := artemisHarness(t)
	broker.Need(t, broker.Artemis, broker.EnvArtemisTLS, broker.EnvTLSDir)
	file := func(name string) string { return filepath.Join(env(broker.EnvTLSDir), name) }
	c := h.Config(t, nil)
	c.Addresses = []string{env(broker.EnvArtemisTLS)}
	c.TLS = adapters.TLS{On: true, CAFile: file(broker.FileCA), CertFile: file(broker.FileClient), KeyFile: file(broker.FileClientKey)}
	return c, file
}

func TestTLSWithClientCertificate(t *testing.T) {
	c, _ := tlsConfig(t)
	ctx := deadline(t)
	p := artemisHarness(t).Place(t)
	for _, login := range []adapters.Credentials{c.Credentials, {Mechanism: "external"}} {
		c.Credentials = login
		to, err := New().OpenTarget(ctx, c, p.Target)
		if err != nil {
			t.Fatalf("%s: %v", login.Mechanism, err)
		}
		if n, err := to.Send(ctx, []*adapters.Message{body(100_000)}); n != 1 || err != nil {
			t.Errorf("send: %d, %v", n, err)
		}
		from, err := New().OpenSource(ctx, c, p.Source)
		if err != nil {
			t.Fatal(err)
		}
		ds, err := from.Receive(ctx, 1)
		if err != nil || len(ds[0].Message.Body.Data) != 100_000 {
			t.Fatalf("receive: %v", err)
		}
		if err := from.Settle(ctx, adapters.Accepted, ds...); err != nil {
			t.Error(err)
		}
		if err := to.(adapters.Prober).Probe(ctx); err != nil {
			t.Error(err)
		}
		_ = to.Close()
		_ = from.Close()
	}
}

func TestTLSThatFailsSaysWhy(t *testing.T) {
	c, file := tlsConfig(t)
	for name, bad := range map[string]struct {
		change func(*adapters.Config)
		words  string
	}{
		"no client certificate": {func(c *adapters.Config) { c.TLS.CertFile, c.TLS.KeyFile = "", "" }, "client certificate"},
		"certificate of a stranger": {func(c *adapters.Config) {
			c.TLS.CertFile, c.TLS.KeyFile = file(broker.FileStranger), file(broker.FileStrangerKey)
		}, "client certificate"},
		"expired client certificate": {func(c *adapters.Config) {
			c.TLS.CertFile, c.TLS.KeyFile = file(broker.FileExpired), file(broker.FileExpiredKey)
		}, "expired on 20"},
		"unknown CA":       {func(c *adapters.Config) { c.TLS.CAFile = "" }, "tls.ca_file"},
		"another host":     {func(c *adapters.Config) { c.TLS.ServerName = "elsewhere.example" }, "tls.server_name"},
		"no such key file": {func(c *adapters.Config) { c.TLS.KeyFile = file("missing.key") }, "missing.key"},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			bad.change(&c)
			_, err := New().OpenSource(deadline(t), c, queue)
			if k := adapters.KindOf(err); k != adapters.Denied && k != adapters.Permanent {
				t.Errorf("kind %v: %v", k, err)
			}
			wantKind(t, err, adapters.KindOf(err), bad.words)
			t.Log(err)
		})
	}
}

func TestTLSMinimumVersion(t *testing.T) {
	c, _ := tlsConfig(t)
	for _, v := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		c.TLS.MinVersion = v
		if _, err := New().Ping(deadline(t), c); err != nil {
			t.Errorf("minimum %x: %v", v, err)
		}
	}
}
