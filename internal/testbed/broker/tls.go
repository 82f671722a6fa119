package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// WriteTLS makes a certificate authority and the certificates named by the File constants below
// dir, which is created. Certificates are valid from an hour before now for ten years, the expired
// one from two hours to one hour before now. Files that are there are replaced.
func WriteTLS(dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the TLS directory: %w", err)
	}
	ca, err := newAuthority("Posthouse test authority", now)
	if err != nil {
		return err
	}
	other, err := newAuthority("Unknown authority", now)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, FileCA), "CERTIFICATE", ca.cert.Raw); err != nil {
		return err
	}
	from, to := now.Add(-time.Hour), now.AddDate(10, 0, 0)
	for _, c := range []struct {
		by        *authority
		cn        string
		from, to  time.Time
		cert, key string
	}{
		{ca, "localhost", from, to, FileServer, FileServerKey},
		{ca, User, from, to, FileClient, FileClientKey},
		{ca, User, now.Add(-2 * time.Hour), from, FileExpired, FileExpiredKey},
		{other, User, from, to, FileStranger, FileStrangerKey},
	} {
		if err := c.by.issue(dir, c.cn, c.from, c.to, c.cert, c.key); err != nil {
			return err
		}
	}
	return nil
}

func newAuthority(cn string, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn},
		NotBefore: now.Add(-3 * time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the authority %q: %w", cn, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the authority %q: %w", cn, err)
	}
	return &authority{cert, key}, nil
}

// issue writes a certificate good for clients and for servers on this machine.
func (a *authority) issue(dir, cn string, from, to time.Time, certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return fmt.Errorf("make a serial number: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: cn}, NotBefore: from, NotAfter: to,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return fmt.Errorf("make certificate %s: %w", certFile, err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write key %s: %w", keyFile, err)
	}
	if err := writePEM(filepath.Join(dir, keyFile), "PRIVATE KEY", raw); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, certFile), "CERTIFICATE", der)
}

func writePEM(path, kind string, der []byte) error {
	raw := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// concat writes the files below dir, one after another, as one file: Java's PEM key stores want
// key and certificate together.
func concat(dst string, dir string, names ...string) error {
	var all []byte
	for _, name := range names {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("read the TLS files: %w", err)
		}
		all = append(all, raw...)
	}
	return os.WriteFile(dst, all, 0o600)
}
