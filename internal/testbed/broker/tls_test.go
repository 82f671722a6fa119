package broker

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWriteTLS(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	if err := WriteTLS(dir, now); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, FileCA))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no authority")
	}
	for _, c := range []struct {
		cert, key string
		at        time.Time
		trusted   bool
	}{
		{FileServer, FileServerKey, now, true},
		{FileClient, FileClientKey, now, true},
		{FileExpired, FileExpiredKey, now, false},
		{FileExpired, FileExpiredKey, now.Add(-90 * time.Minute), true},
		{FileStranger, FileStrangerKey, now, false},
	} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, c.cert), filepath.Join(dir, c.key))
		if err != nil {
			t.Errorf("%s: %v", c.cert, err)
			continue
		}
		_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: c.at, DNSName: "127.0.0.1",
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
		if (err == nil) != c.trusted {
			t.Errorf("%s at %v: trusted %v, want %v (%v)", c.cert, c.at, err == nil, c.trusted, err)
		}
	}
}

func TestWriteTLSSaysWhy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteTLS(file, time.Now()); err == nil {
		t.Error("wrote into a file")
	}
}
