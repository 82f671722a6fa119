package nats

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

func contextWith(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

type keys = adapters.Options

func TestCheck(t *testing.T) {
	stream := func(name string, o keys) adapters.Address {
		return adapters.Address{Broker: "b", Form: adapters.Stream, Name: name, Options: o}
	}
	subject := func(name string, o keys) adapters.Address {
		return adapters.Address{Broker: "b", Form: adapters.Subject, Name: name, Options: o}
	}
	addressed := adapters.Config{Addresses: []string{"nats://h"}}
	with := func(f func(*adapters.Config)) adapters.Config {
		c := addressed
		f(&c)
		return c
	}
	embedded := func(o keys) adapters.Config { return adapters.Config{Options: keys{KeyEmbedded: o}} }
	cred := func(k adapters.Credentials) adapters.Config {
		return with(func(c *adapters.Config) { c.Credentials = k })
	}
	for _, tc := range []struct {
		name string
		c    adapters.Config
		a    adapters.Address
		want string // part of the error; "" = none
	}{
		{"plain", addressed, stream("ORDERS", nil), ""},
		{"several schemes", adapters.Config{Addresses: []string{"nats://h:1", "tls://[::1]:4222", "h2:3"}}, stream("S", nil), ""},
		{"all keys of a source", addressed, stream("S", keys{KeySubject: "a.*.>", KeyCreate: true, KeyConsumer: "c", KeyTemporary: true}), ""},
		{"all keys of a target", addressed, subject("a.b", keys{KeyCreate: true, KeyStream: "S"}), ""},
		{"no address", adapters.Config{}, stream("S", nil), "no address"},
		{"scheme", adapters.Config{Addresses: []string{"amqp://h"}}, stream("S", nil), `unknown scheme "amqp"`},
		{"credentials in an address", adapters.Config{Addresses: []string{"nats://u:p@h"}}, stream("S", nil), "credentials do not belong"},
		{"path", adapters.Config{Addresses: []string{"nats://h/x"}}, stream("S", nil), "follows the port"},
		{"broker key", with(func(c *adapters.Config) { c.Options = keys{"dupe": 1} }), stream("S", nil), "dupe: unknown key"},
		{"source key", addressed, stream("S", keys{"queue": "x"}), "queue: unknown key"},
		{"target key", addressed, subject("a", keys{"subject": "x"}), "subject: unknown key"},
		{"window", with(func(c *adapters.Config) { c.Options = keys{KeyDuplicateWindow: time.Millisecond} }), stream("S", nil), "too short"},
		{"form", addressed, adapters.Address{Form: adapters.Queue, Name: "q"}, "nats has no queue"},
		{"stream with a dot", addressed, stream("a.b", nil), "no name of a stream"},
		{"no stream", addressed, stream("", nil), "no name of a stream"},
		{"consumer with a dot", addressed, stream("S", keys{KeyConsumer: "a.b"}), "no name of a consumer"},
		{"filter", addressed, stream("S", keys{KeySubject: "a..b"}), "empty part"},
		{"filter with > inside", addressed, stream("S", keys{KeySubject: "a.>.b"}), "at the end only"},
		{"wildcard target", addressed, subject("a.*", nil), "no wildcard"},
		{"blank in a target", addressed, subject("a b", nil), "no blanks"},
		{"server's subject", addressed, subject("$JS.API.X", nil), "belongs to the server"},
		{"stream of a target", addressed, subject("a", keys{KeyStream: "a.b"}), "no name of a stream"},
		{"mechanism", cred(adapters.Credentials{Mechanism: "scram"}), stream("S", nil), "unknown mechanism"},
		{"external without certificate", cred(adapters.Credentials{Mechanism: "external"}), stream("S", nil), "needs a client certificate"},
		{"user and token", cred(adapters.Credentials{User: "u", Token: adapters.NewSecret("t")}), stream("S", nil), "exclude each other"},
		{"cert without key", with(func(c *adapters.Config) { c.TLS.CertFile = "x" }), stream("S", nil), "belong together"},
		{"embedded", embedded(keys{KeyDir: "d", KeyListen: "127.0.0.1:4222", KeyMaxSize: int64(1), KeySync: time.Second}), stream("S", nil), ""},
		{"embedded sync as text", embedded(keys{KeyDir: "d", KeySync: "2s"}), stream("S", nil), ""},
		{"embedded without dir", embedded(keys{}), stream("S", nil), "embedded.dir: missing"},
		{"embedded key", embedded(keys{KeyDir: "d", "port": 1}), stream("S", nil), "embedded.port: unknown key"},
		{"embedded sync", embedded(keys{KeyDir: "d", KeySync: "often"}), stream("S", nil), "embedded.sync"},
		{"embedded size", embedded(keys{KeyDir: "d", KeyMaxSize: int64(-1)}), stream("S", nil), "embedded.max_size: negative"},
		{"embedded listen", embedded(keys{KeyDir: "d", KeyListen: "4222"}), stream("S", nil), "embedded.listen"},
		{"embedded open to all", embedded(keys{KeyDir: "d", KeyListen: "0.0.0.0:4222"}), stream("S", nil), "open to everybody"},
		{"embedded and addresses", adapters.Config{Addresses: []string{"h"}, Options: keys{KeyEmbedded: keys{KeyDir: "d"}}}, stream("S", nil), "write addresses or embedded"},
		{"embedded and tls", adapters.Config{TLS: adapters.TLS{On: true}, Options: keys{KeyEmbedded: keys{KeyDir: "d"}}}, stream("S", nil), "offers no TLS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := New().Check(tc.c, tc.a)
			var oe *adapters.OptionError
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("Check: %v, want none", err)
			case tc.want != "" && (!errors.As(err, &oe) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("Check: %v, want an OptionError with %q", err, tc.want)
			}
		})
	}
}

// Check reports all mistakes at once.
func TestCheckReportsAll(t *testing.T) {
	c := adapters.Config{Addresses: []string{"x://a", "y://b"}, Options: keys{"one": 1, "two": 2}}
	err := New().Check(c, adapters.Address{Form: adapters.Stream, Name: "a.b"})
	for _, want := range []string{`"x"`, `"y"`, "one", "two", "a.b"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check: %v, want %s in it", err, want)
		}
	}
}

func TestOpenRefusesTheWrongForm(t *testing.T) {
	c := adapters.Config{Name: "b", Addresses: []string{"nats://127.0.0.1:1"}}
	_, err := New().OpenSource(t.Context(), c, adapters.Address{Form: adapters.Subject, Name: "a"})
	if adapters.KindOf(err) != adapters.Permanent {
		t.Errorf("a subject as source: %v", err)
	}
	_, err = New().OpenTarget(t.Context(), c, adapters.Address{Form: adapters.Stream, Name: "A"})
	if adapters.KindOf(err) != adapters.Permanent {
		t.Errorf("a stream as target: %v", err)
	}
}

// Durable names are legal, the same at every start, and differ for different clients.
func TestDurableName(t *testing.T) {
	long := strings.Repeat("x", 200)
	for in, want := range map[string]string{
		"paris.orders": "paris_orders", "a-1": "a-1", "a_b": "a=5Fb", "a*b>c d": "a=2Ab=3Ec=20d", "é": "=C3=A9", "": "",
	} {
		if got := durableName(in); got != want {
			t.Errorf("durableName(%q) = %q, want %q", in, got, want)
		}
	}
	a, b := durableName(long+"a"), durableName(long+"b")
	if a == b || len(a) > 128 || !isName(a) || a != durableName(long+"a") {
		t.Errorf("long names: %q and %q", a, b)
	}
}
