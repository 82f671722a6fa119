// Package console is the repeater in a browser: pages that the daemon makes itself, from the same status that the API has.
//
// Every page is whole without a script: pictures and plots are drawn here, as SVG. With one (htmx) its live part is fetched
// again every two seconds. What changes something is a form; it goes to the same methods of the repeater as a command does.
package console

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
	"github.com/posthouse/posthouse/routes"
)

// Prefix is below which all pages are.
const Prefix = "/console/"

// Options are what the pages show, and what they may do. The functions are called for each page and have to be safe for
// concurrent use.
type Options struct {
	Status  func() repeater.Status // required
	Table   func() *routes.Table   // required: what runs
	Keeper  *repeater.Keeper       // nil = no page for the configuration
	Actions Actions                // nil = nothing can be changed, and no message can be looked at
	Version string
	Log     *slog.Logger // nil = discard
}

// A Console makes the pages. It is safe for concurrent use.
type Console struct {
	opts  Options
	pages map[string]*template.Template
	past  *past
}

//go:embed templates static
var files embed.FS

// New makes a console; Run lets it remember, Handler is its pages.
func New(o Options) *Console {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Console{opts: o, pages: map[string]*template.Template{}, past: newPast()}
	layout := template.Must(template.New("layout.html").Funcs(functions).ParseFS(files, "templates/layout.html"))
	names, _ := fs.Glob(files, "templates/*.html") // the pattern is a good one
	for _, name := range names {
		c.pages[name[len("templates/"):len(name)-len(".html")]] = template.Must(template.Must(layout.Clone()).ParseFS(files, name))
	}
	return c
}

// every is how often the console looks at the repeater, to have something to plot.
const every = 2 * time.Second

// Run looks at the repeater until ctx ends.
func (c *Console) Run(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		c.past.note(time.Now(), c.opts.Status())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Handler serves everything below Prefix.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	static, _ := fs.Sub(files, "static") // is there
	mux.Handle("GET "+Prefix+"static/", http.StripPrefix(Prefix+"static/", cached(http.FileServerFS(static))))
	for path, page := range map[string]func(*http.Request) (view, error){
		"{$}": c.overview, "routes": c.routes, "routes/{route}": c.route, "bridges": c.bridges, "brokers": c.brokers,
		"spool": c.spool, "dead-letters": c.deadLetters, "dead-letters/{route}": c.lettersOf, "config": c.config,
		"events": c.events, "login": c.login,
	} {
		mux.HandleFunc("GET "+Prefix+path, func(w http.ResponseWriter, r *http.Request) { c.show(w, r, page) })
	}
	mux.HandleFunc("POST "+Prefix+"routes/{route}/{order}", c.steer)
	mux.HandleFunc("POST "+Prefix+"dead-letters/{route}/{action}", c.bury)
	mux.HandleFunc(Prefix, func(w http.ResponseWriter, r *http.Request) { c.fail(w, r, errNoPage) })
	return mux
}

// cached lets a browser keep what only changes with the program.
func cached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		next.ServeHTTP(w, r)
	})
}

// A view is what a page shows.
type view struct {
	Page  string // its template
	Title string
	Still bool // nothing of it is fetched again
	Data  any

	// of every page
	Repeater string
	Config   repeater.ConfigStatus
	Version  string
	Notice   string // what has been done
	URL      string // of the page, without the notice
	Now      time.Time
	Keeper   bool
	Guest    admin.Guest
}

// show answers with a page.
func (c *Console) show(w http.ResponseWriter, r *http.Request, page func(*http.Request) (view, error)) {
	v, err := page(r)
	if err != nil {
		c.fail(w, r, err)
		return
	}
	q := r.URL.Query()
	v.Notice = q.Get("did")
	q.Del("did")
	v.Guest = admin.GuestOf(r)
	v.URL = (&url.URL{Path: r.URL.Path, RawQuery: q.Encode()}).RequestURI()
	c.write(w, http.StatusOK, v)
}

// write writes a page as a whole or, when that fails, an error without a page.
func (c *Console) write(w http.ResponseWriter, status int, v view) {
	st := c.opts.Status()
	v.Repeater, v.Config, v.Version, v.Now, v.Keeper = st.Repeater, st.Config, c.opts.Version, time.Now(), c.opts.Keeper != nil
	var b bytes.Buffer
	if err := c.pages[v.Page].Execute(&b, v); err != nil {
		c.opts.Log.Error("a page of the console could not be made", "page", v.Page, "err", err)
		http.Error(w, "this page could not be made: the log says why", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser went away: nobody to tell
}
