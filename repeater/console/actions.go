package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
)

// Actions is what the pages can do; *repeater.Repeater is one.
type Actions interface {
	Command(ctx context.Context, c repeater.Command) (repeater.Obeyed, error)
	DeadLetters(ctx context.Context, a repeater.DeadAsk) (repeater.DeadDone, error)
	Browse(ctx context.Context, q repeater.Query) (repeater.Page, error)
}

// steer gives a route an order and goes back to its page.
func (c *Console) steer(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("route")
	if c.opts.Actions == nil {
		c.fail(w, r, errNoPage)
		return
	}
	done, err := c.opts.Actions.Command(r.Context(), repeater.Command{Name: name, Order: repeater.Order(r.PathValue("order")), By: admin.GuestOf(r).Name, Reason: r.PostFormValue("reason")})
	if err != nil {
		c.fail(w, r, err)
		return
	}
	word := string(done.Order) + " is done"
	if !done.Changed && done.Order != repeater.Restart {
		word = "it had been told so before"
	}
	back(w, r, "routes/"+url.PathEscape(name), word)
}

// back shows a page with what was done. The answer to a form is another page, or a reload of it would do it twice.
func back(w http.ResponseWriter, r *http.Request, page, did string) {
	http.Redirect(w, r, Prefix+page+"?did="+url.QueryEscape(did), http.StatusSeeOther)
}

func (c *Console) deadLetters(*http.Request) (view, error) {
	var rows []repeater.RouteStatus
	for _, r := range c.opts.Status().Routes {
		if r.Dead != nil && (r.Dead.Spooled > 0 || r.Dead.State == "local") {
			rows = append(rows, r)
		}
	}
	return view{Page: "deadletters", Title: "Dead letters", Data: rows}, nil
}

// lettersOf is a page of the dead letters of a route.
func (c *Console) lettersOf(r *http.Request) (view, error) {
	s, err := c.find(r)
	if err != nil {
		return view{}, err
	}
	if c.opts.Actions == nil || s.Dead == nil {
		return view{}, errNoPage
	}
	q := r.URL.Query()
	after, _ := strconv.ParseUint(q.Get("after"), 10, 64) // what is no number begins at the first
	whole := q.Get("body") == "1" && admin.GuestOf(r).Bodies
	page, err := c.opts.Actions.Browse(r.Context(), repeater.Query{Lane: s.Dead.Name, After: after, Whole: whole,
		Selection: repeater.Selection{Reason: q.Get("reason"), Filter: q.Get("filter")}})
	if err != nil {
		return view{}, err
	}
	var brokers []string
	for name := range c.opts.Table().Brokers {
		brokers = append(brokers, name)
	}
	return view{Page: "letters", Title: "Dead letters of " + s.Name, Still: true, Data: struct {
		Route          repeater.RouteStatus
		Page           repeater.Page
		Reason, Filter string
		Brokers        []string
		Whole          bool
		Forms          []adapters.Form
	}{s, page, q.Get("reason"), q.Get("filter"), brokers, whole, forms}}, nil
}

// forms are those that dead letters can be moved to.
var forms = []adapters.Form{adapters.Queue, adapters.Topic, adapters.Subject}

// errNothing says that no message was chosen.
var errNothing = errors.New("no message was chosen: tick some, or all of them")

// bury does something with the dead letters that a form has chosen.
func (c *Console) bury(w http.ResponseWriter, r *http.Request) {
	ask, err := askOf(r)
	if c.opts.Actions == nil {
		err = errNoPage
	}
	var done repeater.DeadDone
	if err == nil {
		done, err = c.opts.Actions.DeadLetters(r.Context(), ask)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	did := fmt.Sprintf("%s: %d of %d", done.Action, done.Done, done.Selected)
	if done.Pending > 0 {
		did += fmt.Sprintf(", %d under way", done.Pending)
	}
	if done.Failed > 0 {
		did += fmt.Sprintf(", %d stay", done.Failed)
		if len(done.Failures) > 0 {
			did += ": " + done.Failures[0].Error
		}
	}
	back(w, r, "dead-letters/"+url.PathEscape(ask.Route), did)
}

// askOf reads the form.
func askOf(r *http.Request) (a repeater.DeadAsk, err error) {
	if err := r.ParseForm(); err != nil {
		return a, err
	}
	a = repeater.DeadAsk{Route: r.PathValue("route"), By: admin.GuestOf(r).Name, Action: repeater.DeadAction(r.PathValue("action")), Why: strings.TrimSpace(r.PostForm.Get("why"))}
	for _, id := range r.PostForm["id"] {
		seq, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return a, fmt.Errorf("a message without a number: %q", id)
		}
		a.Seqs = append(a.Seqs, seq)
	}
	if len(a.Seqs) == 0 {
		return a, errNothing
	}
	switch a.Action {
	case repeater.DeadMove:
		a.To = adapters.Address{Broker: r.PostForm.Get("broker"), Form: adapters.Form(r.PostForm.Get("form")), Name: strings.TrimSpace(r.PostForm.Get("name"))}
		if !slices.Contains(forms, a.To.Form) || a.To.Name == "" {
			return a, errors.New("it is not said where to: name a queue, a topic or a subject")
		}
	case repeater.DeadDiscard:
		n := len(a.Seqs)
		if a.Expect = &n; a.Why == "" {
			return a, repeater.ErrReason
		}
	}
	return a, nil
}

// fail is the page of an error.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusConflict
	if errors.Is(err, errNoPage) || errors.Is(err, repeater.ErrNoRoute) {
		status = http.StatusNotFound
	}
	c.write(w, status, view{Page: "error", Title: "Nothing was changed", Still: true, Data: err.Error(), Guest: admin.GuestOf(r)})
}
