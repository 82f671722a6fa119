package admin_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/repeater/admin"
	"github.com/posthouse/posthouse/routes"
)

// guarded runs a server whose lanes can be resolved, with an access of its own.
func guarded(t *testing.T, listen string, a admin.Access) (addr string, d *decider) {
	t.Helper()
	d = &decider{n: 2}
	return servedAt(t, listen, admin.Options{Status: status("up", ""), Metrics: prometheus.NewRegistry(), Resolve: d.resolve, Access: a}), d
}

// served runs a server on a port of its own.
func served(t *testing.T, o admin.Options) (addr string) {
	t.Helper()
	return servedAt(t, "127.0.0.1:0", o)
}

func servedAt(t *testing.T, listen string, o admin.Options) (addr string) {
	t.Helper()
	s, err := admin.Listen(listen, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.Addr()
}

// token is a user with a token in a file.
func token(t *testing.T, name, role, secret string) routes.AdminUser {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	put(t, file, secret+"\n")
	return routes.AdminUser{Name: name, Role: role, Token: &routes.SecretRef{Key: "admin.users." + name + ".token", File: file}}
}

// lines reads the audit log.
func lines(t *testing.T, file string) (es []admin.Entry) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for in := bufio.NewScanner(f); in.Scan(); {
		var e admin.Entry
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			t.Errorf("%v: %s", err, in.Text())
		}
		es = append(es, e)
	}
	return es
}

const decision = `{"action": "retry", "reason": "x"}`

// Everybody may do what the role says, and no more; what is asked for is in the audit log, refused or not.
func TestRoles(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.log")
	addr, d := guarded(t, "127.0.0.1:0", admin.Access{Admin: routes.Admin{Audit: log, Users: []routes.AdminUser{
		token(t, "vera", "viewer", "v-secret"), token(t, "otto", "operator", "o-secret"),
	}}})
	for _, c := range []struct {
		method, path, token string
		code                int
		word                string
	}{
		{"GET", "/api/v1/status", "v-secret", 200, ""}, {"GET", "/api/v1/status", "o-secret", 200, ""},
		{"GET", "/api/v1/status", "", 401, "A002"}, {"GET", "/api/v1/status", "v-secret2", 401, "A002"},
		{"GET", "/livez", "", 200, ""}, {"GET", "/metrics", "", 200, ""},
		{"POST", heldLane, "v-secret", 403, "A003"}, {"POST", heldLane, "", 401, "A002"}, {"POST", heldLane, "o-secret", 200, ""},
	} {
		headers := []string{"Content-Type", "application/json"}
		if c.token != "" {
			headers = append(headers, "Authorization", "Bearer "+c.token)
		}
		code, h, body := send(t, c.method, addr, c.path, decision, headers...)
		var p admin.Problem
		if err := json.Unmarshal([]byte(body), &p); code != c.code || c.word != "" && (err != nil || p.Code != c.word || p.Help == "") {
			t.Errorf("%s %s with %q: %d %s", c.method, c.path, c.token, code, body)
		}
		if code == 401 && h.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%v", h)
		}
	}
	if len(d.seen) != 1 {
		t.Errorf("the repeater was asked for %q", d.seen)
	}
	es := lines(t, log)
	if len(es) != 3 || es[0].User != "vera" || es[0].Status != 403 || es[0].Result == "ok" || es[1].User != "" || es[1].Status != 401 {
		t.Fatalf("%+v", es)
	}
	last := es[2]
	if last.User != "otto" || last.Status != 200 || last.Result != "ok" || last.Object != heldLane || !strings.Contains(last.Asked, `"reason":"x"`) || last.Count == nil || *last.Count != 2 || last.Time.IsZero() {
		t.Errorf("%+v", last)
	}
	text, err := os.ReadFile(log)
	if err != nil || strings.Contains(string(text), "secret") {
		t.Errorf("%s, %v", text, err)
	}
}

// over makes requests over a socket.
func over(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
}

