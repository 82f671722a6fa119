package routes

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"

	"github.com/posthouse/posthouse/adapters"
)

// Rendezvous is the score of a target for a value, where values choose their targets: the highest has it. So a target that
// comes or goes moves no value but its own, and the choice is the same after every start. weight is at least 1.
func Rendezvous(name string, weight int, value string) float64 {
	return float64(weight) / -math.Log(draw(name, value))
}

// draw is a number between 0 and 1, both excluded, that hangs on name and value alone.
func draw(name, value string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(value))
	x := h.Sum64() // FNV alone is not even in its high bits: the end of MurmurHash3 mixes them
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return (float64(x>>11) + 0.5) / (1 << 53)
}

// A choice is a target to which a message may go.
type choice struct {
	to      *Target
	lane    string
	share   string // how it comes to this one; "" = it gets every message
	standby bool   // it gets messages only while others are away
}

// choices are the targets of r that would get m while all are up: of weighted targets every one that may, since which of
// them is decided by those before it.
func (r *Route) choices(m *adapters.Message) []choice {
	switch {
	case r.FailsOver():
		return r.inTurn()
	case r.ByOne():
		return r.byOne(m)
	}
	var out []choice
	for i := range r.To {
		out = append(out, choice{to: &r.To[i], lane: r.To[i].Name})
	}
	return out
}

// inTurn are the targets of a route with failover.
func (r *Route) inTurn() (out []choice) {
	for i := range r.To {
		c := choice{to: &r.To[i], lane: FailoverName, share: "while it can be reached"}
		if i > 0 {
			c.share, c.standby = "while those before it are away", true
		}
		out = append(out, c)
	}
	return out
}

// byOne are the targets of the best group, or of these the one that the value of m chooses; the others stand by.
func (r *Route) byOne(m *adapters.Message) (out []choice) {
	best, sum := r.bestTargets()
	value, err := r.shareValue(m)
	if err != nil {
		value = "" // with on_filter_error: match it goes where those without a value go
	}
	var highest *Target
	for _, to := range best {
		if highest == nil || Rendezvous(to.Name, to.Weight, value) > Rendezvous(highest.Name, highest.Weight, value) {
			highest = to
		}
	}
	for _, to := range best {
		switch {
		case !r.ByValue():
			out = append(out, choice{to: to, lane: to.Name, share: fmt.Sprintf("%d of %s", to.Weight, plural(sum, "message"))})
		case to == highest:
			out = append(out, choice{to: to, lane: to.Name, share: "by the value " + shown(value)})
		}
	}
	return out
}

// bestTargets are those of the best group that get messages, and the sum of their weights.
func (r *Route) bestTargets() (ts []*Target, sum int) {
	for i := range r.To {
		if to := &r.To[i]; to.Weight > 0 && to.Priority == r.groups()[0] {
			ts, sum = append(ts, to), sum+to.Weight
		}
	}
	return ts, sum
}

// shareValue is what a choice by value goes by: as in the engine, the key of order: per-key is that of the first lane.
func (r *Route) shareValue(m *adapters.Message) (string, error) {
	e := r.To[0].Key
	if e == nil {
		e = r.Key
	}
	switch {
	case !r.ByValue():
		return "", nil
	case r.Sharing.Distribute == Affinity:
		return r.Sharing.Affinity.String(m, r.Name)
	case e != nil:
		return e.String(m, r.Name)
	case m.Key != nil:
		return string(m.Key), nil
	}
	return fmt.Sprint(m.Group.ID), nil
}

// unanswerable is why the reply to a request of a bridge could not be sent; nil if m is none, or it can.
func (r *Route) unanswerable(m *adapters.Message) error {
	if r.Asks == nil || r.Asks.Mode == ReplyKeep {
		return nil
	}
	_, err := r.Asks.Destination(m.ReplyTo)
	return err
}

// placeOf is where m goes at a target: its address, or the one that is computed. Where the expression has no value and
// on_filter_error is match, it goes where such messages go. reason is that of the dead letter, "" where it is only skipped.
func (r *Route) placeOf(to *Target, m *adapters.Message) (a adapters.Address, reason string, err error) {
	a = to.Addr
	if to.Dynamic == nil {
		return a, "", nil
	}
	name, err := to.Dynamic.Place(m, r.Name)
	failed := new(EvalError)
	noValue := errors.As(err, &failed)
	if noValue && r.OnFilterError == FilterErrorMatch {
		name, err = to.Dynamic.PlaceOfFailed()
		noValue = false
	}
	switch {
	case err == nil:
		a.Name, a.Dynamic = name, false
	case !noValue:
		reason = reasonTarget
	case r.OnFilterError != FilterErrorSkip:
		reason = reasonFilter
	}
	return a, reason, err
}
