package adapters

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
)

// identity writes a self-signed certificate for name, and its key.
func identity(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: kder}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// handshake lets a client and a server configuration meet and returns the name on the client's certificate.
func handshake(t *testing.T, client, server *tls.Config) (peer string, cerr, serr error) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		s := conn.(*tls.Conn)
		if err = s.Handshake(); err == nil {
			if pcs := s.ConnectionState().PeerCertificates; len(pcs) > 0 {
				peer = pcs[0].Subject.CommonName
			}
		}
		done <- err
	}()
	conn, cerr := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 20 * time.Second}, Config: client}).Dial("tcp", ln.Addr().String())
	if cerr == nil {
		defer conn.Close()
	}
	serr = <-done
	return peer, cerr, serr
}

func TestTLSReadsARenewedClientCertificate(t *testing.T) {
	dir := t.TempDir()
	ca, key := identity(t, dir, "broker.test")
	cert, ckey := identity(t, dir, "first")
	pair, err := tls.LoadX509KeyPair(ca, key)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	c, err := TLS{On: true, CAFile: ca, CertFile: cert, KeyFile: ckey}.Config("broker.test")
	if err != nil {
		t.Fatal(err)
	}
	if peer, cerr, serr := handshake(t, c, server); cerr != nil || serr != nil || peer != "first" {
		t.Fatalf("client %v, server %v, certificate %q", cerr, serr, peer)
	}
	renewed, rkey := identity(t, dir, "renewed")
	for old, now := range map[string]string{cert: renewed, ckey: rkey} {
		if err := os.Rename(now, old); err != nil {
			t.Fatal(err)
		}
	}
	if peer, cerr, serr := handshake(t, c, server); cerr != nil || serr != nil || peer != "renewed" {
		t.Errorf("after renewal: client %v, server %v, certificate %q", cerr, serr, peer)
	}
}

func TestTLSRefusesWhatItMust(t *testing.T) {
	dir := t.TempDir()
	ca, key := identity(t, dir, "broker.test")
	other, _ := identity(t, dir, "other.test")
	pair, err := tls.LoadX509KeyPair(ca, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client TLS
		host   string
		server *tls.Config
		ok     bool
	}{
		"as it should be": {TLS{CAFile: ca}, "broker.test", &tls.Config{}, true},
		"server_name":     {TLS{CAFile: ca, ServerName: "broker.test"}, "10.0.0.1", &tls.Config{}, true},
		"skip verify":     {TLS{CAFile: other, SkipVerify: true}, "broker.test", &tls.Config{}, true},
		"other authority": {TLS{CAFile: other}, "broker.test", &tls.Config{}, false},
		"other name":      {TLS{CAFile: ca}, "elsewhere.test", &tls.Config{}, false},
		"TLS 1.1":         {TLS{CAFile: ca, MinVersion: tls.VersionTLS10}, "broker.test", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"1.3 wanted":      {TLS{CAFile: ca, MinVersion: tls.VersionTLS13}, "broker.test", &tls.Config{MaxVersion: tls.VersionTLS12}, false},
	} {
		t.Run(name, func(t *testing.T) {
			conf, err := c.client.Config(c.host)
			if err != nil {
				t.Fatal(err)
			}
			c.server.Certificates = []tls.Certificate{pair}
			if _, cerr, _ := handshake(t, conf, c.server); (cerr == nil) != c.ok {
				t.Errorf("client: %v, want ok = %v", cerr, c.ok)
			}
		})
	}
}

func TestTLSNamesTheFileAtFault(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]TLS{
		"tls.ca_file":                 {CAFile: filepath.Join(dir, "missing.pem")},
		"empty.pem holds no PEM":      {CAFile: empty},
		"tls.cert_file":               {CertFile: filepath.Join(dir, "missing.pem"), KeyFile: empty},
		"failed to find any PEM data": {CertFile: empty, KeyFile: empty},
	} {
		_, err := c.Config("x")
		var e *Error
		if !errors.As(err, &e) || e.Kind != Permanent || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}
