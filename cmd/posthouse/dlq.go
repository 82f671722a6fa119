package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
)

func dlqCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "dlq", Short: "Look at the dead letters of the running daemon, and send, move or give them up",
		Long: `Looks at the dead letters that the running daemon keeps in its spool, and sends them again, moves them or gives them up.
Those that the file sends to a broker (dead_letter: { broker: NAME, queue: NAME }) are there: posthouse receive shows them.`,
		Example: `  posthouse dlq ls
  posthouse dlq browse orders --reason too-large
  posthouse dlq retry orders --all --dry-run`,
	}
	return group(c, dlqLsCommand(), dlqBrowseCommand(), dlqShowCommand(), buryCommand(repeater.DeadRetry), buryCommand(repeater.DeadMove), buryCommand(repeater.DeadDiscard))
}

func dlqLsCommand() *cobra.Command {
	var f daemonFlags
	c := &cobra.Command{
		Use: "ls", Short: "List the routes that have a place for dead letters, and how many are there", Args: cobra.NoArgs,
		Long:    "Lists the routes with their dead letters. PLACE is where those go that do not stay in the spool.",
		Example: "  posthouse dlq ls\n  posthouse dlq ls -c topology.yaml -o json",
	}
	f.register(c, "text", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			return passed(ctx, addr, "/api/v1/dlq", deadSummary, func(ds *[]admin.DeadRoute) string { return deadText(*ds, time.Now()) })
		})
	}
	return c
}

func deadSummary(ds *[]admin.DeadRoute) string {
	var n uint64
	for _, d := range *ds {
		n += d.Messages
	}
	return plural(int64(n), "dead letter")
}

func deadText(ds []admin.DeadRoute, now time.Time) string {
	t := &table{head: []string{"ROUTE", "MESSAGES", "BYTES", "OLDEST", "PLACE"}, numbers: map[int]bool{1: true, 2: true, 3: true}}
	for _, d := range ds {
		var oldest time.Time
		if d.Oldest != nil {
			oldest = *d.Oldest
		}
		place := "spool"
		if !d.Kept {
			place = d.Place
		}
		t.rows = append(t.rows, []string{clean(d.Route), fmt.Sprint(d.Messages), bytesText(d.Bytes), ageText(oldest, now), clean(place)})
	}
	t.shrink(screenWidth, cut)
	var b strings.Builder
	t.text(&b)
	return b.String()
}

// chosenFlags say which dead letters are meant; all of them that are given must hold.
type chosenFlags struct {
	reason, lane, filter string
	limit                int
}

func (f *chosenFlags) register(c *cobra.Command, limit string) {
	c.Flags().StringVar(&f.reason, "reason", "", "only those that are dead for it: rejected, too-large, filter-error, ...")
	c.Flags().StringVar(&f.lane, "lane", "", "only those of the lane, ROUTE/TARGET")
	c.Flags().StringVar(&f.filter, "filter", "", "only those for which an expression over msg is true")
	c.Flags().IntVar(&f.limit, "limit", 0, limit)
}

func (f *chosenFlags) check() error {
	if f.limit < 0 {
		return advise(exitConfig, "", fmt.Sprintf("--limit %d is negative", f.limit), "write 1 or more", nil)
	}
	return nil
}

// query is f for the path of a page.
func (f *chosenFlags) query() url.Values {
	q := url.Values{}
	for name, v := range map[string]string{"reason": f.reason, "lane": f.lane, "filter": f.filter} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if f.limit > 0 {
		q.Set("limit", strconv.Itoa(f.limit))
	}
	return q
}

func deadPath(route, what string) string { return "/api/v1/dlq/" + url.PathEscape(route) + "/" + what }

