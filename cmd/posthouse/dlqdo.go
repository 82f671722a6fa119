package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
)

// buryFlags say what is done with which dead letters.
type buryFlags struct {
	daemonFlags
	chosenFlags
	action   repeater.DeadAction
	ids      []uint
	all      bool
	dry, yes bool
	why      string
	to, form string
}

// buryWords are what is said of an action.
var buryWords = map[repeater.DeadAction]struct{ short, long, example, will string }{
	repeater.DeadRetry: {"Send dead letters again, through the lanes that they come from",
		"Mend the cause first: what is refused again stays where it is.", "  posthouse dlq retry orders --reason too-large --why \"limit raised\"", "sent again"},
	repeater.DeadMove: {"Send dead letters to another place, with their reasons in headers",
		"--to is a broker of the file and a name there.", "  posthouse dlq move orders --id 17 --id 18 --to paris/orders.aside --yes", "moved to "},
	repeater.DeadDiscard: {"Give dead letters up, for good",
		"--why is required: it stays in the audit log.", "  posthouse dlq discard orders --filter 'msg.header.test' --why \"ticket 4711\" --yes", "given up for good"},
}

func buryCommand(action repeater.DeadAction) *cobra.Command {
	f := buryFlags{action: action}
	w := buryWords[action]
	c := &cobra.Command{
		Use: string(action) + " ROUTE", Short: w.short, Args: cobra.ExactArgs(1),
		Long: w.short + ". " + w.long + `
Say which are meant: --id, --reason, --lane and --filter, all of them that are given must hold, or --all. They are
counted first; then it needs --yes or an answer on a terminal, and exit 2 without. When others came or went meanwhile,
nothing is done (A007). Exit 1 if the daemon refuses, or some of them stay where they are.`,
		Example: fmt.Sprintf("  posthouse dlq %s orders --all --dry-run\n%s", action, w.example),
	}
	f.daemonFlags.register(c, "text", "json")
	f.chosenFlags.register(c, "the first so many (default all)")
	c.Flags().UintSliceVar(&f.ids, "id", nil, "numbers of posthouse dlq browse")
	c.Flags().BoolVar(&f.all, "all", false, "every one is meant")
	c.Flags().BoolVar(&f.dry, "dry-run", false, "only count them")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	c.Flags().StringVar(&f.why, "why", "", "the reason, for the log")
	if action == repeater.DeadMove {
		c.Flags().StringVar(&f.to, "to", "", "where to, BROKER/NAME; required")
		c.Flags().StringVar(&f.form, "form", "", "what NAME is, queue, topic or subject (default that of the broker's type)")
	}
	c.ValidArgsFunction = f.complete(routeNames)
	c.RunE = func(c *cobra.Command, args []string) error {
		o, err := f.order()
		if err != nil {
			return finish(c, f.output, reply{}, err)
		}
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) { return f.bury(c, addr, args[0], o) })
	}
	return c
}

// order checks what is asked for.
func (f *buryFlags) order() (o admin.DeadOrder, err error) {
	if err := f.check(); err != nil {
		return o, err
	}
	o = admin.DeadOrder{Selection: repeater.Selection{Reason: f.reason, From: f.lane, Filter: f.filter, Limit: f.limit}, All: f.all, Reason: strings.TrimSpace(f.why)}
	for _, id := range f.ids {
		o.Seqs = append(o.Seqs, uint64(id))
	}
	broker, name, _ := strings.Cut(f.to, "/")
	switch {
	case o.Empty() != f.all:
		return o, advise(exitConfig, "", "it is not said which dead letters are meant", "give some of --id, --reason, --lane and --filter, or else --all", nil)
	case f.action == repeater.DeadDiscard && o.Reason == "" && !f.dry:
		return o, advise(exitConfig, "", "it is not said why", "add --why TEXT: it stays in the log when nobody remembers", nil)
	case f.action == repeater.DeadMove && (broker == "" || name == ""):
		return o, advise(exitConfig, "", "it is not said where to", "add --to BROKER/NAME", nil)
	}
	return o, nil
}

// bury counts, asks, and does it.
func (f *buryFlags) bury(c *cobra.Command, addr, route string, o admin.DeadOrder) (reply, error) {
	ctx := c.Context()
	if err := f.place(ctx, addr, &o); err != nil {
		return reply{}, err
	}
	path := deadPath(route, string(f.action))
	var done repeater.DeadDone
	if err := order(ctx, addr, path+dryQuery(true), o, &done); err != nil {
		return reply{}, err
	}
	will := fmt.Sprintf("%s of route %s will be %s", plural(int64(done.Selected), "dead letter"), clean(route), buryWords[f.action].will+clean(f.to))
	if f.dry || done.Selected == 0 {
		return reply{summary: "dry run: " + will, result: done}, nil
	}
	if err := agreed(c, f.yes, f.output, will); err != nil {
		return reply{result: done}, err
	}
	n := done.Selected
	o.Expect = &n
	done = repeater.DeadDone{}
	if err := order(ctx, addr, path, o, &done); err != nil {
		return reply{}, err
	}
	return buried(&done)
}

// place fills in where to move to. What a name there is depends on the type of the broker.
func (f *buryFlags) place(ctx context.Context, addr string, o *admin.DeadOrder) error {
	if f.action != repeater.DeadMove {
		return nil
	}
	broker, name, _ := strings.Cut(f.to, "/")
	var b admin.Broker
	if err := ask(ctx, addr, "/api/v1/brokers/"+url.PathEscape(broker), &b); err != nil {
		return err
	}
	forms := []adapters.Form{adapters.Queue}
	if a := kinds()[b.Kind]; a != nil {
		forms = a.Capabilities(adapters.Config{Name: broker}).Targets
	}
	form := forms[0]
	if f.form != "" {
		form = adapters.Form(f.form)
	}
	if !slices.Contains(forms, form) {
		return advise(exitConfig, "", fmt.Sprintf("--form %q: broker %s takes %v", f.form, clean(broker), forms), "", nil)
	}
	o.To = &admin.Place{Broker: broker}
	switch form {
	case adapters.Topic:
		o.To.Topic = name
	case adapters.Subject:
		o.To.Subject = name
	default:
		o.To.Queue = name
	}
	return nil
}

// buried says what has been done. Messages that stay where they are make it an exit 1.
func buried(d *repeater.DeadDone) (reply, error) {
	past := map[repeater.DeadAction]string{repeater.DeadRetry: "sent again", repeater.DeadMove: "moved", repeater.DeadDiscard: "given up"}
	s := fmt.Sprintf("route %s: %d of %s %s", clean(d.Route), d.Done, plural(int64(d.Selected), "dead letter"), past[d.Action])
	if d.Pending > 0 {
		s += fmt.Sprintf(", %d under way", d.Pending)
	}
	if d.Failed > 0 {
		s += fmt.Sprintf(", %d stay where they are", d.Failed)
	}
	if rest := d.Selected - d.Done - d.Pending - d.Failed; rest > 0 {
		s += fmt.Sprintf(", %d not there any more or not looked at in time", rest)
	}
	r := reply{summary: s, result: d, text: func(w io.Writer) error {
		var b strings.Builder
		fmt.Fprintln(&b, s)
		for _, x := range d.Failures {
			fmt.Fprintf(&b, "%8d  %s\n", x.Seq, clean(x.Error))
		}
		_, err := io.WriteString(w, b.String())
		return err
	}}
	if d.Failed > 0 {
		return r, &advised{problem{"", s, "posthouse dlq browse shows why they are dead; mend the cause, and retry"}, errFindings}
	}
	return r, nil
}
