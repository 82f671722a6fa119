package routes

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes/yamltree"
)

// An operator's own table of messages, and where they are expected to go.

// Trials are the messages of one file.
type Trials struct {
	File     string
	Topology string // path of the topology, "" if the file names none
	List     []Trial
}

// A Trial is one message and what is expected of it. Of an expectation that is nil nothing is asked.
type Trial struct {
	Name       string
	Line       int // where it stands in the file
	From       string
	Message    *adapters.Message
	Routes     *[]string // that take it at From
	Targets    *[]string // BROKER/NAME that they send it to
	Ends       *[]string // BROKER/NAME where it comes to rest, over all brokers of the file
	DeadLetter *string   // reason; "" = it becomes none
	Headers    map[string]adapters.Value
	Without    []string // headers that its targets do not get
}

// LoadTrials reads a file of trials. It is nil if there is any error.
func LoadTrials(name string, src []byte) (*Trials, Findings) {
	doc, problems := yamltree.Parse(src)
	r := &reporter{file: name, doc: doc}
	r.problems(problems)
	if doc.Root == nil {
		return nil, r.finish()
	}
	w := &walker{reporter: r}
	root := w.object(doc.Root, trialsShape(), "", "")
	out := &Trials{File: name}
	if p, _ := chainOf(root, trialsShape()).data("topology").(string); p != "" {
		if out.Topology = p; !filepath.IsAbs(p) {
			out.Topology = filepath.Join(filepath.Dir(name), p)
		}
	}
	if ts := root.get("tests"); ts != nil {
		for _, v := range ts.items {
			out.List = append(out.List, w.trial(v))
		}
	}
	if fs := r.finish(); fs.HasErrors() {
		return nil, fs
	}
	return out, r.findings
}

func chainOf(v *value, s *Shape) chain { return chain{[]*value{v}, s} }

func trialsShape() *Shape {
	return &Shape{Name: "file", Doc: "Messages, and where they are expected to go.", Fields: []*Field{
		{Name: "topology", Type: Path, Doc: "The topology, relative to this file. Left out: -c."},
		{Name: "tests", Type: Objects, Of: trialShape(), Required: true, Example: "tests: [{ name: TEXT, from: BROKER/NAME, message: {}, expect: { routes: [NAME] } }]", Doc: "The messages."},
	}}
}

func trialShape() *Shape {
	return &Shape{Name: "test", Doc: "One message.", Fields: []*Field{
		{Name: "name", Type: Text, Required: true, Example: "name: what it is about", Doc: "What it is about."},
		{Name: "from", Type: Text, Doc: "BROKER/NAME where it is received. Left out: the only source of the topology."},
		{Name: "message", Type: Object, Of: messageShape(), Required: true, Example: "message: { header: { NAME: VALUE } }", Doc: "The message."},
		{Name: "expect", Type: Object, Of: expectShape(), Required: true, Example: "expect: { routes: [NAME] }", Doc: "What is expected."},
	}}
}

func expectShape() *Shape {
	return &Shape{Name: "expect", Doc: "What is expected of a message; what is left out is not asked.", Fields: []*Field{
		{Name: "routes", Type: Plain, Doc: "The routes that take it where it is received; [] for none."},
		{Name: "targets", Type: Plain, Doc: "BROKER/NAME of each place to which they send it."},
		{Name: "ends", Type: Plain, Doc: "BROKER/NAME of each place where it comes to rest, over all brokers of the file."},
		{Name: "dead_letter", Type: Word, Words: []string{"none", reasonFilter, reasonLoop, reasonUnroutable, reasonTarget}, Doc: "Why it becomes a dead letter where it is received."},
		{Name: "headers", Type: Plain, Doc: "Headers that every target gets, by name."},
		{Name: "without", Type: Plain, Doc: "Headers that no target gets."},
	}}
}

// Reasons of dead letters that follow from the file alone.
const (
	reasonFilter     = "filter-error"
	reasonLoop       = "loop"
	reasonTarget     = "target-not-allowed"
	reasonUnroutable = "unroutable"
)