func dlqBrowseCommand() *cobra.Command {
	var f daemonFlags
	var which chosenFlags
	var after uint64
	c := &cobra.Command{
		Use: "browse ROUTE", Short: "List dead letters of a route", Args: cobra.ExactArgs(1),
		Long: `Lists dead letters of a route, oldest first, with the number that show and --id take. A page examines at most 10,000
messages; the last line says how to get the next one. -o json has everything but the bodies.`,
		Example: "  posthouse dlq browse orders\n  posthouse dlq browse orders --reason rejected --filter 'msg.priority > 4' -o json",
	}
	f.register(c, "text", "json")
	which.register(c, "messages of a page, at most 1000 (default 50)")
	c.Flags().Uint64Var(&after, "after", 0, "begin behind this number, for the next page")
	c.ValidArgsFunction = f.complete(routeNames)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := which.check(); err != nil {
			return finish(c, f.output, reply{}, err)
		}
		q := which.query()
		if after > 0 {
			q.Set("cursor", strconv.FormatUint(after, 10))
		}
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			return passed(ctx, addr, deadPath(args[0], "messages?"+q.Encode()), pageSummary, func(p *repeater.Page) string { return pageText(p, time.Now()) })
		})
	}
	return c
}

func pageSummary(p *repeater.Page) string { return plural(int64(len(p.Letters)), "dead letter") }

func pageText(p *repeater.Page, now time.Time) string {
	t := &table{head: []string{"NUMBER", "REASON", "TRIES", "SINCE", "BYTES", "TEXT"}, numbers: map[int]bool{0: true, 2: true, 3: true, 4: true}}
	for _, l := range p.Letters {
		d := l.Dead
		if d == nil {
			d = &bridge.Dead{Reason: "-", Text: l.Error}
		}
		var since time.Time
		if d.Last > 0 {
			since = time.UnixMilli(d.Last)
		}
		t.rows = append(t.rows, []string{fmt.Sprint(l.Seq), clean(d.Reason), fmt.Sprint(d.Attempts), ageText(since, now), bytesText(int64(l.Bytes)), clean(d.Text)})
	}
	t.shrink(screenWidth, tail)
	var b strings.Builder
	t.text(&b)
	if p.Next > 0 {
		fmt.Fprintf(&b, "%d examined; the next page: --after %d\n", p.Examined, p.Next)
	}
	return b.String()
}

func dlqShowCommand() *cobra.Command {
	var f daemonFlags
	var body bool
	c := &cobra.Command{
		Use: "show ROUTE NUMBER", Short: "Show one dead letter", Args: cobra.ExactArgs(2),
		Long: `Shows why a message is dead, and its headers. --body shows its body too, and the values of headers whose name says that
they are secret; that needs the right to see them, and is noted in the audit log.`,
		Example: "  posthouse dlq show orders 17\n  posthouse dlq show orders 17 --body -o json",
	}
	f.register(c, "text", "json")
	c.Flags().BoolVar(&body, "body", false, "with the body, and secret headers")
	c.ValidArgsFunction = f.complete(routeNames)
	c.RunE = func(c *cobra.Command, args []string) error {
		if _, err := strconv.ParseUint(args[1], 10, 64); err != nil {
			return finish(c, f.output, reply{}, advise(exitConfig, "", fmt.Sprintf("%q is no number of a dead letter", clean(args[1])), "posthouse dlq browse lists them", nil))
		}
		path := deadPath(args[0], "messages/"+args[1])
		if body {
			path += "?body=1"
		}
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			return passed(ctx, addr, path, letterSummary, letterText)
		})
	}
	return c
}

func letterSummary(l *repeater.Letter) string {
	s := fmt.Sprintf("message %d of %s", l.Seq, clean(l.Lane))
	if l.Dead != nil {
		s += ": " + clean(l.Dead.Reason)
	}
	return s
}

// letterText is a message, one thing on each line; the message itself as JSON.
func letterText(l *repeater.Letter) string {
	var b strings.Builder
	fmt.Fprintln(&b, letterSummary(l))
	if d := l.Dead; d != nil {
		fmt.Fprintf(&b, "text      %s\nlane      %s\nsource    %s\nattempts  %d\n", clean(d.Text), clean(d.Lane), clean(d.Source), d.Attempts)
	}
	fmt.Fprintf(&b, "body      %s\n", bytesText(int64(l.Bytes)))
	if l.Error != "" {
		fmt.Fprintf(&b, "error     %s\n", clean(l.Error))
	}
	if l.Message != nil {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		_ = e.Encode(l.Message) // it came from JSON, and a Builder takes everything
	}
	return b.String()
}
