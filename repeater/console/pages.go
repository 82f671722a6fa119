package console

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
	"github.com/posthouse/posthouse/routes/picture"
)

// mostRows is how many rows a table of routes has at most; what is looked for is found by the filter.
const mostRows = 500

// overview is the first page.
func (c *Console) overview(*http.Request) (view, error) {
	st := c.opts.Status()
	looks := c.past.of("")
	data := struct {
		Picture template.HTML
		Plots   []template.HTML
		Spool   *repeater.SpoolStatus
		States  []stateCount
		Trouble []row
		More    int
		Bridges []repeater.BridgeStatus
		Routes  int
	}{c.draw(st), plots(looks, false), st.Spool, states(st.Routes), nil, 0, st.Bridges, len(st.Routes)}
	for _, r := range st.Routes {
		if r.State != good && r.State != "disabled" {
			data.Trouble = append(data.Trouble, c.rowOf(r))
		}
	}
	if data.More = len(data.Trouble) - 20; data.More > 0 {
		data.Trouble = data.Trouble[:20]
	}
	return view{Page: "overview", Title: "Overview", Data: data}, nil
}

// good is the state of a route that needs nobody.
const good = "pass-through"

// A stateCount is how many routes are in a state.
type stateCount struct {
	State string
	N     int
}

func states(rs []repeater.RouteStatus) (out []stateCount) {
	n := map[string]int{}
	for _, r := range rs {
		n[r.State]++
	}
	for s, k := range n {
		out = append(out, stateCount{s, k})
	}
	slices.SortFunc(out, func(a, b stateCount) int { return strings.Compare(a.State, b.State) })
	return out
}

// draw is the topology as it is now: the colour of an arrow is the state of its worst lane, its width how much passes.
func (c *Console) draw(st repeater.Status) template.HTML {
	t := c.opts.Table()
	if t == nil {
		return ""
	}
	states := map[string]repeater.RouteStatus{}
	for _, r := range st.Routes {
		states[r.Name] = r
	}
	svg := picture.Of(t).SVG(func(l picture.Link) picture.Look { return c.lookOf(l, states) })
	return template.HTML(svg) //nolint:gosec // picture escapes what is not from there
}

// Colours of states, that stand for the same on every page.
var colours = map[string]string{good: "#2a7d46", "starting": "#7a7f87", "draining": "#1f6fb5", "spooling": "#c77700", "local": "#7a7f87",
	"disabled": "#7a7f87", "standby": "#7a7f87", "held": "#a03fb0", "paused": "#a03fb0"}

// colourOf is that of what is neither good nor on its way to it: red.
func colourOf(state string) string {
	if col, ok := colours[state]; ok {
		return col
	}
	return "#c8102e"
}

// mostNamed is how many routes the title of an arrow has.
const mostNamed = 10

// lookOf is how the routes between two brokers are drawn.
func (c *Console) lookOf(l picture.Link, all map[string]repeater.RouteStatus) picture.Look {
	worst, perSecond, what := good, 0.0, []string(nil)
	for _, name := range l.Routes {
		r, ok := all[name]
		if !ok {
			continue
		}
		for _, lane := range r.Lanes {
			if at, _, _ := strings.Cut(lane.Link.Address, "/"); at == l.To || len(r.Lanes) == 1 {
				worst = worse(worst, shown(r, lane))
			}
		}
		perSecond += rate(c.past.of(name), countOut)
		if what = append(what, name+" "+r.State); len(what) > mostNamed {
			what = append(what[:mostNamed-1], fmt.Sprintf("and %d more", len(l.Routes)-mostNamed+1))
		}
	}
	look := picture.Look{Color: colourOf(worst), Width: 1.5, Title: fmt.Sprintf("%s -> %s: %s, %s/s: %s", l.From, l.To, worst, short(perSecond), strings.Join(what, ", "))}
	for v := perSecond; v >= 10 && look.Width < 7; v /= 10 {
		look.Width += 1.5
	}
	return look
}

// shown is the state of a lane as its route shows it: no lane passes anything while its source is away.
func shown(r repeater.RouteStatus, l repeater.LaneStatus) string {
	if l.State == good {
		return worse(good, map[bool]string{true: good, false: "blocked"}[r.Source.State == "up" || r.Source.State == "starting"])
	}
	return l.State
}

// order of states, the worst last.
var order = []string{good, "local", "disabled", "draining", "starting", "standby", "spooling", "held", "full", "blocked", "paused", "failed"}

