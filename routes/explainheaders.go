package routes

import (
	"fmt"
	"strings"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// A crossing is what decides over a Comparison.
type crossing struct {
	from, to string // brokers
	request  bool   // of a bridge
}

// compare follows what each route's source may bring to each of its targets, once for each pair of brokers.
func (b *builder) compare(rs []*Route) {
	known := map[crossing]bridge.Comparison{}
	for _, r := range rs {
		for i := range r.To {
			x := crossing{r.From.Broker, r.To[i].Addr.Broker, r.Asks != nil}
			if _, done := known[x]; !done {
				known[x] = b.cross(x)
			}
			r.To[i].Arrives = known[x]
		}
	}
}

func (b *builder) cross(x crossing) bridge.Comparison {
	from, ok1 := b.headers(x.from)
	to, ok2 := b.headers(x.to)
	if !ok1 || !ok2 {
		return bridge.Comparison{}
	}
	o := b.brokers[x.to].Fit
	if x.request {
		o.ReplyTo = adapters.Addr{Name: "the bridge's"}
	}
	return bridge.Compare(from, to, o)
}

// headers is what a broker's protocol holds of a message, as far as the file tells.
func (b *builder) headers(name string) (h adapters.Headers, ok bool) {
	broker := b.brokers[name]
	if broker == nil || b.options.Kinds[broker.Kind] == nil {
		return h, false
	}
	return b.options.Kinds[broker.Kind].Capabilities(broker.Config).Headers, true
}

// Losses are the warnings of check --strict: lanes of enabled routes on which something is lost that a message may say, where
// the route does not say that this is known.
func (t *Table) Losses() Findings {
	var out Findings
	for _, r := range t.Routes {
		if !r.Enabled || r.AcceptLosses {
			continue
		}
		for i := range r.To {
			if text := r.To[i].losses(); text != "" {
				out = append(out, Finding{Code: "H001", Severity: Warning, File: t.File, Path: "routes." + r.Name,
					Message: fmt.Sprintf("lane %s/%s (line %d): %s", r.Name, r.To[i].Name, r.Line, text),
					Help:    "write losses: accept in the route if programs there need none of it; posthouse explain " + r.Name + " lists all"})
			}
		}
	}
	return out
}

// losses tells in one sentence what nothing brings back.
func (to *Target) losses() string {
	var parts []string
	if len(to.Arrives.Ignored) > 0 {
		parts = append(parts, "the broker does not act on "+list(to.Arrives.Ignored))
	}
	for _, l := range to.Arrives.Lost {
		if strings.HasPrefix(l, "messages ") {
			parts = append(parts, "lost are "+l)
		}
	}
	return strings.Join(parts, "; ")
}

// headerLines tell what becomes of messages at each target, once for targets at one broker.
func (r *Route) headerLines() [][2]string {
	out := [][2]string{{"headers", "what a target has no place for travels in headers posthouse-..., and is itself again behind the next repeater"}}
	told := map[string]bool{}
	for i := range r.To {
		to := &r.To[i]
		if told[to.Addr.Broker] {
			continue
		}
		told[to.Addr.Broker] = true
		name := "  " + to.Name
		for _, l := range [...]struct {
			words string
			items []string
		}{{"its broker does not act on: ", to.Arrives.Ignored}, {"only in headers: ", to.Arrives.Hidden}, {"changed: ", to.Arrives.Changed}, {"lost: ", to.Arrives.Lost}} {
			if len(l.items) > 0 {
				out = append(out, [2]string{name, l.words + strings.Join(l.items, "; ")})
				name = ""
			}
		}
	}
	return out
}
