package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
)

// How the daemon is reached: HOST:PORT, https://HOST:PORT, or unix:PATH.

const (
	socketPrefix = "unix:"
	tokenFile    = "POSTHOUSE_TOKEN_FILE" // whose content proves who asks
	caFile       = "POSTHOUSE_ADMIN_CA"   // PEM with the authority of the daemon's certificate
)

// baseURL is what stands before the path of a request.
func baseURL(addr string) string {
	switch {
	case strings.HasPrefix(addr, socketPrefix):
		return "http://localhost"
	case strings.HasPrefix(addr, "https://"):
		return strings.TrimSuffix(addr, "/")
	}
	return "http://" + addr
}

// transport makes the connections to addr. There is no proxy on the way.
func transport(addr string) (*http.Transport, error) {
	tr := &http.Transport{DisableKeepAlives: true}
	if path, ok := strings.CutPrefix(addr, socketPrefix); ok {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
	}
	if name := os.Getenv(caFile); name != "" && strings.HasPrefix(addr, "https://") {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, advise(exitEnvironment, "", caFile+": "+err.Error(), "name a PEM file with the authority of the daemon's certificate", err)
		}
		tr.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !tr.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, advise(exitEnvironment, "", caFile+": no certificate in "+name, "name a PEM file with the authority of the daemon's certificate", nil)
		}
	}
	return tr, nil
}

// prove adds the token to req, if there is one. It is never sent in clear to another machine.
func prove(req *http.Request) error {
	name := os.Getenv(tokenFile)
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return advise(exitEnvironment, "", tokenFile+": "+err.Error(), "name a file that holds the token", err)
	}
	if host := req.URL.Hostname(); req.URL.Scheme == "http" && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return advise(exitConfig, "", "the token would go to "+host+" without TLS", "write --admin https://"+req.URL.Host, nil)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(text)))
	return nil
}

// unreached says why nobody answers at addr.
func unreached(addr string, err error) error {
	if path, ok := strings.CutPrefix(addr, socketPrefix); ok && errors.Is(err, fs.ErrPermission) {
		return advise(exitEnvironment, "A019", fmt.Sprintf("the socket %s is that of another user", path), "run the command as the user of the daemon, or as root: sudo -u USER posthouse ...", errors.Join(errNoDaemon, err))
	}
	return noDaemon(addr, err)
}
