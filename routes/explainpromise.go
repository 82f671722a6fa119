package routes

import (
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

// A Promise is what one lane of an enabled route promises.
type Promise struct {
	Lane     string   `json:"lane"`   // ROUTE/TARGET
	Target   string   `json:"target"` // BROKER/NAME
	Class    string   `json:"class"`  // T-tx, T-window or T-none
	Source   string   `json:"source_class"`
	Delivery Delivery `json:"delivery"`
	InFlight int      `json:"in_flight"` // the W of the sentence
	Brief    string   `json:"brief"`     // what it depends on, in a few words
	Text     string   `json:"promise"`   // in one sentence
}

// Promises lists the lanes in file order.
func (t *Table) Promises() []Promise {
	out := []Promise{}
	for _, r := range t.Routes {
		for _, to := range r.Lanes() {
			if r.Enabled {
				out = append(out, t.promise(r, &to))
			}
		}
	}
	return out
}

func (t *Table) promise(r *Route, to *Target) Promise {
	brief, text := t.once(r, to)
	switch {
	case r.Delivery == AtMostOnce:
		brief, text = r.most(to)
	case r.Delivery == AtLeastOnce && to.Class == adapters.ClassWindow:
		brief, text = r.onceWhile(to)
	case r.Delivery == AtLeastOnce:
		brief, text = r.least(to)
	}
	return Promise{Lane: r.Name + "/" + to.Name, Target: to.Addr.String(), Class: to.Class.String(), Source: sourceClass(r.Identity),
		Delivery: r.Delivery, InFlight: r.Window(to), Brief: brief, Text: text}
}

func sourceClass(i adapters.Identity) string {
	return map[adapters.Identity]string{adapters.SourceNone: "S-none", adapters.SourceID: "S-id", adapters.SourcePosition: "S-position"}[i]
}

// once is the promise of exactly-once, by the class of the target.
func (t *Table) once(r *Route, to *Target) (brief, text string) {
	w := r.Window(to)
	switch {
	case to.Class == adapters.ClassTx:
		return "its readers must use read_committed", "once, for consumers that use read_committed"
	case to.Memory.Time > 0:
		window, outage := formatDuration(to.Memory.Time), formatDuration(r.Outage(to))
		return fmt.Sprintf("outages of %s: it remembers ids for %s; then the lane waits for resolve", outage, window),
			fmt.Sprintf("once, as long as an outage is shorter than %s (max_outage, and confirm_timeout before the window of %s ends); after a longer one the lane holds what may have arrived, at most %s, until posthouse resolve",
				outage, window, plural(w, "message"))
	}
	all, _ := t.flying(r, to)
	return fmt.Sprintf("it remembers %d ids, and at most %d are in flight there", to.Memory.IDs, all),
		fmt.Sprintf("once, as long as an outage is shorter than the window of %d ids, of which all lanes to the address have at most %d in flight; what others send there uses it up too",
			to.Memory.IDs, all)
}

// onceWhile is at-least-once at a target that drops what it knows again.
func (r *Route) onceWhile(to *Target) (brief, text string) {
	window := fmt.Sprintf("%d ids", to.Memory.IDs)
	if to.Memory.Time > 0 {
		window = formatDuration(to.Memory.Time)
	}
	return "once while an outage is shorter than its window of " + window,
		fmt.Sprintf("once, as long as an outage is shorter than the window of %s; of what is sent again after a longer one at most %s may arrive twice, each with posthouse-possible-duplicate: true and the same posthouse-id",
			window, r.messages(to)) + r.fresh(to)
}

func (r *Route) least(to *Target) (brief, text string) {
	return fmt.Sprintf("at most %d twice after an unclean stop, marked", r.Window(to)),
		fmt.Sprintf("at least once; after an unclean stop or a lost link at most %s may arrive twice, each with posthouse-possible-duplicate: true and the same posthouse-id", r.messages(to)) + r.fresh(to)
}

func (r *Route) most(to *Target) (brief, text string) {
	return fmt.Sprintf("at most %d lost after an unclean stop, none twice", r.Window(to)),
		fmt.Sprintf("at most once; each message is settled at its source before it is sent, so after an unclean stop or a failed send at most %s are lost, counted where it can be known", r.messages(to))
}

// messages is the window of a lane in words.
func (r *Route) messages(to *Target) string {
	return plural(r.Window(to), "message") + " (in_flight)"
}

// fresh tells which messages may come again under a new id, so that nobody can know them again.
func (r *Route) fresh(to *Target) string {
	switch {
	case r.Spool.Mode != SpoolAlways:
		return fmt.Sprintf("; up to %d may also repeat under a new id when Posthouse itself dies (spool: { mode: always } avoids that)", r.Window(to))
	case r.Identity == adapters.SourceNone:
		return "; what the source gives out again because it has no record of the settle comes under a new id"
	}
	return ""
}

// promiseLines tell what a route promises, lane by lane.
func (t *Table) promiseLines(r *Route) [][2]string {
	out := [][2]string{{"delivery", r.deliveryText()}}
	for _, to := range r.Lanes() {
		p := t.promise(r, &to)
		out = append(out, [2]string{"  " + to.Name, fmt.Sprintf("%s: %s", p.Class, p.Text)})
	}
	not := "loss of the spool's disk, a disk that lies about fsync, a target that confirms and then loses"
	if t.Spool == nil || r.Spool.Mode == SpoolNever {
		not = "a target that confirms and then loses"
	} else if t.Spool.Sync.Never {
		not += "; and with sync: never a power cut"
	}
	return append(out, [2]string{"  not covered", not})
}

func (r *Route) deliveryText() string {
	if r.Delivery == AtMostOnce {
		return "at-most-once: a message is settled at its source before it is sent"
	}
	return string(r.Delivery) + ": a message is never settled at its source before it is on stable storage elsewhere, and never forgotten before the target confirmed it"
}
