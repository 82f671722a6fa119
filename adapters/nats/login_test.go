package nats

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/posthouse/posthouse/adapters"
)

// authority makes certificates for one test.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	a.must(err)
	a.file = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	return k
}

func (a *authority) write(name, kind string, der []byte) string {
	file := filepath.Join(a.dir, name)
	a.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return file
}

// issue makes a certificate for 127.0.0.1 that ends at until.
func (a *authority) issue(name string, until time.Time) (certFile, keyFile string) {
	k := a.newKey()
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &k.PublicKey, a.key)
	a.must(err)
	raw, err := x509.MarshalECPrivateKey(k)
	a.must(err)
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "EC PRIVATE KEY", raw)
}

// runServer starts a server in this process with o, on a port of loopback, and returns its address.
func runServer(t testing.TB, o *server.Options) string {
	t.Helper()
	o.Host, o.Port, o.NoSigs, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, t.TempDir()
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s.Addr().String()
}

func tlsOptions(t testing.TB, ca *authority, certFile, keyFile string, clients bool) *server.Options {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(mustParse(t, ca.file))
	o := &server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, MinVersion: tls.VersionTLS12}, TLS: true}
	if clients {
		o.TLSVerify, o.TLSConfig.ClientAuth = true, tls.RequireAndVerifyClientCert
	}
	return o
}

func mustParse(t testing.TB, file string) *x509.Certificate {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// login pings with c and compares kind and words; words "" wants success.
func login(t *testing.T, c adapters.Config, kind adapters.Kind, words string) {
	t.Helper()
	c.Name = "b"
	p, err := New().Ping(t.Context(), c)
	if words == "" {
		if err != nil || p.Product != "nats-server" || p.ID == "" || p.Version == "" {
			t.Errorf("Ping = %+v, %v; want success", p, err)
		}
		return
	}
	var e *adapters.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(err.Error(), words) {
		t.Errorf("Ping: %v (kind %v), want kind %v and %q", err, adapters.KindOf(err), kind, words)
	}
}

func TestPasswordAndToken(t *testing.T) {
	user := "nats://" + runServer(t, &server.Options{Username: "u", Password: "right"})
	token := "nats://" + runServer(t, &server.Options{Authorization: "right"})
	secret := adapters.NewSecret
	for _, tc := range []struct {
		name  string
		addr  string
		c     adapters.Credentials
		words string
	}{
		{"user", user, adapters.Credentials{User: "u", Password: secret("right")}, ""},
		{"wrong password", user, adapters.Credentials{User: "u", Password: secret("wrong")}, "refuses these credentials"},
		{"no credentials", user, adapters.Credentials{}, "refuses these credentials"},
		{"token", token, adapters.Credentials{Token: secret("right")}, ""},
		{"wrong token", token, adapters.Credentials{Token: secret("wrong")}, "refuses these credentials"},
		{"anonymous hides nothing", token, adapters.Credentials{Mechanism: "anonymous", Token: secret("right")}, "refuses these credentials"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			login(t, adapters.Config{Addresses: []string{tc.addr}, Credentials: tc.c}, adapters.Denied, tc.words)
		})
	}
}

func TestServerCertificate(t *testing.T) {
	ca, other := newAuthority(t, "right authority"), newAuthority(t, "other authority")
	certFile, keyFile := ca.issue("server", time.Now().Add(time.Hour))
	oldCert, oldKey := ca.issue("expired-server", time.Now().Add(-time.Hour))
	good := runServer(t, tlsOptions(t, ca, certFile, keyFile, false))
	expired := runServer(t, tlsOptions(t, ca, oldCert, oldKey, false))
	plain := runServer(t, &server.Options{})
	for _, tc := range []struct {
		name, addr string
		tls        adapters.TLS
		words      string
	}{
		{"tls scheme", "tls://" + good, adapters.TLS{CAFile: ca.file}, ""},
		{"tls section", "nats://" + good, adapters.TLS{On: true, CAFile: ca.file}, ""},
		{"not verified, by order", "tls://" + good, adapters.TLS{SkipVerify: true}, ""},
		{"unknown authority", "tls://" + good, adapters.TLS{CAFile: other.file}, `"server" is signed by an authority that tls.ca_file does not hold`},
		{"another name", "tls://" + good, adapters.TLS{CAFile: ca.file, ServerName: "elsewhere.example"}, "is for another name"},
		{"expired", "tls://" + expired, adapters.TLS{CAFile: ca.file}, `"expired-server" is not valid now`},
		{"no tls there", "tls://" + plain, adapters.TLS{CAFile: ca.file}, "offers no TLS"},
		{"no tls asked for", "nats://" + good, adapters.TLS{}, "does not hold"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			login(t, adapters.Config{Addresses: []string{tc.addr}, TLS: tc.tls}, adapters.Denied, tc.words)
		})
	}
	t.Run("missing file", func(t *testing.T) {
		c := adapters.Config{Addresses: []string{"tls://" + good}, TLS: adapters.TLS{CAFile: "none.pem"}}
		login(t, c, adapters.Permanent, "none.pem")
	})
}

func TestClientCertificate(t *testing.T) {
	ca, other := newAuthority(t, "right authority"), newAuthority(t, "other authority")
	certFile, keyFile := ca.issue("server", time.Now().Add(time.Hour))
	o := tlsOptions(t, ca, certFile, keyFile, true)
	o.TLSMap, o.Users = true, []*server.User{{Username: "CN=client"}}
	addr := "tls://" + runServer(t, o)
	try := func(from *authority, name string, until time.Duration, words string) {
		c := adapters.Config{Addresses: []string{addr}, TLS: adapters.TLS{CAFile: ca.file}, Credentials: adapters.Credentials{Mechanism: "external"}}
		if from != nil {
			c.TLS.CertFile, c.TLS.KeyFile = from.issue(name, time.Now().Add(until))
		}
		login(t, c, adapters.Denied, words)
	}
	try(ca, "client", time.Hour, "")
	try(ca, "stranger", time.Hour, "refuses these credentials")
	try(nil, "", 0, "refuses our certificate")
	try(other, "client", time.Hour, "refuses our certificate")
	try(ca, "client", -time.Hour, "refuses our certificate")
}

// The addresses are tried in order; the error names all of them.
func TestAddressList(t *testing.T) {
	up := "nats://" + runServer(t, &server.Options{})
	locked := "nats://" + runServer(t, &server.Options{Username: "u", Password: "p"})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := "nats://" + l.Addr().String()
	_ = l.Close()
	p, err := New().Ping(t.Context(), adapters.Config{Name: "b", Addresses: []string{down, locked, up}})
	if err != nil || p.Address != up {
		t.Errorf("Ping = %q, %v; want %q", p.Address, err, up)
	}
	login(t, adapters.Config{Addresses: []string{down}}, adapters.Lost, down)
	login(t, adapters.Config{Addresses: []string{down, locked}}, adapters.Denied, "refuses these credentials")
	login(t, adapters.Config{Addresses: []string{locked, down}}, adapters.Denied, "connection refused")
}

// A peer that accepts and says nothing ends with the context, not later.
func TestSilentPeerEndsWithContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := contextWith(t, 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err = New().Ping(ctx, adapters.Config{Name: "b", Addresses: []string{"nats://" + l.Addr().String()}})
	if adapters.KindOf(err) != adapters.Lost || time.Since(begun) > 8*time.Second {
		t.Errorf("Ping of a silent peer: %v after %v", err, time.Since(begun))
	}
}
