package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// A Role is what a caller may do. Each may do what the ones before it may.
type Role string

// The roles. What needs none may be asked by everybody who reaches the listener.
const (
	Viewer   Role = "viewer"   // looks
	Operator Role = "operator" // steers
	Admin    Role = "admin"    // changes the configuration, gives messages up
)

var roles = []Role{"", Viewer, Operator, Admin}

// may reports whether r is enough for want.
func (r Role) may(want Role) bool { return slices.Index(roles, r) >= slices.Index(roles, want) }

// A Caller is who asks.
type Caller struct {
	Name   string // of the file, or of the system's user; "" = nobody knows
	Role   Role
	Bodies bool   // may see bodies, and headers that are secrets by their name
	From   string // address, or "socket"
}

type callerKey struct{}

// callerOf is who has sent r.
func callerOf(r *http.Request) Caller {
	c, _ := r.Context().Value(callerKey{}).(Caller)
	return c
}

// A peer is the other end of a connection of the socket.
type peer struct {
	uid   int
	known bool // false: this system does not tell; the mode of the socket has let it in
}

type peerKey struct{}

// noteConn keeps who is at the other end of a connection.
func noteConn(ctx context.Context, c net.Conn) context.Context {
	if u, ok := c.(*net.UnixConn); ok {
		return context.WithValue(ctx, peerKey{}, peerOf(u))
	}
	return ctx
}

var (
	errNobody  = errors.New("who asks is not known: the token or the certificate is none of a user")
	errStray   = errors.New("the socket is that of another user")
	errNoToken = errors.New("the token of a user cannot be read")
)

// identify finds out who has sent r.
func (s *Server) identify(r *http.Request) (Caller, error) {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		if p.known && p.uid != 0 && p.uid != s.uid {
			return Caller{}, errStray
		}
		return Caller{Name: userName(p), Role: Admin, Bodies: true, From: "socket"}, nil
	}
	c := Caller{From: r.RemoteAddr}
	if len(s.opts.Access.Users) == 0 {
		c.Role, c.Bodies = Admin, true
		if s.opts.Access.Socket != "" { // whoever may steer can use that
			c.Role, c.Bodies = Viewer, false
		}
		return c, nil
	}
	for _, u := range s.opts.Access.Users {
		ok, err := s.isUser(&u, r)
		if err != nil {
			s.opts.Log.Error(errNoToken.Error(), "err", err)
		}
		if ok {
			return Caller{u.Name, Role(u.Role), u.Bodies, r.RemoteAddr}, nil
		}
	}
	return c, errNobody
}

// isUser reports whether r proves that it is from u.
func (s *Server) isUser(u *routes.AdminUser, r *http.Request) (bool, error) {
	if u.Certificate != "" && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && r.TLS.PeerCertificates[0].Subject.CommonName == u.Certificate {
		return true, nil
	}
	if name := s.logins.user(r, time.Now()); name != "" {
		return name == u.Name, nil
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false, nil
	}
	return s.hasToken(u, given)
}

// hasToken reports whether given is the token of u.
func (s *Server) hasToken(u *routes.AdminUser, given string) (bool, error) {
	want, has, err := u.ReadToken(s.opts.Access.Getenv)
	if err != nil || !has {
		return false, err
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want.Reveal())) // equal lengths: the time tells nothing
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1, nil
}

func userName(p peer) string {
	if !p.known {
		return "socket"
	}
	id := strconv.Itoa(p.uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// guard lets those through who may ask e.
func (s *Server) guard(e *endpoint, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.identify(r)
		if err != nil && !errors.Is(err, errStray) && isPage(r) {
			http.Redirect(w, r, loginAt, http.StatusFound)
			return
		}
		r = r.WithContext(s.asGuest(context.WithValue(r.Context(), callerKey{}, c), c))
		a := s.audit.begin(w, r, e)
		defer a.end()
		switch {
		case errors.Is(err, errStray):
			refuse(a, Problem{Status: http.StatusForbidden, Code: "A019", Detail: err.Error(), Help: "run the command as the user of the daemon, or as root"})
		case err != nil:
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(a, Problem{Status: http.StatusUnauthorized, Code: "A002", Detail: err.Error(), Help: "send Authorization: Bearer TOKEN (POSTHOUSE_TOKEN_FILE=PATH), or a client certificate"})
		case !c.Role.may(e.role):
			refuse(a, Problem{Status: http.StatusForbidden, Code: "A003", Detail: "this needs the role " + string(e.role) + ", and who asks has " + string(c.Role), Help: s.wayIn()})
		default:
			next(a, r)
		}
	}
}

// wayIn says how to get a role.
func (s *Server) wayIn() string {
	if s.opts.Access.Socket != "" {
		return "use the socket, --admin unix:" + s.opts.Access.Socket + ", as the user of the daemon or root; or give the user another role in admin.users"
	}
	return "give the user another role in admin.users, and restart the daemon"
}

// wantsBodies reports whether r asks for bodies; it refuses those who may not see them.
func (s *Server) wantsBodies(w http.ResponseWriter, r *http.Request) (whole, ok bool) {
	whole = r.URL.Query().Get("body") == "1"
	if whole && !callerOf(r).Bodies {
		refuse(w, Problem{Status: http.StatusForbidden, Code: "A017", Detail: "bodies may only be seen by those who have the right to", Help: "leave body=1 out, or give the user bodies: true in admin.users"})
		return false, false
	}
	return whole, true
}
