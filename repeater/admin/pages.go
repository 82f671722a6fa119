package admin

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The console's pages, for callers with a browser. A browser cannot send a token with each request, so there is a page that
// takes one and gives a cookie for it; it counts for pages only, and until the daemon ends.

// Where the pages are, and the one that takes a token.
const (
	pagesAt = "/console/"
	loginAt = "/console/login"
)

// console serves the pages to those who have the role that they need, and to everybody the one where one gets it.
func (s *Server) console(mux *http.ServeMux) {
	if s.opts.Console == nil {
		return
	}
	for _, e := range []endpoint{
		{method: "GET", path: pagesAt, role: Viewer},
		{method: "POST", path: pagesAt, role: Operator},
		{method: "POST", path: pagesAt + "dead-letters/{route}/discard", role: Admin},
	} {
		mux.HandleFunc(e.method+" "+e.path, s.guard(&e, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(longest)) // else the server's own holds
			s.opts.Console.ServeHTTP(w, r)
		}))
	}
	mux.Handle("GET /{$}", http.RedirectHandler(pagesAt, http.StatusFound))
	mux.Handle("GET "+pagesAt+"static/", s.opts.Console)
	mux.Handle("GET "+loginAt, s.opts.Console)
	mux.HandleFunc("POST "+loginAt, s.login)
}

// isPage reports whether r is for a page, and from a browser that can be shown another one.
func isPage(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, pagesAt)
}

// A login is a browser's.
type login struct {
	user  string
	until time.Time
}

// logins are by the value of their cookie.
type logins struct {
	mu sync.Mutex
	by map[string]login
}

// Bounds of logins.
const (
	loginLasts = 12 * time.Hour
	mostLogins = 1000
	cookieName = "posthouse"
)

// enter makes a login and returns the value of its cookie. Those that are over are forgotten; when there are too many, all are.
func (l *logins) enter(user string, now time.Time) (id string) {
	id = rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, v := range l.by {
		if now.After(v.until) || len(l.by) >= mostLogins {
			delete(l.by, k)
		}
	}
	if l.by == nil {
		l.by = map[string]login{}
	}
	l.by[id] = login{user, now.Add(loginLasts)}
	return id
}

// user is whose browser r is from; "" = nobody's. Only pages are asked with a cookie.
func (l *logins) user(r *http.Request, now time.Time) string {
	c, err := r.Cookie(cookieName)
	if err != nil || !strings.HasPrefix(r.URL.Path, pagesAt) {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := l.by[c.Value]; now.Before(v.until) {
		return v.user
	}
	return ""
}

// login takes a token and gives a cookie.
func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	a := s.audit.begin(w, r, &endpoint{method: "POST", path: loginAt})
	defer a.end()
	r.Body = http.MaxBytesReader(a, r.Body, 64<<10)
	given := strings.TrimSpace(r.PostFormValue("token"))
	for _, u := range s.opts.Access.Users {
		ok, err := s.hasToken(&u, given)
		if err != nil {
			s.opts.Log.Error(errNoToken.Error(), "err", err)
		}
		if ok {
			a.e.User = u.Name
			http.SetCookie(a, &http.Cookie{Name: cookieName, Value: s.logins.enter(u.Name, time.Now()), Path: pagesAt, HttpOnly: true,
				Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
			http.Redirect(a, r, pagesAt, http.StatusSeeOther)
			return
		}
	}
	http.Redirect(a, r, loginAt+"?wrong=1", http.StatusSeeOther)
}

// A Guest is who is looking at a page.
type Guest struct {
	Name                     string // "" where there are no users
	MaySteer, MayGiveUp      bool
	Bodies, CanLogIn, Logged bool // bodies may be seen; there are users; the browser has given a token
}

type guestKey struct{}

// GuestOf is who has sent r, which has come by a Server.
func GuestOf(r *http.Request) Guest {
	g, _ := r.Context().Value(guestKey{}).(Guest)
	return g
}

// asGuest tells the console who c is.
func (s *Server) asGuest(ctx context.Context, c Caller) context.Context {
	users := len(s.opts.Access.Users) > 0
	return context.WithValue(ctx, guestKey{}, Guest{Name: c.Name, MaySteer: c.Role.may(Operator), MayGiveUp: c.Role.may(Admin), Bodies: c.Bodies,
		CanLogIn: users, Logged: users && c.Name != ""})
}