func (w *walker) trial(v *value) Trial {
	c := chainOf(v, trialShape())
	t := Trial{Name: c.text("name"), From: c.text("from"), Line: v.node.Line}
	if m := v.get("message"); m != nil {
		t.Message = w.message(m)
	}
	e := v.get("expect")
	if e == nil {
		return t
	}
	t.Routes, t.Targets, t.Ends = w.names(e.get("routes")), w.names(e.get("targets")), w.names(e.get("ends"))
	if without := w.names(e.get("without")); without != nil {
		t.Without = *without
	}
	if d := e.get("dead_letter"); d != nil && d.data != nil {
		reason := strings.TrimPrefix(fmt.Sprint(d.data), "none")
		t.DeadLetter = &reason
	}
	for _, p := range w.headers(e.get("headers")) {
		if t.Headers == nil {
			t.Headers = map[string]adapters.Value{}
		}
		t.Headers[p.Name] = p.V
	}
	if len(e.order) == 0 && e.node.Kind == yamltree.Map && len(e.node.Pairs) == 0 {
		w.at(e.node, e.path, Finding{Code: "K002", Message: "the test expects nothing", Label: "empty", Help: "add for example routes: [NAME]"})
	}
	return t
}

// names reads a list of texts that may be empty; nil if there is none.
func (w *walker) names(v *value) *[]string {
	if v == nil {
		return nil
	}
	out := []string{}
	if v.node.Kind != yamltree.List {
		w.at(v.node, v.path, Finding{Code: "K003", Message: v.field.Name + " must be a list", Label: describe(v.node), Help: "write it in brackets, [] for none"})
		return nil
	}
	for _, n := range v.node.Items {
		if n.Kind != yamltree.Scalar || n.Tag != "" || n.Text == "" {
			w.at(n, v.path, Finding{Code: "K003", Message: v.field.Name + " must be a list of names", Label: describe(n), Help: "write one name"})
			continue
		}
		out = append(out, n.Text)
	}
	return &out
}

// A Difference is an expectation that did not hold.
type Difference struct {
	What string `json:"what"` // routes, targets, ends, dead_letter, header NAME
	Want string `json:"want"`
	Got  string `json:"got"`
}

// Run tries the message in t, and returns where it went and what was expected otherwise. Its error says that the trial
// does not fit t: no such source, no such route.
func (tr *Trial) Run(t *Table, o TraceOptions) (Trace, []Difference, error) {
	from, err := tr.source(t)
	if err != nil {
		return Trace{}, nil, err
	}
	if err := tr.known(t); err != nil {
		return Trace{}, nil, err
	}
	trace := t.Trace(tr.Message, func(a adapters.Address, _ []*Route) bool { return a.String() == from }, o)
	return trace, tr.compare(trace, t, o), nil
}

// source is where the message is received.
func (tr *Trial) source(t *Table) (string, error) {
	all := t.Sources()
	switch {
	case tr.From == "" && len(all) == 1:
		return all[0], nil
	case slices.Contains(all, tr.From):
		return tr.From, nil
	case tr.From == "":
		return "", fmt.Errorf("test %q says no from, and the topology has several sources: %s", clip(tr.Name), strings.Join(all, ", "))
	}
	return "", fmt.Errorf("test %q: no enabled route reads %s; sources of the topology: %s", clip(tr.Name), clip(tr.From), strings.Join(all, ", "))
}

// known: a misspelt name in an expectation must not pass because nothing goes there.
func (tr *Trial) known(t *Table) error {
	var names []string
	for _, r := range t.Routes {
		names = append(names, r.Name)
	}
	if tr.Routes == nil {
		return nil
	}
	for _, n := range *tr.Routes {
		if !slices.Contains(names, n) {
			return fmt.Errorf("test %q expects route %q, which the topology does not have; routes: %s", clip(tr.Name), clip(n), clip(strings.Join(names, ", ")))
		}
	}
	return nil
}

