package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/repeater"
)

func routeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "route", Short: "Look at the routes of the running daemon, and steer them",
		Long: `Looks at the routes of the running daemon, and steers them. Nothing is lost or doubled by it. Pause and drain stand
until resume: over reloads and, with a spool, over starts. Exit 1 if the daemon refuses, 2 for usage, 3 if none answers.`,
		Example: `  posthouse route ls
  posthouse route pause orders --reason "ticket 4711"
  posthouse route resume orders`,
	}
	return group(c, routeLsCommand(), routeShowCommand(), steerCommand(repeater.Pause), steerCommand(repeater.Resume), steerCommand(repeater.Drain), steerCommand(repeater.Restart))
}

// A routeDoc is the document of one route.
type routeDoc struct {
	routeView
	Received int64     `json:"received_messages"`
	Filtered int64     `json:"filtered_messages"`
	Refused  int64     `json:"refused_messages"`
	Dead     *laneView `json:"dead_letters"`
}

func routeLsCommand() *cobra.Command {
	var f daemonFlags
	c := &cobra.Command{
		Use: "ls", Short: "List the routes of the running daemon", Args: cobra.NoArgs,
		Long: `Lists the routes with what all their lanes have in flight and in the spool, the age of the oldest message there, and
the dead letters that are kept. -o wide cuts nothing.`,
		Example: "  posthouse route ls\n  posthouse route ls -c topology.yaml -o wide",
	}
	f.register(c, "text", "wide", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			return passed(ctx, addr, "/api/v1/routes", func(rs *[]routeDoc) string { return plural(int64(len(*rs)), "route") },
				func(rs *[]routeDoc) string { return routesText(*rs, time.Now(), f.output == "wide") })
		})
	}
	return c
}

func routesText(rs []routeDoc, now time.Time, wide bool) string {
	t := &table{head: []string{"ROUTE", "STATE", "FLIGHT", "SPOOLED", "OLDEST", "DEAD", "FROM > TO"}, numbers: map[int]bool{2: true, 3: true, 4: true, 5: true}}
	for i := range rs {
		t.rows = append(t.rows, rs[i].row(now))
	}
	if !wide {
		t.shrink(screenWidth, cut)
	}
	var b strings.Builder
	t.text(&b)
	return b.String()
}

func (r *routeDoc) row(now time.Time) []string {
	var flight, spooled int64
	var oldest time.Time
	var to []string
	for _, l := range r.Lanes {
		flight, spooled, to = flight+l.InFlight, spooled+l.Spooled, append(to, l.Link.Address)
		if l.Oldest != nil && (oldest.IsZero() || l.Oldest.Before(oldest)) {
			oldest = *l.Oldest
		}
	}
	return []string{clean(r.Name), r.State, countText(flight), countText(spooled), ageText(oldest, now), r.deadText(), clean(r.Source.Address + " > " + strings.Join(to, ", "))}
}

// deadText is the number of dead letters, "-" where there is no place for them.
func (r *routeDoc) deadText() string {
	if r.Dead == nil {
		return "-"
	}
	return countText(r.Dead.Spooled)
}

func routeShowCommand() *cobra.Command {
	var f daemonFlags
	c := &cobra.Command{
		Use: "show ROUTE", Short: "Show all that is known of a route of the running daemon", Args: cobra.ExactArgs(1),
		Long:    "Shows the ends of a route, what its lanes do, what an operator has told it, and what is wrong.",
		Example: "  posthouse route show orders\n  posthouse route show -c topology.yaml orders -o json",
	}
	f.register(c, "text", "json")
	c.ValidArgsFunction = f.complete(routeNames)
	c.RunE = func(c *cobra.Command, args []string) error {
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			return passed(ctx, addr, "/api/v1/routes/"+url.PathEscape(args[0]), (*routeDoc).summary, func(r *routeDoc) string { return r.text(time.Now()) })
		})
	}
	return c
}

func (r *routeDoc) summary() string { return fmt.Sprintf("route %s is %s", clean(r.Name), r.State) }

func (r *routeDoc) text(now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.summary())
	fmt.Fprintf(&b, "source    %s, %s for %s\n", clean(r.Source.Address), r.Source.State, ageText(r.Source.Since, now))
	fmt.Fprintf(&b, "received  %s, %d filtered out, %d times refused\n", messages(r.Received), r.Filtered, r.Refused)
	if r.Dead != nil {
		fmt.Fprintf(&b, "dead      %s kept: posthouse dlq browse %s\n", messages(r.Dead.Spooled), clean(r.Name))
	}
	b.WriteString("\n")
	t := &table{head: []string{"TARGET", "STATE", "SINCE", "FLIGHT", "SPOOLED", "BYTES", "OLDEST", "ADDRESS"}, numbers: map[int]bool{2: true, 3: true, 4: true, 5: true, 6: true}}
	for i := range r.Lanes {
		row := r.Lanes[i].row(now)
		_, row[0], _ = strings.Cut(row[0], "/")
		row[len(row)-1] = clean(r.Lanes[i].Link.Address)
		t.rows = append(t.rows, row)
	}
	t.shrink(screenWidth, tail)
	t.text(&b)
	for _, line := range r.troubles() {
		b.WriteString(clean(line) + "\n")
	}
	return b.String()
}

