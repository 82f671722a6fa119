package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// session opens a session to an AMQP broker for one test.
func session(t *testing.T, url string, o *amqp.ConnOptions) *amqp.Session {
	t.Helper()
	conn, err := amqp.Dial(deadline(t), url, o)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	t.Cleanup(func() { conn.Close() })
	s, err := conn.NewSession(deadline(t), nil)
	if err != nil {
		t.Fatalf("open a session: %v", err)
	}
	return s
}

// send sends one durable message and returns the broker's verdict.
func send(t *testing.T, s *amqp.Session, address, body string) error {
	t.Helper()
	sender, err := s.NewSender(deadline(t), address, nil)
	if err != nil {
		return err
	}
	m := amqp.NewMessage([]byte(body))
	m.Header = &amqp.MessageHeader{Durable: true}
	return sender.Send(deadline(t), m, nil)
}

// receive takes one message and accepts it.
func receive(t *testing.T, s *amqp.Session, address string) string {
	t.Helper()
	r, err := s.NewReceiver(deadline(t), address, nil)
	if err != nil {
		t.Fatalf("receive from %s: %v", address, err)
	}
	return take(t, r)
}

func take(t *testing.T, r *amqp.Receiver) string {
	t.Helper()
	m, err := r.Receive(deadline(t), nil)
	if err != nil {
		t.Fatalf("receive from %s: %v", r.Address(), err)
	}
	if err := r.AcceptMessage(deadline(t), m); err != nil {
		t.Fatalf("accept: %v", err)
	}
	return string(m.GetData())
}

func wantCondition(t *testing.T, err error, want amqp.ErrCond) {
	t.Helper()
	var remote *amqp.Error
	var link *amqp.LinkError
	switch {
	case errors.As(err, &link) && link.RemoteErr != nil:
		remote = link.RemoteErr
	case errors.As(err, &remote):
	default:
		t.Fatalf("got error %v, want condition %s", err, want)
	}
	if remote.Condition != want {
		t.Errorf("got condition %s (%s), want %s", remote.Condition, remote.Description, want)
	}
}

func tlsConfig(t *testing.T, dir, cert, key string) *tls.Config {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(dir, FileCA))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	c.RootCAs.AppendCertsFromPEM(ca)
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, cert), filepath.Join(dir, key))
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func TestArtemisKeepsDurableMessagesOverKill(t *testing.T) {
	b := Private(t, Artemis)
	url := b.Env()[EnvArtemis]
	if err := send(t, session(t, url, nil), "kept", "over the crash"); err != nil {
		t.Fatal(err)
	}
	before := b.Identity()
	b.Kill()
	if before.Alive() || b.Alive() {
		t.Fatal("alive after Kill")
	}
	if err := b.Restart(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, session(t, url, nil), "kept"); got != "over the crash" {
		t.Errorf("got %q, want the message of before", got)
	}
	b.Stop(deadline(t))
	if b.Alive() {
		t.Error("alive after Stop")
	}
}

func TestArtemisFixtures(t *testing.T) {
	url := Need(t, Artemis)
	t.Run("denied", func(t *testing.T) {
		wantCondition(t, send(t, session(t, url, nil), DeniedQueue, "no"), amqp.ErrCondUnauthorizedAccess)
	})
	t.Run("limited", func(t *testing.T) {
		s := session(t, url, nil)
		queue := fmt.Sprintf("%s%d", ArtemisLimitedPrefix, os.Getpid())
		sender, err := s.NewSender(deadline(t), queue, nil)
		if err != nil {
			t.Fatal(err)
		}
		body := amqp.NewMessage(make([]byte, 32<<10))
		taken := 0
		for ; err == nil && taken < 40; taken++ {
			err = sender.Send(deadline(t), body, nil)
		}
		wantCondition(t, err, amqp.ErrCondResourceLimitExceeded)
		r, err := s.NewReceiver(deadline(t), queue, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range taken - 1 {
			take(t, r)
		}
		if err := send(t, s, queue, "room again"); err != nil {
			t.Errorf("after making room: %v", err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		_, host, _ := strings.Cut(url, "@")
		_, err := amqp.Dial(deadline(t), "amqp://"+host, &amqp.ConnOptions{SASLType: amqp.SASLTypePlain(User, "wrong")})
		if err == nil {
			t.Fatal("logged in with a wrong password")
		}
	})
}

func TestArtemisTLS(t *testing.T) {
	Need(t, Artemis, EnvArtemisTLS, EnvTLSDir)
	url, dir := os.Getenv(EnvArtemisTLS), os.Getenv(EnvTLSDir)
	external := &amqp.ConnOptions{TLSConfig: tlsConfig(t, dir, FileClient, FileClientKey), SASLType: amqp.SASLTypeExternal("")}
	if err := send(t, session(t, url, external), "tls", "x"); err != nil {
		t.Fatalf("by certificate: %v", err)
	}
	if got := receive(t, session(t, url, external), "tls"); got != "x" {
		t.Errorf("got %q, want x", got)
	}
	for name, pair := range map[string][2]string{
		"no certificate": {}, "expired": {FileExpired, FileExpiredKey}, "stranger": {FileStranger, FileStrangerKey},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := amqp.Dial(deadline(t), url, &amqp.ConnOptions{TLSConfig: tlsConfig(t, dir, pair[0], pair[1]),
				SASLType: amqp.SASLTypePlain(User, Password)})
			if err == nil {
				t.Fatal("let in")
			}
		})
	}
}
