package routes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// TraceOptions is what a trace needs to know beside the table.
type TraceOptions struct {
	Kinds    Kinds
	Repeater string    // name of the daemon, in the path that a message collects
	Now      time.Time // decides about expiry
}

// A Trace says what becomes of a message: at every source where it was looked for, and on from there over every broker
// of the file, until it stays somewhere. Nothing is connected: it is what the file says.
type Trace struct {
	Sources []Arrival `json:"sources"`
	Cut     bool      `json:"cut,omitempty"` // there is more than is shown
}

// An Arrival is a message at one source, and what each enabled route that reads there makes of it.
type Arrival struct {
	At       string     `json:"at"` // BROKER/NAME
	Routes   []RouteSay `json:"routes"`
	Unrouted Unrouted   `json:"unrouted,omitempty"` // no route takes it: its fate
}

// A RouteSay is what one route makes of a message.
type RouteSay struct {
	Route   string   `json:"route"`
	Says    string   `json:"says"` // takes, no, preceded, skips, dead-letter, stops, echo, loop
	Error   string   `json:"error,omitempty"`
	Filter  *Term    `json:"filter,omitempty"`
	Set     []Looked `json:"set,omitempty"` // headers that its targets get
	Unset   []string `json:"unset,omitempty"`
	Targets []Sent   `json:"targets,omitempty"`
}

// What a route may say of a message.
const (
	SayTakes    = "takes"
	SayNo       = "no"
	SayPreceded = "preceded" // another route of the source takes it
	SaySkips    = "skips"    // an expression fails, and the route says skip
	SayDead     = "dead-letter"
	SayStops    = "stops"
	SayEcho     = "echo" // has been at its target already, by the same entry of the topology
	SayLoop     = "loop" // has been on this route, or on too many
)

// A Sent is a message on one lane of a route that takes it.
type Sent struct {
	Lane   string    `json:"lane"`
	Target string    `json:"target"` // BROKER/NAME
	Key    *string   `json:"key,omitempty"`
	Error  string    `json:"error,omitempty"` // it cannot be made into one for the target
	Next   []Arrival `json:"next,omitempty"`  // where a route of the file reads what arrives there
}

// The most of a trace that is shown. max_hops ends every way; several targets at every hop multiply.
const (
	mostArrivals = 500
	deepest      = 64
)

// Trace follows m from every source for which from says yes.
func (t *Table) Trace(m *adapters.Message, from func(adapters.Address, []*Route) bool, o TraceOptions) Trace {
	tr := &tracer{t: t, o: o, homes: homesOf(t.Brokers), flows: t.Flows()}
	out := Trace{Sources: []Arrival{}}
	for _, rs := range tr.flows {
		if from(rs[0].From, rs) {
			out.Sources = append(out.Sources, tr.arrive(rs, m, 0))
		}
	}
	out.Cut = tr.cut
	return out
}

// A tracer follows one message.
type tracer struct {
	t     *Table
	o     TraceOptions
	homes homes
	flows [][]*Route
	seen  int // arrivals
	cut   bool
}

// arrive asks the routes of one source.
func (tr *tracer) arrive(rs []*Route, m *adapters.Message, depth int) Arrival {
	tr.seen++
	out := Arrival{At: rs[0].From.String()}
	wanted := false
	for i, d := range Decide(nil, rs, m) {
		say := tr.say(rs[i], d, m, depth)
		wanted = wanted || d.wants()
		out.Routes = append(out.Routes, say)
	}
	if !wanted {
		out.Unrouted = FateUnrouted(rs)
	}
	return out
}

func (tr *tracer) say(r *Route, d Decision, m *adapters.Message, depth int) RouteSay {
	say := RouteSay{Route: r.Name, Says: []string{SayNo, SayPreceded, SayTakes, SaySkips, SayDead, SayStops}[d.Verdict]}
	if d.Err != nil {
		say.Error = d.Err.Error()
	}
	if r.Filter != nil && d.Verdict != Preceded {
		term := r.Filter.Terms(m, r.Name)
		say.Filter = &term
	}
	if d.Verdict != Taken {
		return say
	}
	hop := r.hopAt(tr.o.Repeater)
	if round := r.Round(m.Track.Path, hop); round != Onward {
		say.Says = map[Round]string{Echo: SayEcho, Loop: SayLoop}[round]
		return say
	}
	for _, e := range d.Edits {
		if e.V.Type() == adapters.TNull {
			say.Unset = append(say.Unset, e.Name)
		} else {
			say.Set = append(say.Set, Looked{Name: e.Name, Value: shownValue(e.V)})
		}
	}
	for i := range r.To {
		say.Targets = append(say.Targets, tr.send(r, &r.To[i], m.WithEdits(d.Edits), hop, depth))
	}
	return say
}

// shownValue is the value of a header as JSON would have it: text in quotes, numbers without.
func shownValue(v adapters.Value) string {
	if v.Type() == adapters.TString {
		return shown(v.Str())
	}
	return v.Text()
}

// send makes of m what the target would get, and follows it from there.
func (tr *tracer) send(r *Route, to *Target, m *adapters.Message, hop string, depth int) Sent {
	s := Sent{Lane: r.Name + "/" + to.Name, Target: to.Addr.String()}
	there, err := tr.fit(r, to, m, hop)
	switch {
	case errors.Is(err, bridge.ErrExpired):
		s.Error = "its expiry has passed: " + r.Expired.text()
		return s
	case err != nil:
		s.Error = err.Error()
		return s
	}
	if there.Key != nil {
		key := shown(string(there.Key))
		s.Key = &key
	}
	for _, rs := range tr.flows {
		if !tr.homes.feeds(to.Addr, rs[0].From) {
			continue
		}
		if tr.seen >= mostArrivals || depth >= deepest {
			tr.cut = true
			return s
		}
		s.Next = append(s.Next, tr.arrive(rs, tr.restore(rs[0].From.Broker, there), depth+1))
	}
	return s
}

