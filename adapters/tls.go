package adapters

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLS says how a connection is secured. Which addresses use it is the adapter's matter (amqps://, tls://, or for
// Kafka, whose addresses have no scheme, On).
type TLS struct {
	On         bool   // the file has a tls: section
	CAFile     string // PEM; "" = the system's roots
	CertFile   string // PEM of the client certificate; with KeyFile
	KeyFile    string
	ServerName string // "" = the host of the address
	MinVersion uint16 // tls.VersionTLS12 or VersionTLS13; 0 = 1.2, and nothing below is ever used
	SkipVerify bool   // any certificate is believed: shown as a permanent warning

	// Of IBM MQ, whose client reads no PEM files: the path of its key repository, the cipher of the channel, and which of the
	// certificates in the repository is ours, "" = the client's own choice.
	KeyRepository, CipherSpec, CertificateLabel string
}

// Config reads the files and returns a configuration for host. The client certificate is read again at every
// handshake, so that a renewed one is used without a restart. Its error is of Kind Permanent and names the file.
func (t TLS) Config(host string) (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, MinVersion: max(t.MinVersion, tls.VersionTLS12), InsecureSkipVerify: t.SkipVerify}
	if c.ServerName == "" {
		c.ServerName = host
	}
	if t.CAFile != "" {
		pool, err := readRoots(t.CAFile)
		if err != nil {
			return nil, &Error{Op: "read tls.ca_file", Kind: Permanent, Err: err}
		}
		c.RootCAs = pool
	}
	if t.CertFile != "" {
		if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
			return nil, &Error{Op: "read tls.cert_file", Kind: Permanent, Err: err}
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			return &cert, err
		}
	}
	return c, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}
