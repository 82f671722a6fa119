package admin

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/repeater"
)

// shows are the documents of what runs.
func (s *Server) shows() []endpoint {
	es := []endpoint{
		{method: "GET", path: "/api/v1/status", does: "Everything that runs.", answer: repeater.Status{},
			handle: func(w http.ResponseWriter, _ *http.Request) { document(w, s.opts.Status()) }},
		{method: "GET", path: "/api/v1/routes", does: "The routes with their lanes, in file order.", answer: []repeater.RouteStatus{}, handle: s.routes},
		{method: "GET", path: "/api/v1/routes/{route}", does: "One route.", answer: repeater.RouteStatus{}, handle: s.route},
		{method: "GET", path: "/api/v1/links", does: "The connections of all lanes to their targets.", answer: []Link{}, handle: s.links},
		{method: "GET", path: "/api/v1/bridges", does: "The bridges.", answer: []repeater.BridgeStatus{},
			handle: func(w http.ResponseWriter, _ *http.Request) { document(w, listed(s.opts.Status().Bridges)) }},
		{method: "GET", path: "/api/v1/bridges/{bridge}", does: "One bridge.", answer: repeater.BridgeStatus{}, handle: s.bridge},
		{method: "GET", path: "/api/v1/spools", does: "The journal, and what each lane has in it.", answer: Spools{}, handle: s.spools},
	}
	if s.opts.Repeater != nil {
		es = append(es,
			endpoint{method: "GET", path: "/api/v1/brokers", does: "The brokers of the file, and which ends at them are up.", answer: []Broker{}, handle: s.brokers},
			endpoint{method: "GET", path: "/api/v1/brokers/{broker}", does: "One broker.", answer: Broker{}, handle: s.broker})
	}
	return es
}

func (s *Server) routes(w http.ResponseWriter, _ *http.Request) {
	document(w, listed(s.opts.Status().Routes))
}

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	rs := s.opts.Status().Routes
	one(w, rs, func(x repeater.RouteStatus) string { return x.Name }, r.PathValue("route"), repeater.ErrNoRoute)
}

func (s *Server) bridge(w http.ResponseWriter, r *http.Request) {
	bs := s.opts.Status().Bridges
	one(w, bs, func(b repeater.BridgeStatus) string { return b.Name }, r.PathValue("bridge"), repeater.ErrNoRoute)
}

func (s *Server) broker(w http.ResponseWriter, r *http.Request) {
	one(w, s.allBrokers(), func(b Broker) string { return b.Name }, r.PathValue("broker"), repeater.ErrNoBroker)
}

// one writes the object of that name, or says that there is none.
func one[T any](w http.ResponseWriter, list []T, name func(T) string, want string, none error) {
	i := slices.IndexFunc(list, func(x T) bool { return name(x) == want })
	if i < 0 {
		answer(w, nil, none)
		return
	}
	document(w, list[i])
}

// A Link is the connection of a lane to its target.
type Link struct {
	Lane string `json:"lane"` // ROUTE/TARGET
	repeater.EndStatus
}

func (s *Server) links(w http.ResponseWriter, _ *http.Request) {
	out := []Link{}
	for _, r := range s.opts.Status().Routes {
		for _, l := range r.Lanes {
			out = append(out, Link{l.Name, l.Link})
		}
	}
	document(w, out)
}

// A Broker is one of the file, and what is known of the ends at it.
type Broker struct {
	Name      string   `json:"name"`
	Kind      string   `json:"type"`
	Site      string   `json:"site,omitempty"`
	Addresses []string `json:"addresses"`
	State     string   `json:"state"` // that of the worst of its ends; unused: it has none
	Sources   int      `json:"sources"`
	SourcesUp int      `json:"sources_up"`
	Targets   int      `json:"targets"`
	TargetsUp int      `json:"targets_up"`
	Error     string   `json:"last_error,omitempty"` // of an end that is not up
}

func (s *Server) brokers(w http.ResponseWriter, _ *http.Request) { document(w, s.allBrokers()) }

// worst orders the states of ends.
var worst = []string{"unused", "up", "paused", "starting", "down", "blocked"}

// allBrokers are those of the file, by name.
func (s *Server) allBrokers() []Broker {
	t := s.opts.Repeater.Table()
	by := map[string]*Broker{}
	out := make([]Broker, 0, len(t.Brokers))
	for name, b := range t.Brokers {
		out = append(out, Broker{Name: name, Kind: b.Kind, Site: b.Site, Addresses: listed(b.Config.Addresses), State: "unused"})
	}
	slices.SortFunc(out, func(a, b Broker) int { return strings.Compare(a.Name, b.Name) })
	for i := range out {
		by[out[i].Name] = &out[i]
	}
	for _, r := range s.opts.Status().Routes {
		by[before(r.Source.Address)].end(r.Source, true)
		for _, l := range r.Lanes {
			by[before(l.Link.Address)].end(l.Link, false)
		}
	}
	return out
}

// before is the broker of an address, BROKER/NAME.
func before(address string) string {
	broker, _, _ := strings.Cut(address, "/")
	return broker
}

// end counts an end at b; nil is a broker that the file has no more.
func (b *Broker) end(e repeater.EndStatus, source bool) {
	if b == nil {
		return
	}
	n, up := &b.Targets, &b.TargetsUp
	if source {
		n, up = &b.Sources, &b.SourcesUp
	}
	*n++
	if e.State == "up" {
		*up++
	} else if e.Error != "" {
		b.Error = e.Error
	}
	if slices.Index(worst, e.State) > slices.Index(worst, b.State) {
		b.State = e.State
	}
}

// Spools is the document of /api/v1/spools: the journal, and what each lane has in it.
type Spools struct {
	Repeater string                `json:"repeater"`
	Spool    *repeater.SpoolStatus `json:"spool"` // null: the file has no spool section
	Lanes    []repeater.LaneStatus `json:"lanes"`
}

func (s *Server) spools(w http.ResponseWriter, _ *http.Request) {
	st := s.opts.Status()
	out := Spools{Repeater: st.Repeater, Spool: st.Spool}
	for _, r := range st.Routes {
		out.Lanes = append(out.Lanes, r.Lanes...)
	}
	out.Lanes = listed(out.Lanes)
	document(w, out)
}

// listed is a list that is [] in JSON when it is empty.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// nothing answers what no other pattern takes.
func nothing(w http.ResponseWriter, _ *http.Request) {
	refuse(w, Problem{Status: http.StatusNotFound, Code: "A012", Detail: "no such document", Help: "GET /openapi.json describes all that there is"})
}

func document(w http.ResponseWriter, v any) { write(w, http.StatusOK, "application/json", v) }

func refuse(w http.ResponseWriter, p Problem) {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	write(w, p.Status, "application/problem+json", p)
}

func write(w http.ResponseWriter, status int, kind string, v any) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // the client went away: nobody to tell
}
