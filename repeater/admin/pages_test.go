package admin_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/repeater/admin"
	"github.com/posthouse/posthouse/routes"
)

// A browser keeps cookies and shows what a page says of its guest.
type browser struct {
	t    *testing.T
	base string
	c    http.Client
}

func newBrowser(t *testing.T, addr string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, "http://" + addr, http.Client{Jar: jar, Transport: &http.Transport{}}}
	t.Cleanup(b.c.CloseIdleConnections)
	return b
}

// get returns where it has got to, and what is there.
func (b *browser) get(path string) (code int, at, text string) {
	b.t.Helper()
	return b.read(b.c.Get(b.base + path))
}

func (b *browser) post(path string, form url.Values) (code int, at, text string) {
	b.t.Helper()
	return b.read(b.c.PostForm(b.base+path, form))
}

func (b *browser) read(res *http.Response, err error) (code int, at, text string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, res.Request.URL.RequestURI(), string(all)
}

// guestbook is a console whose pages say who looks at them.
func guestbook(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "%s %s %+v", r.Method, r.URL.Path, admin.GuestOf(r)) // the test reads it
}

// Where there are users a page is shown to who has given a token, and does what the role may; a cookie counts for pages only.
func TestPagesNeedALogin(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.log")
	s := served(t, admin.Options{Status: status("up", ""), Metrics: prometheus.NewRegistry(), Console: http.HandlerFunc(guestbook),
		Access: admin.Access{Admin: routes.Admin{Audit: log, Users: []routes.AdminUser{
			token(t, "vera", "viewer", "v-secret"), token(t, "otto", "operator", "o-secret")}}}})
	b := newBrowser(t, s)
	if _, at, text := b.get("/"); at != "/console/login" || !strings.Contains(text, "CanLogIn:false") {
		t.Errorf("without a token: %s: %s", at, text)
	}
	if code, _, _ := b.get("/console/static/console.css"); code != 200 {
		t.Errorf("the looks of the login page: %d", code)
	}
	if code, _, _ := b.post("/console/routes/x/pause", nil); code != 401 {
		t.Errorf("an order of nobody: %d", code)
	}
	if _, at, _ := b.post("/console/login", url.Values{"token": {"x-secret"}}); at != "/console/login?wrong=1" {
		t.Errorf("a wrong token leads to %s", at)
	}
	_, at, text := b.post("/console/login", url.Values{"token": {" v-secret\n"}})
	if at != "/console/" || !strings.Contains(text, "Name:vera MaySteer:false MayGiveUp:false Bodies:false CanLogIn:true Logged:true") {
		t.Errorf("vera is at %s: %s", at, text)
	}
	if code, _, _ := b.post("/console/routes/x/pause", nil); code != 403 {
		t.Errorf("an order of a viewer: %d", code)
	}
	if code, _, _ := b.get("/api/v1/status"); code != 401 {
		t.Errorf("a cookie for the API: %d", code)
	}
	if _, _, text = b.post("/console/login", url.Values{"token": {"o-secret"}}); !strings.Contains(text, "Name:otto MaySteer:true MayGiveUp:false") {
		t.Errorf("otto: %s", text)
	}
	if code, _, text := b.post("/console/routes/x/pause", nil); code != 200 || !strings.Contains(text, "POST /console/routes/x/pause") {
		t.Errorf("an order of an operator: %d %s", code, text)
	}
	if code, _, _ := b.post("/console/dead-letters/x/discard", nil); code != 403 {
		t.Errorf("an operator gives messages up: %d", code)
	}
	es := lines(t, log)
	if last := es[len(es)-1]; last.User != "otto" || last.Status != 403 {
		t.Errorf("%+v", last)
	}
	for _, e := range es {
		if strings.Contains(fmt.Sprint(e), "-secret") {
			t.Errorf("a token is in the audit log: %+v", e)
		}
	}
}

// Without users the pages are for whoever reaches them.
func TestPagesWithoutUsers(t *testing.T) {
	b := newBrowser(t, served(t, admin.Options{Status: status("up", ""), Metrics: prometheus.NewRegistry(), Console: http.HandlerFunc(guestbook)}))
	if code, at, text := b.get("/"); code != 200 || at != "/console/" || !strings.Contains(text, "MaySteer:true MayGiveUp:true Bodies:true CanLogIn:false") {
		t.Errorf("%d %s %s", code, at, text)
	}
}
