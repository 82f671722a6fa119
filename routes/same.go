package routes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// keyOf is equal for addresses that are equal in every word, options included, and for no others. A file of ten thousand
// routes is looked through once by such keys, and not once for each of its routes.
func keyOf(a adapters.Address) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q", a.Broker, a.Form, a.Name)
	writeKey(&b, a.Options)
	return b.String()
}

func writeKey(b *strings.Builder, o adapters.Options) {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		fmt.Fprintf(b, " %q=", k)
		if sub, ok := o[k].(adapters.Options); ok {
			b.WriteByte('{')
			writeKey(b, sub)
			b.WriteByte('}')
			continue
		}
		fmt.Fprintf(b, "%T(%#v)", o[k], o[k])
	}
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