// troubles are the source's and the lanes', and what an operator has ordered. That is why its lanes are paused, unless one
// of them says something else.
func (r *routeView) troubles() (out []string) {
	if r.Told == nil || r.Source.State != "paused" {
		out = r.Source.trouble("source of " + r.Name)
	}
	if r.Told != nil {
		out = append(out, toldTrouble("route "+r.Name, r.Name, r.Told)...)
	}
	for _, l := range r.Lanes {
		if r.Told == nil || l.Told != nil || l.State != "paused" || l.LastError != "" {
			out = append(out, l.troubles()...)
		}
	}
	return out
}

func toldTrouble(what, name string, s *repeater.Standing) []string {
	return []string{what + ": " + standingText(s), "  = help: let it go on: posthouse route resume " + name}
}

// standingText says what an operator has ordered.
func standingText(s *repeater.Standing) string {
	text := fmt.Sprintf("%s since %s", s.Order, stamp(s.Since))
	if s.By != "" {
		text += " by " + s.By
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return clean(text)
}

// steerWords are what is said of an order.
var steerWords = map[repeater.Order]struct{ use, short, long string }{
	repeater.Pause: {"pause ROUTE[/TARGET]", "Let a route, or one of its lanes, receive and send nothing until resume",
		`What no lane has begun to send goes back to the source; what is in flight is waited for, and the route is pausing until
then. Of a lane only the sending stops: what comes for it waits in the spool, or at the source.`},
	repeater.Resume: {"resume ROUTE[/TARGET]", "Let a route or lane go on that was paused or drained", "A lane that an alarm has paused goes on with posthouse resolve ROUTE/TARGET retry."},
	repeater.Drain:  {"drain ROUTE", "Let a route receive nothing, send what is there, and then pause", "The route is draining until its spool is empty. One that shares its source with others cannot drain alone."},
	repeater.Restart: {"restart ROUTE", "End a route as at a stop, and begin it again",
		"What shares the source or the bridge of the route begins again with it. It may take the daemon's grace period. A route\nthat is paused stays so."},
}

func steerCommand(o repeater.Order) *cobra.Command {
	var f steerFlags
	w := steerWords[o]
	c := &cobra.Command{
		Use: w.use, Short: w.short, Long: w.short + ". " + w.long + "\nExit 1 if the daemon refuses, 2 for usage, 3 if none answers.", Args: cobra.ExactArgs(1),
		Example: fmt.Sprintf("  posthouse route %s orders --dry-run\n  posthouse route %[1]s -c topology.yaml orders --reason \"ticket 4711\"", o),
	}
	f.register(c)
	names := routeNames
	if o == repeater.Pause || o == repeater.Resume {
		names = routeAndLaneNames
	}
	c.ValidArgsFunction = f.complete(names)
	c.RunE = func(c *cobra.Command, args []string) error {
		path, err := steerPath(args[0], o)
		if err != nil {
			return finish(c, f.output, reply{}, err)
		}
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			var done repeater.Obeyed
			if err := f.tell(ctx, addr, path, &done); err != nil {
				return reply{}, err
			}
			return reply{summary: obeyedText(&done), result: done}, nil
		})
	}
	return c
}

// steerPath is where an order for a route or a lane is posted to.
func steerPath(name string, o repeater.Order) (string, error) {
	route, target, lane := strings.Cut(name, "/")
	switch {
	case route == "" || lane && target == "" || strings.Contains(target, "/"):
		return "", advise(exitConfig, "", fmt.Sprintf("%q is no route or lane", clean(name)), "write ROUTE or ROUTE/TARGET, as posthouse status shows them", nil)
	case lane && (o == repeater.Drain || o == repeater.Restart):
		return "", advise(exitConfig, "", fmt.Sprintf("a lane can only be paused and resumed: its source is that of its route %s", clean(route)), "name the route", nil)
	case lane:
		return fmt.Sprintf("/api/v1/lanes/%s/%s/%s", url.PathEscape(route), url.PathEscape(target), o), nil
	}
	return fmt.Sprintf("/api/v1/routes/%s/%s", url.PathEscape(route), o), nil
}

// obeyedText is a sentence about an order, with what else it concerns.
func obeyedText(d *repeater.Obeyed) string {
	name := clean(d.Name)
	text := fmt.Sprintf("%s: %s is ordered", name, d.Order)
	switch {
	case d.Order == repeater.Restart && d.DryRun:
		text = "dry run: would end and begin again " + clean(strings.Join(d.Begun, ", "))
	case d.Order == repeater.Restart:
		text = "ended and begun again: " + clean(strings.Join(d.Begun, ", "))
	case !d.Changed:
		text = fmt.Sprintf("%s: nothing changes, %s was ordered before", name, d.Order)
		if d.Order == repeater.Resume {
			text = name + ": nothing changes, nobody has paused it"
		}
	case d.DryRun:
		text = fmt.Sprintf("dry run: %s: %s would be ordered", name, d.Order)
	}
	if len(d.Shares) > 0 {
		text += fmt.Sprintf("\nthe source goes on for %s: what comes for %s is spooled, or holds them up", clean(strings.Join(d.Shares, ", ")), name)
	}
	return text
}