// fit is what a lane does before it sends.
func (tr *tracer) fit(r *Route, to *Target, m *adapters.Message, hop string) (*adapters.Message, error) {
	own := *m
	if own.Track.ID = "example"; own.Track.Origin == "" {
		own.Track.Origin = own.Track.ID
	}
	own.Track.Path = append(slices.Clip(m.Track.Path), hop)
	e := to.Key
	if e == nil {
		e = r.Key
	}
	if e != nil {
		key, err := e.String(m, r.Name)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		own.Key = []byte(key)
	}
	if r.Expired == ExpiredDeliver {
		own.Expires = 0
	}
	out, _, err := bridge.Fit(&own, tr.headers(to.Addr.Broker), bridge.Options{}, tr.o.Now)
	return out, err
}

// restore is what a source does with what it receives.
func (tr *tracer) restore(broker string, m *adapters.Message) *adapters.Message {
	b := tr.t.Brokers[broker]
	own := *m
	own.Received = tr.o.Now.UnixMilli()
	out, _ := bridge.Restore(&own, tr.headers(broker), bridge.Options{Trusted: b.Trusted, TrustValues: b.TrustValues})
	return out
}

// headers is what the protocol of a broker holds of a message.
func (tr *tracer) headers(broker string) adapters.Headers {
	b := tr.t.Brokers[broker]
	return tr.o.Kinds[b.Kind].Capabilities(b.Config).Headers
}

// Sources lists the sources of the enabled routes as BROKER/NAME.
func (t *Table) Sources() (names []string) {
	for _, rs := range t.Flows() {
		if n := rs[0].From.String(); !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Summary is the trace in one line: the routes that take the message, and where it comes to rest.
func (t Trace) Summary() string {
	if takers := t.takers(); len(takers) > 0 {
		return fmt.Sprintf("taken by %s; it ends at %s", strings.Join(takers, ", "), sorted(t.ends()))
	}
	return "no route takes it"
}

// Text is the trace as people read it.
func (t Trace) Text() string {
	var b strings.Builder
	for _, a := range t.Sources {
		a.text(&b, "")
	}
	if t.Cut {
		b.WriteString("... the way goes on: what is behind this is not shown\n")
	}
	return b.String()
}

func (a Arrival) text(b *strings.Builder, in string) {
	fmt.Fprintf(b, "%sat %s\n", in, a.At)
	for _, s := range a.Routes {
		s.text(b, in+"  ")
	}
	if a.Unrouted != "" {
		fmt.Fprintf(b, "%s  no route takes it: %s\n", in, map[Unrouted]string{UnroutedDeadLetter: "dead letter, reason unroutable",
			UnroutedLeave: "it goes back to the source after a pause", UnroutedSkip: "it is settled and counted as filtered"}[a.Unrouted])
	}
}

func (s RouteSay) text(b *strings.Builder, in string) {
	says := map[string]string{SayTakes: "takes it", SayNo: "no", SayPreceded: "not asked: another route takes it", SaySkips: "skips it: on_filter_error",
		SayDead: "dead letter: on_filter_error", SayStops: "stops at it: on_filter_error", SayEcho: "leaves it out: an echo, it has been at the target already", SayLoop: "dead letter, reason loop: it has been on this route before, or on too many"}[s.Says]
	fmt.Fprintf(b, "%sroute %s: %s\n", in, s.Route, says)
	if s.Error != "" && (s.Filter == nil || s.Filter.Says != SaysFail) { // else its term says it
		fmt.Fprintf(b, "%s  error      %s\n", in, clip(s.Error))
	}
	if s.Filter != nil {
		s.Filter.text(b, in+"  ", "filter")
	}
	for _, h := range s.Set {
		fmt.Fprintf(b, "%s  set        %s = %s\n", in, clip(h.Name), h.Value)
	}
	for _, n := range s.Unset {
		fmt.Fprintf(b, "%s  unset      %s\n", in, clip(n))
	}
	for _, t := range s.Targets {
		t.text(b, in+"  ")
	}
}

func (t Term) text(b *strings.Builder, in, word string) {
	fmt.Fprintf(b, "%s%-10s %-9s  %s\n", in, word, t.Says, clip(t.Source))
	for _, l := range t.Seen {
		value := l.Value
		if l.Error != "" {
			value = "cannot be read: " + l.Error
		}
		fmt.Fprintf(b, "%s%-21s  %s = %s\n", in, "", clip(l.Name), clip(value))
	}
	if t.Error != "" {
		fmt.Fprintf(b, "%s%-21s  %s\n", in, "", clip(t.Error))
	}
	for _, sub := range t.Terms {
		sub.text(b, in+"  ", t.Op)
	}
}

func (s Sent) text(b *strings.Builder, in string) {
	line := fmt.Sprintf("%sto         %s, lane %s", in, s.Target, s.Lane)
	if s.Key != nil {
		line += ", key " + *s.Key
	}
	if s.Error != "" {
		line += ": not sent: " + clip(s.Error)
	}
	b.WriteString(line + "\n")
	for _, a := range s.Next {
		a.text(b, in+"  ")
	}
}

// Text is the term, with its parts, as people read it.
func (t Term) Text() string {
	var b strings.Builder
	for _, sub := range t.Terms {
		sub.text(&b, "  ", t.Op)
	}
	if len(t.Terms) == 0 {
		t.text(&b, "  ", "term")
	}
	return b.String()
}
