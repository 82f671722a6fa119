package kafka

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/posthouse/posthouse/adapters"
)

// through sends a message and receives it.
func through(t *testing.T, c adapters.Config, a adapters.Address) {
	t.Helper()
	tg := mustTarget(t, c, a)
	if _, err := tg.Send(limited(t), texts(0, 3)); err != nil {
		t.Fatalf("send: %v", err)
	}
	s := mustSource(t, c, a)
	ds := mustReceive(t, s, 3)
	mustSettle(t, s, adapters.Accepted, ds...)
	for _, p := range []adapters.Prober{tg, s.(adapters.Prober)} {
		if err := p.Probe(limited(t)); err != nil {
			t.Errorf("probe: %v", err)
		}
	}
}

// wantDenied opens both ends, which must be Denied in words that hold text.
func wantDenied(t *testing.T, c adapters.Config, a adapters.Address, text string) {
	t.Helper()
	_, serr := New().OpenSource(limited(t), c, a)
	_, terr := New().OpenTarget(limited(t), c, a)
	_, perr := New().Ping(limited(t), c, a)
	for what, err := range map[string]error{"source": serr, "target": terr, "ping": perr} {
		if adapters.KindOf(err) != adapters.Denied || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v (%v), want Denied with %q", what, err, adapters.KindOf(err), text)
		}
	}
}

// TestLoginInProcess: a refused login shows as a closed connection only.
func TestLoginInProcess(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "right"),
		kfake.Superuser("SCRAM-SHA-256", "u", "right"), kfake.Superuser("SCRAM-SHA-512", "u", "right"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	h := newHarness(t, c.ListenAddrs(), kgo.SASL(plain.Auth{User: "u", Pass: "right"}.AsMechanism()))
	logins(t, h, h.seeds, "u", "right")
}

// TestLogin is the same at a real broker.
func TestLogin(t *testing.T) {
	h := realKafka(t)
	logins(t, h, []string{requireEnv(t, "POSTHOUSE_TEST_KAFKA_SASL")}, requireEnv(t, "POSTHOUSE_TEST_USER"), requireEnv(t, "POSTHOUSE_TEST_PASSWORD"))
}

func logins(t *testing.T, h *harness, addresses []string, user, password string) {
	for _, mechanism := range []string{"", "plain", "scram-sha-256", "scram-sha-512"} {
		t.Run("mechanism="+mechanism, func(t *testing.T) {
			c := h.Config(t, nil)
			c.Addresses = addresses
			c.Credentials = adapters.Credentials{Mechanism: mechanism, User: user, Password: adapters.NewSecret(password)}
			a := h.Place(t).Source
			through(t, c, a)
			c.Credentials.Password = adapters.NewSecret("wrong-canary")
			wantDenied(t, c, a, "password")
			if _, err := New().OpenTarget(limited(t), c, a); strings.Contains(fmt.Sprint(err), "canary") {
				t.Errorf("the password shows: %v", err)
			}
		})
	}
}

// TestDeniedTopic: the right to a topic is missing.
func TestDeniedTopic(t *testing.T) {
	g := realGuarded(t)
	c, a := g.Config(t, nil), g.DeniedPlace(t).Source
	wantDenied(t, c, a, "right")
}

// unsigned is a token without a signature (RFC 7519, section 6).
func unsigned(user string, issued time.Time) adapters.Secret {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, user, issued.Unix(), issued.Add(time.Hour).Unix())
	return adapters.NewSecret(part(`{"alg":"none"}`) + "." + part(claims) + ".")
}

// loginByToken: OAUTHBEARER, with a token that is good, one that has expired, and one that is none.
func loginByToken(t *testing.T, h *harness, address string) {
	a := h.Place(t).Source
	c := h.Config(t, nil)
	c.Addresses = []string{address}
	for _, mechanism := range []string{"oauthbearer", ""} {
		c.Credentials = adapters.Credentials{Mechanism: mechanism, Token: unsigned("posthouse", time.Now().Add(-time.Minute))}
		through(t, c, a)
	}
	for what, token := range map[string]adapters.Secret{
		"expired": unsigned("posthouse", time.Now().Add(-3*time.Hour)), "none": adapters.NewSecret("token-canary"),
	} {
		t.Run(what, func(t *testing.T) {
			c := c
			c.Credentials.Token = token
			wantDenied(t, c, a, "token")
			if _, err := New().OpenTarget(limited(t), c, a); strings.Contains(fmt.Sprint(err), token.Reveal()) {
				t.Errorf("the token shows: %v", err)
			}
		})
	}
}

func tlsConfig(t *testing.T, h *harness) (adapters.Config, string) {
	c := h.Config(t, nil)
	dir := requireEnv(t, "POSTHOUSE_TEST_TLS_DIR")
	c.Addresses = []string{requireEnv(t, "POSTHOUSE_TEST_KAFKA_TLS")}
	c.TLS = adapters.TLS{On: true, CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "client.pem"), KeyFile: filepath.Join(dir, "client.key")}
	c.Credentials.Mechanism = "external"
	return c, dir
}

// TestClientCertificate: TLS with a client certificate, and what goes wrong with certificates.
func TestClientCertificate(t *testing.T) {
	h := realKafka(t)
	good, dir := tlsConfig(t, h)
	a := h.Place(t).Source
	through(t, good, a)
	for text, change := range map[string]func(*adapters.TLS){
		"has expired on": func(c *adapters.TLS) {
			c.CertFile, c.KeyFile = filepath.Join(dir, "expired.pem"), filepath.Join(dir, "expired.key")
		},
		"tls.ca_file":     func(c *adapters.TLS) { c.CAFile = filepath.Join(dir, "client.pem") },
		"tls.server_name": func(c *adapters.TLS) { c.ServerName = "elsewhere.example.com" },
		"tls.cert_file":   func(c *adapters.TLS) { c.CertFile, c.KeyFile = "", "" },
	} {
		t.Run(text, func(t *testing.T) {
			c := good
			change(&c.TLS)
			if c.TLS.CertFile == "" {
				c.Credentials.Mechanism = ""
			}
			wantDenied(t, c, a, text)
		})
	}
	c := good
	c.TLS.CAFile = filepath.Join(t.TempDir(), "none.pem")
	if _, err := New().OpenTarget(limited(t), c, a); adapters.KindOf(err) != adapters.Permanent || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("a CA file that is not there: got %v, want Permanent", err)
	}
	c = good
	c.Addresses = []string{os.Getenv("POSTHOUSE_TEST_KAFKA")}
	if _, err := New().OpenTarget(limited(t), c, a); adapters.KindOf(err) != adapters.Denied && adapters.KindOf(err) != adapters.Lost {
		t.Errorf("TLS to a port without: got %v", err)
	}
}
