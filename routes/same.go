package routes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/posthouse/posthouse/adapters"
)

// keyOf is equal for addresses that are equal in every word, options included, and for no others. A file of ten thousand
// routes is looked through once by such keys, and not once for each of its routes.
func keyOf(a adapters.Address) string {
	b := make([]byte, 0, 128)
	b = append(strconv.AppendQuote(b, a.Broker), ' ')
	b = append(strconv.AppendQuote(b, string(a.Form)), ' ')
	b = strconv.AppendQuote(b, a.Name)
	return string(appendKey(b, a.Options))
}

func appendKey(b []byte, o adapters.Options) []byte {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		b = append(strconv.AppendQuote(append(b, ' '), k), '=')
		switch v := o[k].(type) {
		case adapters.Options:
			b = append(appendKey(append(b, '{'), v), '}')
		case string:
			b = strconv.AppendQuote(b, v)
		default:
			b = fmt.Appendf(b, "%T(%#v)", v, v)
		}
	}
	return b
}

// A traffic says how many messages may be in flight to each place, and on how many lanes, of the enabled routes.
type traffic map[spot]flight

// A spot is an end without its options, under the first name of its broker.
type spot struct {
	broker string
	form   adapters.Form
	name   string
}

type flight struct{ messages, lanes int }

// trafficOf counts them once for all routes.
func (h homes) trafficOf(rs []*Route) traffic {
	t := traffic{}
	for _, r := range rs {
		if r.Enabled {
			h.add(t, r)
		}
	}
	return t
}

func (h homes) add(t traffic, r *Route) {
	for i := range r.To {
		at := h.spotOf(r.To[i].Addr)
		f := t[at]
		t[at] = flight{f.messages + r.Window(&r.To[i]) + r.settledLate(), f.lanes + 1}
	}
}

func (h homes) spotOf(a adapters.Address) spot { return spot{h.of(a).Broker, a.Form, a.Name} }

// flying is how many messages may be in flight to the place of a target when r runs, and on how many lanes.
func (t *Table) flying(r *Route, to *Target) (messages, lanes int) {
	homes, all := t.homes, t.traffic
	if all == nil { // made by hand
		homes = homesOf(t.Brokers)
		all = homes.trafficOf(t.Routes)
	}
	return homes.flying(all, r, to.Addr)
}
