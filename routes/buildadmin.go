package routes

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// Admin says how a daemon shows itself, and who may ask it.
type Admin struct {
	Listen string // HOST:PORT; beyond loopback there are TLS and Users
	Socket string // path of a Unix socket; "" = none
	TLS    *AdminTLS
	Users  []AdminUser // in file order
	Hosts  []string    // names in requests that are served, besides those of loopback
	Audit  string      // file; "" = beside the journal
	Log    Log

	Tracing Tracing
}

// AdminTLS are the files of a server's TLS.
type AdminTLS struct{ Cert, Key, ClientCA string }

// An AdminUser is somebody who may use the API.
type AdminUser struct {
	Name        string
	Role        string // viewer, operator or admin
	Bodies      bool
	Token       *SecretRef // nil: none
	Certificate string     // common name; "": none
}

// ReadToken returns the bearer token as it is now, and whether the user has one. The error is a *SecretError.
func (u *AdminUser) ReadToken(getenv func(string) string) (adapters.Secret, bool, error) {
	if u.Token == nil {
		return adapters.Secret{}, false, nil
	}
	s, err := u.Token.read(getenv)
	if err == errEmpty {
		err = nil
		return s, true, &SecretError{Ref: *u.Token, Err: err}
	}
	if err != nil {
		err = &SecretError{Ref: *u.Token, Err: err}
	}
	return s, true, err
}

func (b *builder) admin(v *value) Admin {
	c := chain{[]*value{v}, adminShape()}
	a := Admin{Listen: c.text("listen"), Log: Log{c.text("log", "level"), c.text("log", "format")}, Socket: b.path(c.text("socket")), Audit: b.path(c.text("audit_file"))}
	if hosts := v.get("hosts"); hosts != nil {
		a.Hosts, _ = hosts.data.([]string)
	}
	if v.get("tls") != nil {
		a.TLS = &AdminTLS{b.path(c.text("tls", "cert_file")), b.path(c.text("tls", "key_file")), b.path(c.text("tls", "client_ca_file"))}
	}
	for _, u := range v.get("users").named() {
		a.Users = append(a.Users, b.adminUser(u, a.TLS))
	}
	a.Tracing = b.tracing(c, v)
	b.listens(v, a)
	return a
}

// adminUser reads one user.
func (b *builder) adminUser(v *value, tls *AdminTLS) AdminUser {
	users := adminShape().field("users", "").Of
	c := chain{[]*value{v}, users}
	u := AdminUser{Name: v.key.Text, Role: c.text("role"), Bodies: c.flag("bodies"), Certificate: c.text("certificate")}
	if s := v.get("token"); s != nil {
		if ref, ok := s.data.(SecretRef); ok {
			ref.Key, ref.File = "admin.users."+u.Name+".token", b.path(ref.File)
			u.Token = &ref
		}
	}
	switch {
	case u.Token == nil && u.Certificate == "" && v.get("token") == nil:
		b.at(v.node, v.path, Finding{Code: "X005", Message: fmt.Sprintf("user %q cannot prove who it is", u.Name), Label: "neither token nor certificate",
			Help: "add token: { file: PATH }, or certificate: COMMON-NAME"})
	case u.Certificate != "" && (tls == nil || tls.ClientCA == ""):
		at := v.get("certificate")
		b.at(at.node, at.path, Finding{Code: "X005", Message: "a certificate is only believed if its authority is known", Label: "admin.tls.client_ca_file is missing",
			Help: "add client_ca_file: PATH to admin.tls"})
	}
	return u
}

// listens looks at the address.
func (b *builder) listens(v *value, a Admin) {
	l := v.get("listen")
	if l == nil || l.data == nil {
		return
	}
	host, port, err := net.SplitHostPort(a.Listen)
	switch {
	case err != nil || port == "":
		b.at(l.node, l.path, Finding{Code: "K003", Message: "listen must be HOST:PORT", Label: "not an address", Help: "write for example 127.0.0.1:7421"})
	case !loopback(host) && (a.TLS == nil || len(a.Users) == 0):
		b.at(l.node, l.path, Finding{Code: "X004", Message: "admin would listen beyond loopback without TLS and users", Label: "reachable from other machines",
			Help: "write 127.0.0.1:" + clip(port) + ", or add tls: { cert_file: PATH, key_file: PATH } and users"})
	}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}