func worse(a, b string) string {
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// A row is a route in a table.
type row struct {
	repeater.RouteStatus
	In, Out float64 // messages a second
	Last    shownLook
	Error   string
	Lately  template.HTML
}

// A shownLook is what a page shows of the last look at a route.
type shownLook struct {
	InFlight, Backlog int64
	Oldest            time.Duration
}

func (c *Console) rowOf(r repeater.RouteStatus) row {
	looks := c.past.of(r.Name)
	out := row{RouteStatus: r, In: rate(looks, countIn), Out: rate(looks, countOut), Error: r.Source.Error}
	if n := len(looks); n > 0 {
		out.Last = shownLook{looks[n-1].inFlight, looks[n-1].backlog, looks[n-1].oldest}
	}
	for _, l := range r.Lanes {
		if l.Error != "" && (out.Error == "" || l.State != good) {
			out.Error = l.Error
		}
	}
	if r.State == good {
		out.Error = ""
	}
	out.Lately = spark(ratesOf(looks, countOut))
	return out
}

// routes lists them. The query has a filter for names and one for states.
func (c *Console) routes(r *http.Request) (view, error) {
	name, state := r.URL.Query().Get("name"), r.URL.Query().Get("state")
	st := c.opts.Status()
	data := struct {
		Name, State string
		Rows        []row
		All, More   int
		States      []stateCount
	}{Name: name, State: state, All: len(st.Routes), States: states(st.Routes)}
	for _, s := range st.Routes {
		switch {
		case !strings.Contains(s.Name, name) || state != "" && s.State != state:
		case len(data.Rows) == mostRows:
			data.More++
		default:
			data.Rows = append(data.Rows, c.rowOf(s))
		}
	}
	return view{Page: "routes", Title: "Routes", Data: data}, nil
}

// errNoPage says that there is nothing at an address.
var errNoPage = errors.New("there is no such page")

// find returns the status of the route that r names.
func (c *Console) find(r *http.Request) (repeater.RouteStatus, error) {
	name := r.PathValue("route")
	for _, s := range c.opts.Status().Routes {
		if s.Name == name {
			return s, nil
		}
	}
	return repeater.RouteStatus{}, fmt.Errorf("%w: no route %q runs here", errNoPage, name)
}

// route is the page of one.
func (c *Console) route(r *http.Request) (view, error) {
	s, err := c.find(r)
	if err != nil {
		return view{}, err
	}
	data := struct {
		row
		Plots    []template.HTML
		Settings []setting
		Orders   []repeater.Order
	}{row: c.rowOf(s), Plots: plots(c.past.of(s.Name), true)}
	if c.opts.Actions != nil && admin.GuestOf(r).MaySteer {
		data.Orders = repeater.Orders()
	}
	if t := c.opts.Table(); t != nil {
		data.Settings = settings(t, s.Name)
	}
	return view{Page: "route", Title: "Route " + s.Name, Data: data}, nil
}

// events are the changes of states that the console has seen, the last first.
func (c *Console) events(*http.Request) (view, error) {
	return view{Page: "events", Title: "Events", Data: c.past.changes()}, nil
}

func (c *Console) bridges(*http.Request) (view, error) {
	return view{Page: "bridges", Title: "Bridges", Data: c.opts.Status().Bridges}, nil
}

// A brokerRow is a broker with the ends that are there.
type brokerRow struct {
	Name, Kind, Site string
	Up, Ends         int
	Peer             string
	Trouble          []string // of its ends, each once
}

func (c *Console) brokers(*http.Request) (view, error) {
	rows := map[string]*brokerRow{}
	var names []string
	if t := c.opts.Table(); t != nil {
		for name, b := range t.Brokers {
			rows[name] = &brokerRow{Name: name, Kind: b.Kind, Site: b.Site}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, r := range c.opts.Status().Routes {
		note(rows, r.Source)
		for _, l := range r.Lanes {
			note(rows, l.Link)
		}
	}
	var data []brokerRow
	for _, name := range names {
		data = append(data, *rows[name])
	}
	return view{Page: "brokers", Title: "Brokers", Data: data}, nil
}

func note(rows map[string]*brokerRow, e repeater.EndStatus) {
	name, _, _ := strings.Cut(e.Address, "/")
	b := rows[name]
	if b == nil {
		return
	}
	if b.Ends++; e.State == "up" {
		b.Up++
		b.Peer = strings.TrimSpace(e.Peer.Product + " " + e.Peer.Version + " " + e.Peer.Address)
		return
	}
	if text := e.State + ": " + e.Error; e.Error != "" && len(b.Trouble) < 5 && !slices.Contains(b.Trouble, text) {
		b.Trouble = append(b.Trouble, text)
	}
}

func (c *Console) spool(*http.Request) (view, error) {
	st := c.opts.Status()
	data := struct {
		Spool *repeater.SpoolStatus
		Lanes []repeater.LaneStatus
		Plot  template.HTML
	}{Spool: st.Spool}
	for _, r := range st.Routes {
		for _, l := range r.Lanes {
			if l.Spooled > 0 {
				data.Lanes = append(data.Lanes, l)
			}
		}
	}
	slices.SortStableFunc(data.Lanes, func(a, b repeater.LaneStatus) int { return int(b.SpooledBytes - a.SpooledBytes) })
	data.Lanes = data.Lanes[:min(len(data.Lanes), mostRows)]
	looks := c.past.of("")
	data.Plot = plot("files of the spool"+filling(looks), " B", looks, line{"", valuesOf(looks, func(l look) float64 { return float64(l.bytes) })})
	return view{Page: "spool", Title: "Spool", Data: data}, nil
}

// login asks for a token.
func (c *Console) login(r *http.Request) (view, error) {
	return view{Page: "login", Title: "Who are you?", Still: true, Data: r.URL.Query().Has("wrong")}, nil
}

// config shows what runs beside the file, and the history.
func (c *Console) config(*http.Request) (view, error) {
	if c.opts.Keeper == nil {
		return view{}, errNoPage
	}
	c.opts.Keeper.Look()
	text, err := c.opts.Keeper.Text(0)
	if err != nil {
		return view{}, err
	}
	history := c.opts.Keeper.History()
	slices.Reverse(history)
	return view{Page: "config", Title: "Configuration", Still: true, Data: struct {
		Text    string
		History []repeater.Generation
	}{text, history}}, nil
}