// The socket is its owner's alone, who may do everything there; the address shows, and changes nothing then.
func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "ph") // t.TempDir may be longer than the path of a socket may be
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "admin.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil { // as one that has died leaves it
		t.Fatal(err)
	}
	log := filepath.Join(dir, "audit.log")
	addr, d := guarded(t, "127.0.0.1:0", admin.Access{Admin: routes.Admin{Socket: path}, AuditBeside: log})
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	resp, err := over(path).Post("http://anything"+heldLane, "application/json", strings.NewReader(decision))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || len(d.seen) != 1 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if code, _, body := send(t, "POST", addr, heldLane, decision, "Content-Type", "application/json"); code != 403 || !strings.Contains(body, "unix:"+path) {
		t.Errorf("%d %s", code, body)
	}
	if code, _, _ := send(t, "GET", addr, "/api/v1/status", ""); code != 200 {
		t.Errorf("%d", code)
	}
	es := lines(t, log)
	if len(es) != 2 || es[0].Remote != "socket" || es[0].User == "" || es[1].Status != 403 {
		t.Errorf("%+v", es)
	}
	if _, err := admin.Listen("127.0.0.1:0", admin.Options{Status: status("up", ""), Metrics: prometheus.NewRegistry(), Access: admin.Access{Admin: routes.Admin{Socket: path}}}); err == nil || !strings.Contains(err.Error(), "another daemon answers") {
		t.Errorf("%v", err)
	}
	put(t, filepath.Join(dir, "file"), "x")
	if _, err := admin.Listen("127.0.0.1:0", admin.Options{Status: status("up", ""), Metrics: prometheus.NewRegistry(), Access: admin.Access{Admin: routes.Admin{Socket: filepath.Join(dir, "file")}}}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("%v", err)
	}
}

// An authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "authority", nil)
	return a
}

// issue writes NAME.pem and NAME.key; without an authority it is one itself.
func (a *authority) issue(t *testing.T, name string, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	} else {
		c.IsCA, c.BasicConstraintsValid = true, true
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(a.dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	put(t, filepath.Join(a.dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})))
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// With TLS a client certificate proves who asks, if its authority is known.
func TestClientCertificates(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	a.issue(t, "server", a)
	a.issue(t, "otto", a)
	a.issue(t, "emil", a)
	other.issue(t, "otto", other)
	addr, d := guarded(t, "127.0.0.1:0", admin.Access{Admin: routes.Admin{
		TLS:   &routes.AdminTLS{Cert: a.file("server.pem"), Key: a.file("server.key"), ClientCA: a.file("authority.pem")},
		Users: []routes.AdminUser{{Name: "o", Role: "operator", Certificate: "otto"}},
	}})
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	ask := func(cert, key string) (int, error) {
		c := &tls.Config{RootCAs: pool}
		if cert != "" {
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		h := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: c}}
		resp, err := h.Post("https://"+addr+heldLane, "application/json", strings.NewReader(decision))
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	for name, want := range map[string]int{"": 401, "otto": 200, "emil": 401} {
		cert, key := "", ""
		if name != "" {
			cert, key = a.file(name+".pem"), a.file(name+".key")
		}
		if code, err := ask(cert, key); code != want || err != nil {
			t.Errorf("%q: %d, %v", name, code, err)
		}
	}
	if code, err := ask(other.file("otto.pem"), other.file("otto.key")); err == nil {
		t.Errorf("of another authority: %d", code)
	}
	if len(d.seen) != 1 {
		t.Errorf("%q", d.seen)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		t.Error(err)
	}
}

// Beyond loopback there must be TLS and users; files that are not right are an error at the start.
func TestAccessThatIsRefused(t *testing.T) {
	user := token(t, "vera", "viewer", "v")
	for name, c := range map[string]struct {
		listen, word string
		a            routes.Admin
	}{
		"no TLS":         {"0.0.0.0:0", "X004", routes.Admin{Users: []routes.AdminUser{user}}},
		"no users":       {"0.0.0.0:0", "X004", routes.Admin{TLS: &routes.AdminTLS{Cert: "c", Key: "k"}}},
		"no certificate": {"127.0.0.1:0", "admin.tls", routes.Admin{TLS: &routes.AdminTLS{Cert: "c", Key: "k"}}},
		"no directory":   {"127.0.0.1:0", "admin.audit_file", routes.Admin{Audit: "/absent/audit.log"}},
		"no place":       {"127.0.0.1:0", "admin.socket", routes.Admin{Socket: "/absent/admin.sock"}},
	} {
		s, err := admin.Listen(c.listen, admin.Options{Status: status("up", ""), Metrics: prometheus.NewRegistry(), Access: admin.Access{Admin: c.a}})
		if s != nil || err == nil || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names of the file are served, others are not.
func TestHosts(t *testing.T) {
	addr, _ := guarded(t, "127.0.0.1:0", admin.Access{Admin: routes.Admin{Hosts: []string{"posthouse.example"}}})
	for host, want := range map[string]int{"posthouse.example:7421": 200, "Posthouse.Example": 200, "evil.example": 403, "localhost": 200} {
		if code, body := request(t, "GET", addr, "/api/v1/status", host); code != want || want == 403 && !strings.Contains(body, "A004") {
			t.Errorf("%s: %d %s", host, code, body)
		}
	}
}
