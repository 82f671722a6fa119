package admin

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/repeater"
)

// A DeadOrder is the body of what is done with dead letters.
type DeadOrder struct {
	repeater.Selection
	All    bool   `json:"all,omitempty"`          // every one is meant; needed where nothing else says which
	Expect *int   `json:"expect_count,omitempty"` // as many must be selected; needed to discard
	To     *Place `json:"to,omitempty"`           // of move
	Reason string `json:"why,omitempty"`          // for the log; needed to discard
}

// A Place is where messages are moved to.
type Place struct {
	Broker  string `json:"broker"`
	Queue   string `json:"queue,omitempty"` // one of the three, as the broker has it
	Topic   string `json:"topic,omitempty"`
	Subject string `json:"subject,omitempty"`
}

// A DeadRoute is a route with its dead letters.
type DeadRoute struct {
	Route    string     `json:"route"`
	Messages uint64     `json:"messages"` // that are here
	Bytes    int64      `json:"bytes"`
	Oldest   *time.Time `json:"oldest_message_at,omitempty"` // received
	Kept     bool       `json:"kept"`                        // here; false: they are on their way to the place that the file names
	Place    string     `json:"place,omitempty"`             // that one
}

// patience is how long an answer waits for messages that are under way.
const patience = time.Minute

// patient is the context of r, for as long as an answer waits.
func patient(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), patience)
}

// buries is what can be asked of dead letters.
func (s *Server) buries() []endpoint {
	es := []endpoint{{method: "GET", path: "/api/v1/dlq", does: "The routes that have a place for dead letters, and how many are there.", answer: []DeadRoute{}, handle: s.dead}}
	if s.opts.Repeater == nil {
		return es
	}
	params := append([]param{{"reason", "only those that are dead for it"}, {"lane", "only those of the lane, ROUTE/TARGET"}}, pageParams...)
	es = append(es,
		endpoint{method: "GET", path: "/api/v1/dlq/{route}/messages", does: "Dead letters of a route.", query: params, answer: repeater.Page{},
			handle: func(w http.ResponseWriter, r *http.Request) { s.page(w, r, deadIn(r)) }},
		endpoint{method: "GET", path: "/api/v1/dlq/{route}/messages/{seq}", does: "One of them.", query: pageParams[3:], answer: repeater.Letter{},
			handle: func(w http.ResponseWriter, r *http.Request) { s.letter(w, r, deadIn(r)) }})
	for _, a := range []repeater.DeadAction{repeater.DeadRetry, repeater.DeadMove, repeater.DeadDiscard} {
		role := Operator
		if a == repeater.DeadDiscard {
			role = Admin
		}
		es = append(es, endpoint{method: "POST", role: role, path: "/api/v1/dlq/{route}/" + string(a), does: deadDoes[a], long: true,
			query: []param{dryParam}, body: DeadOrder{}, answer: repeater.DeadDone{},
			handle: func(w http.ResponseWriter, r *http.Request) { s.bury(w, r, a) }})
	}
	return es
}

var deadDoes = map[repeater.DeadAction]string{
	repeater.DeadRetry:   "Send dead letters again, through the lanes that they come from.",
	repeater.DeadMove:    "Send dead letters to another place, with their reasons in headers.",
	repeater.DeadDiscard: "Give up dead letters, for good.",
}

func deadIn(r *http.Request) string { return r.PathValue("route") + "/" + deadLane }

// deadLane is the name of a route's lane for dead letters.
const deadLane = "dead-letter"

func (s *Server) dead(w http.ResponseWriter, _ *http.Request) {
	out := []DeadRoute{}
	for _, r := range s.opts.Status().Routes {
		if d := r.Dead; d != nil {
			kept := d.State == "local"
			place := d.Link.Address
			if kept {
				place = ""
			}
			out = append(out, DeadRoute{r.Name, d.Spooled, d.SpooledBytes, d.Oldest, kept, place})
		}
	}
	document(w, out)
}

// bury does something with dead letters.
func (s *Server) bury(w http.ResponseWriter, r *http.Request, action repeater.DeadAction) {
	var b DeadOrder
	if !read(w, r, &b) {
		return
	}
	dry := isDry(r)
	a := repeater.DeadAsk{Route: r.PathValue("route"), Action: action, Selection: b.Selection, All: b.All, Expect: b.Expect, DryRun: dry,
		By: callerOf(r).Name, Why: strings.TrimSpace(b.Reason)}
	switch {
	case action == repeater.DeadMove && !b.To.address(&a.To):
		refuse(w, Problem{Status: http.StatusBadRequest, Code: "A014", Detail: "it is not said where to", Help: `send "to": {"broker": "NAME", "queue": "NAME"}`})
		return
	case action != repeater.DeadDiscard || dry:
	case b.Expect == nil:
		refuse(w, Problem{Status: http.StatusPreconditionRequired, Code: "A011", Detail: "what is given up for good needs expect_count", Help: "count first with dry_run=1"})
		return
	case a.Why == "":
		answer(w, nil, repeater.ErrReason)
		return
	}
	ctx, cancel := patient(r)
	defer cancel()
	out, err := s.opts.Repeater.DeadLetters(ctx, a)
	answer(w, out, err)
}

// address is p as an address; false if it names none.
func (p *Place) address(to *adapters.Address) bool {
	if p == nil || p.Broker == "" {
		return false
	}
	found := 0
	for form, name := range map[adapters.Form]string{adapters.Queue: p.Queue, adapters.Topic: p.Topic, adapters.Subject: p.Subject} {
		if name != "" {
			*to = adapters.Address{Broker: p.Broker, Form: form, Name: name}
			found++
		}
	}
	return found == 1
}
