package admin

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/posthouse/posthouse/repeater"
)

// A LaneVerify is the answer to a look at the records of a route or of all.
type LaneVerify struct {
	Lanes []repeater.Checked `json:"lanes"`
}

// An Adoption is the body of adopt.
type Adoption struct {
	Route  string `json:"route"`            // through which the messages are sent
	Expect *int   `json:"expect_count"`     // as many must be there; null: any number
	Reason string `json:"reason,omitempty"` // for the log
}

// A Purge is the answer to the purge of an orphan.
type Purge struct {
	Lane     string `json:"lane"`
	Messages int    `json:"messages"`
	DryRun   bool   `json:"dry_run"`
}

var pageParams = []param{
	{"cursor", "next of the page before"}, {"limit", "messages of the page, at most 1000; 50 if it is not given"},
	{"filter", "an expression over msg, as the filter of a route"}, {"body", "1: bodies too, and headers that are secrets by their name"},
}

// keeps is what can be asked of the journal.
func (s *Server) keeps() []endpoint {
	if s.opts.Repeater == nil {
		return nil
	}
	expect := param{"expect_count", "as many messages must be there; left out with dry_run only"}
	return []endpoint{
		{method: "GET", path: "/api/v1/spools/{route}/{target}/messages", does: "Messages of a lane, or of an orphan, that are in the journal.",
			query: pageParams, answer: repeater.Page{}, handle: s.browse},
		{method: "GET", path: "/api/v1/spools/{route}/{target}/messages/{seq}", does: "One of them.",
			query: pageParams[3:], answer: repeater.Letter{}, handle: s.spooled},
		{method: "POST", path: "/api/v1/spools/verify", does: "Read every record of the journal that waits, and check it.", long: true,
			body: struct{}{}, answer: LaneVerify{}, handle: s.verify},
		{method: "POST", path: "/api/v1/spools/{route}/{target}/verify", does: "Read every record of a lane that waits, and check it.", long: true,
			body: struct{}{}, answer: LaneVerify{}, handle: s.verify},
		{method: "GET", path: "/api/v1/orphans", does: "Lanes of the journal that no route has.", answer: []repeater.Orphan{}, handle: s.orphans},
		{method: "DELETE", role: Admin, path: "/api/v1/orphans/{route}/{target}", does: "Give up the messages of an orphan, for good.", long: true,
			query: []param{expect, {"reason", "why, for the log"}, dryParam}, answer: Purge{}, handle: s.purge},
		{method: "POST", path: "/api/v1/orphans/{route}/{target}/adopt", does: "Send the messages of an orphan through a route.", long: true,
			query: []param{dryParam}, body: Adoption{}, answer: repeater.DeadDone{}, handle: s.adopt},
	}
}

func laneIn(r *http.Request) string { return r.PathValue("route") + "/" + r.PathValue("target") }

func (s *Server) browse(w http.ResponseWriter, r *http.Request) { s.page(w, r, laneIn(r)) }

// page answers with messages of a lane.
func (s *Server) page(w http.ResponseWriter, r *http.Request, lane string) {
	q := r.URL.Query()
	query := repeater.Query{Lane: lane, Selection: repeater.Selection{Filter: q.Get("filter"), Reason: q.Get("reason"), From: q.Get("lane")}}
	after, ok1 := number(w, q.Get("cursor"), "cursor")
	if !ok1 {
		return
	}
	limit, ok2 := number(w, q.Get("limit"), "limit")
	if !ok2 {
		return
	}
	whole, ok3 := s.wantsBodies(w, r)
	if !ok3 {
		return
	}
	query.After, query.Limit, query.Whole = after, int(min(limit, 1<<20)), whole
	p, err := s.opts.Repeater.Browse(r.Context(), query)
	answer(w, p, err)
}

// number reads a number of the query, 0 if it is not given; it refuses what is none.
func number(w http.ResponseWriter, text, name string) (uint64, bool) {
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		refuse(w, Problem{Status: http.StatusBadRequest, Code: "A014", Detail: fmt.Sprintf("%s is no number: %q", name, text), Help: "write for example " + name + "=50"})
	}
	return n, err == nil
}

func (s *Server) spooled(w http.ResponseWriter, r *http.Request) { s.letter(w, r, laneIn(r)) }

// letter answers with one message of a lane.
func (s *Server) letter(w http.ResponseWriter, r *http.Request, lane string) {
	seq, ok := number(w, r.PathValue("seq"), "sequence")
	if !ok {
		return
	}
	whole, ok := s.wantsBodies(w, r)
	if !ok {
		return
	}
	l, err := s.opts.Repeater.Letter(r.Context(), lane, seq, whole)
	answer(w, l, err)
}

func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	var none struct{}
	if !read(w, r, &none) {
		return
	}
	var lanes []string
	if lane := laneIn(r); lane != "/" {
		lanes = []string{lane}
	}
	found, err := s.opts.Repeater.Verify(r.Context(), lanes...)
	answer(w, LaneVerify{listed(found)}, err)
}

func (s *Server) orphans(w http.ResponseWriter, _ *http.Request) {
	var out []repeater.Orphan
	if sp := s.opts.Status().Spool; sp != nil {
		out = sp.Orphans
	}
	document(w, listed(out))
}

// purge gives up an orphan. What is given up for good is counted first, by who asks.
func (s *Server) purge(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a := repeater.OrphanAsk{Name: laneIn(r), DryRun: isDry(r), By: callerOf(r).Name, Why: strings.TrimSpace(q.Get("reason"))}
	switch {
	case a.DryRun:
	case q.Get("expect_count") == "":
		refuse(w, Problem{Status: http.StatusPreconditionRequired, Code: "A011", Detail: "what is given up for good needs expect_count", Help: "count first with dry_run=1"})
		return
	case a.Why == "":
		answer(w, nil, repeater.ErrReason)
		return
	}
	if text := q.Get("expect_count"); text != "" {
		n, ok := number(w, text, "expect_count")
		if !ok {
			return
		}
		count := int(n)
		a.Expect = &count
	}
	n, err := s.opts.Repeater.Purge(r.Context(), a)
	answer(w, Purge{a.Name, n, a.DryRun}, err)
}

func (s *Server) adopt(w http.ResponseWriter, r *http.Request) {
	var b Adoption
	if !read(w, r, &b) {
		return
	}
	a := repeater.OrphanAsk{Name: laneIn(r), Expect: b.Expect, DryRun: isDry(r), By: callerOf(r).Name, Why: b.Reason}
	ctx, cancel := patient(r)
	defer cancel()
	out, err := s.opts.Repeater.Adopt(ctx, a, b.Route)
	answer(w, out, err)
}
