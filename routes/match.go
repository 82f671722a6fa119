package routes

import "github.com/posthouse/posthouse/adapters"

// Match says which messages of a source a route is asked about, where several routes share the source.
type Match string

// The ways to match.
const (
	MatchAll       Match = "all"       // takes what its filter wants, whatever the others do
	MatchFirst     Match = "first"     // of these routes the first in file order whose filter says yes takes it
	MatchOtherwise Match = "otherwise" // takes what no other route of the source takes; it has no filter
)

// Unrouted is what becomes of a message that no route of its source takes.
type Unrouted string

// The fates of messages that nobody wants.
const (
	UnroutedDeadLetter Unrouted = "dead-letter" // set aside, reason unroutable
	UnroutedLeave      Unrouted = "leave"       // given back to the source after a pause, again and again
	UnroutedSkip       Unrouted = "skip"        // settled and counted as filtered
)

// CodeSlowFilter is the code, for explain, of a filter that was found slow at run time.
const CodeSlowFilter = "F009"

// A Verdict is what one route makes of a message of its source.
type Verdict uint8

// The verdicts. The last three follow an error of an expression, by Route.OnFilterError.
const (
	Declined Verdict = iota // its filter says no
	Preceded                // another route of the source took it: match is first or otherwise
	Taken                   // it goes to the route's targets; Err may say which expression failed (OnFilterError is match)
	Skipped                 // not taken, as if the filter had said no
	SetAside                // becomes a dead letter of the route
	Stopped                 // the route takes nothing more until somebody has mended it
)

// A Decision is what one route makes of one message.
type Decision struct {
	Verdict Verdict
	Edits   []adapters.Prop // of a message that is taken: what its targets get otherwise, see adapters.Message.Edits
	Err     error           // *EvalError, nil where every expression had an answer
}

// wants reports whether the message has found its way by d: no other route is asked in its place.
func (d Decision) wants() bool { return d.Verdict >= Taken && d.Verdict != Skipped }

// Decide appends to ds what each of rs, the enabled routes of one source in file order, makes of m. It has no effect:
// what runs and what explains ask here alike.
func Decide(ds []Decision, rs []*Route, m *adapters.Message) []Decision {
	begin, taken, first := len(ds), false, false
	for _, r := range rs {
		d := Decision{Verdict: Preceded}
		if r.Match != MatchOtherwise && !(r.Match == MatchFirst && first) {
			d = r.judge(m)
		}
		taken = taken || d.wants()
		first = first || r.Match == MatchFirst && d.wants()
		ds = append(ds, d)
	}
	for i, r := range rs {
		if r.Match == MatchOtherwise && !taken {
			ds[begin+i] = r.judge(m)
		}
	}
	return ds
}

// judge asks the filter of r, and works out its edits.
func (r *Route) judge(m *adapters.Message) Decision {
	if r.Filter != nil {
		if ok, err := r.Filter.Match(m, r.Name); err != nil {
			return r.OnFilterError.decide(nil, err).edited(r, m)
		} else if !ok {
			return Decision{}
		}
	}
	return Decision{Verdict: Taken}.edited(r, m)
}

// edited works out what else the route asks of a message that is taken: its edits, and the value by which a target is
// chosen. With OnFilterError match, edits that fail are left out.
func (d Decision) edited(r *Route, m *adapters.Message) Decision {
	if d.Verdict != Taken {
		return d
	}
	var failed error
	if len(r.Edits) > 0 {
		d.Edits, failed = r.edit(m)
	}
	if e := r.Sharing.Affinity; failed == nil && e != nil && r.ByOne() {
		_, failed = e.String(m, r.Name)
	}
	if failed == nil && r.OnFilterError == FilterErrorStop {
		failed = r.unplaced(m)
	}
	if failed == nil {
		return d
	}
	return r.OnFilterError.decide(d.Edits, failed)
}

// unplaced is the error of an expression that computes where m goes; nil if all have an answer, allowed or not. A route that
// stops must know before it has given the message to any lane.
func (r *Route) unplaced(m *adapters.Message) error {
	for i := range r.To {
		if d := r.To[i].Dynamic; d != nil {
			if _, err := d.Expr.String(m, r.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// decide is what becomes of a message on which an expression has failed.
func (e OnFilterError) decide(edits []adapters.Prop, err error) Decision {
	switch e {
	case FilterErrorSkip:
		return Decision{Verdict: Skipped, Err: err}
	case FilterErrorMatch:
		return Decision{Taken, edits, err}
	case FilterErrorStop:
		return Decision{Verdict: Stopped, Err: err}
	}
	return Decision{Verdict: SetAside, Err: err}
}

// FateUnrouted is what becomes of a message that none of rs, the enabled routes of one source, takes. One route alone
// skips it, unless the file says otherwise.
func FateUnrouted(rs []*Route) Unrouted {
	for _, r := range rs {
		if r.Unrouted != "" {
			return r.Unrouted
		}
	}
	if len(rs) > 1 {
		return UnroutedDeadLetter
	}
	return UnroutedSkip
}
