package routes

import (
	"errors"
	"fmt"
	"slices"
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
	By      string   `json:"served_by,omitempty"` // the repeaters that run it, where the file has some
	Says    string   `json:"says"`                // takes, no, preceded, skips, dead-letter, stops, echo, loop
	Reason  string   `json:"reason,omitempty"`    // of a dead letter
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
	Lane    string    `json:"lane"`
	Target  string    `json:"target"`            // BROKER/NAME
	Share   string    `json:"share,omitempty"`   // where each message goes to one of several: how it comes to this one
	Standby bool      `json:"standby,omitempty"` // it gets messages only while others are away
	Key     *string   `json:"key,omitempty"`
	Note    string    `json:"note,omitempty"`
	Reason  string    `json:"reason,omitempty"` // of a dead letter: no place for it could be computed
	Error   string    `json:"error,omitempty"`  // it cannot be made into one for the target
	Next    []Arrival `json:"next,omitempty"`   // where a route of the file reads what arrives there
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
	if len(tr.t.Repeaters) > 0 {
		say.By = tr.t.ServedBy(r)
	}
	if d.Err != nil {
		say.Error = d.Err.Error()
	}
	if r.Filter != nil && d.Verdict != Preceded {
		term := r.Filter.Terms(m, r.Name)
		say.Filter = &term
	}
	if d.Verdict == SetAside {
		say.Reason = reasonFilter
	}
	if d.Verdict != Taken {
		return say
	}
	hop := r.hopAt(tr.o.Repeater)
	if round := r.Round(m.Track.Path, hop); round != Onward {
		if say.Says = SayEcho; round == Loop {
			say.Says, say.Reason = SayLoop, reasonLoop
		}
		return say
	}
	if err := r.unanswerable(m); err != nil {
		say.Says, say.Reason, say.Error = SayDead, reasonTarget, err.Error()
		return say
	}
	for _, e := range d.Edits {
		if e.V.Type() == adapters.TNull {
			say.Unset = append(say.Unset, e.Name)
		} else {
			say.Set = append(say.Set, Looked{Name: e.Name, Value: shownValue(e.V)})
		}
	}
	for _, c := range r.choices(m) {
		sent := Sent{Lane: r.Name + "/" + c.lane, Target: c.to.Addr.String(), Share: c.share, Standby: c.standby}
		if say.Targets = append(say.Targets, sent); !c.standby {
			tr.send(&say.Targets[len(say.Targets)-1], r, c.to, m.WithEdits(d.Edits), hop, depth)
		}
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
func (tr *tracer) send(s *Sent, r *Route, to *Target, m *adapters.Message, hop string, depth int) {
	if r.Answers != nil && r.Answers.Table() {
		s.Note = "a reply goes where its request has asked for it"
		return
	}
	addr, reason, err := r.placeOf(to, m)
	if err != nil {
		s.Reason, s.Error = reason, err.Error()
		return
	}
	s.Target = addr.String()
	there, err := tr.fit(r, to, m, hop)
	switch {
	case errors.Is(err, bridge.ErrExpired):
		s.Error = "its expiry has passed: " + r.Expired.text()
		return
	case err != nil:
		s.Error = err.Error()
		return
	}
	if r.Asks != nil && r.Asks.Mode != ReplyKeep {
		s.Note = "its reply is expected at " + r.Asks.ReplyFrom.Name
	}
	if there.Key != nil {
		key := shown(string(there.Key))
		s.Key = &key
	}
	for _, rs := range tr.flows {
		if !tr.homes.feeds(addr, rs[0].From) {
			continue
		}
		if tr.seen >= mostArrivals || depth >= deepest {
			tr.cut = true
			return
		}
		s.Next = append(s.Next, tr.arrive(rs, tr.restore(rs[0].From.Broker, there), depth+1))
	}
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
	o := bridge.Options{}
	if r.Asks != nil {
		if o.ReplyTo = r.Asks.ReplyFrom; r.Asks.Mode == ReplyKeep {
			o.ReplyTo = m.ReplyTo
		}
	}
	out, _, err := bridge.Fit(&own, tr.headers(to.Addr.Broker), o, tr.o.Now)
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