func (tr *Trial) compare(trace Trace, t *Table, o TraceOptions) (out []Difference) {
	differ := func(what, want, got string) {
		if want != got {
			out = append(out, Difference{what, want, got})
		}
	}
	sets := func(what string, want *[]string, got []string) {
		if want != nil {
			differ(what, sorted(*want), sorted(got))
		}
	}
	sets("routes", tr.Routes, trace.takers())
	sets("targets", tr.Targets, trace.targets())
	sets("ends", tr.Ends, trace.ends())
	if tr.DeadLetter != nil {
		differ("dead_letter", orNone(*tr.DeadLetter), orNone(trace.deadLetter()))
	}
	if len(tr.Headers) == 0 && len(tr.Without) == 0 {
		return out
	}
	for lane, m := range tr.arrived(t, o) {
		for name, v := range tr.Headers {
			got, ok := m.Prop(name)
			if !ok || got.Text() != v.Text() {
				out = append(out, Difference{"header " + name + " on " + lane, shownValue(v), presentValue(got, ok)})
			}
		}
		for _, name := range tr.Without {
			if got, ok := m.Prop(name); ok {
				out = append(out, Difference{"header " + name + " on " + lane, "none", shownValue(got)})
			}
		}
	}
	slices.SortFunc(out, func(a, b Difference) int { return strings.Compare(a.What, b.What) })
	return out
}

// arrived is the message, with its headers edited, by lane that gets it.
func (tr *Trial) arrived(t *Table, o TraceOptions) map[string]*adapters.Message {
	out := map[string]*adapters.Message{}
	for _, rs := range t.Flows() {
		if from, _ := tr.source(t); rs[0].From.String() != from {
			continue
		}
		for i, d := range Decide(nil, rs, tr.Message) {
			if d.Verdict != Taken || rs[i].Round(tr.Message.Track.Path, rs[i].hopAt(o.Repeater)) != Onward {
				continue
			}
			for _, c := range rs[i].choices(tr.Message) {
				out[rs[i].Name+"/"+c.lane] = tr.Message.WithEdits(d.Edits).Edited()
			}
		}
	}
	return out
}

func presentValue(v adapters.Value, ok bool) string {
	if !ok {
		return "none"
	}
	return shownValue(v)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// sorted is a list in one line, without regard to its order.
func sorted(names []string) string {
	return "[" + strings.Join(slices.Sorted(slices.Values(names)), ", ") + "]"
}

// takers are the routes that take the message where it is received.
func (t Trace) takers() (names []string) {
	for _, a := range t.Sources {
		for _, s := range a.Routes {
			if s.Says == SayTakes {
				names = append(names, s.Route)
			}
		}
	}
	return names
}

// targets are the places to which they send it.
func (t Trace) targets() (names []string) {
	for _, a := range t.Sources {
		for _, s := range a.Routes {
			for _, to := range s.Targets {
				if to.Error == "" && !to.Standby {
					names = append(names, to.Target)
				}
			}
		}
	}
	return names
}

// ends are the places where it comes to rest: a target that no route of the file reads, or one where no route takes it
// and it is left.
func (t Trace) ends() (names []string) {
	for _, a := range t.Sources {
		names = append(names, a.ends()...)
	}
	return names
}

// rests reports whether a message comes to rest at its target: no route reads there, or only such that leave it out as an
// echo.
func (s Sent) rests() bool {
	for _, next := range s.Next {
		for _, r := range next.Routes {
			if r.Says != SayEcho {
				return false
			}
		}
	}
	return true
}

func (a Arrival) ends() (names []string) {
	for _, s := range a.Routes {
		for _, to := range s.Targets {
			if to.Error == "" && !to.Standby && to.rests() {
				names = append(names, to.Target)
			}
			for _, next := range to.Next {
				names = append(names, next.ends()...)
			}
		}
	}
	if a.Unrouted == UnroutedLeave {
		names = append(names, a.At)
	}
	return names
}

// deadLetter is why the message becomes a dead letter where it is received; "" if it does not.
func (t Trace) deadLetter() string {
	for _, a := range t.Sources {
		if a.Unrouted == UnroutedDeadLetter {
			return reasonUnroutable
		}
		for _, s := range a.Routes {
			if s.Reason != "" {
				return s.Reason
			}
			for _, to := range s.Targets {
				if to.Reason != "" {
					return to.Reason
				}
			}
		}
	}
	return ""
}
