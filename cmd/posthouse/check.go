package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// checkFlags are what check is asked for.
type checkFlags struct {
	format          string
	repeater        string
	connect, strict bool
}

// A checked is what check has found out about all files, as JSON.
type checked struct {
	Findings routes.Findings  `json:"findings"`
	Lanes    []routes.Promise `json:"lanes"`
	Brokers  []tried          `json:"brokers,omitempty"` // with --connect
	trouble  []string         // what kept a file from being read
}

func checkCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use: "check FILE...", Short: "Find every mistake in topology files", Args: cobra.MinimumNArgs(1),
		Long: `Finds every mistake in topology files at once, with line, column and what to write instead. For a file without errors
it lists the lanes: the class of each target (T-tx, T-window or T-none) and what the promise of the route comes to
there; posthouse explain ROUTE says it in a sentence. Offline: it opens no socket and reads no secret, so it is safe
beside a running daemon. With --connect it also signs in to every broker and looks for the queues, topics and streams
of the routes; it moves no message. -o json prints one object for all files.
Exit 2 for a mistake in a file, 3 for a file, secret or broker that is not there.`,
		Example: `  posthouse check topology.yaml
  posthouse check --connect topology.yaml
  posthouse check -o json topology.yaml
  posthouse check --format github *.yaml`,
		RunE: func(c *cobra.Command, files []string) error { return f.checkAll(c, files) },
	}
	wordFlag(c, &f.format, "format", "", "what to print; github is workflow annotations", "text", "json", "github")
	wordFlag(c, &f.format, "output", "o", "the same as --format", "text", "json", "github")
	c.Flags().StringVar(&f.repeater, "repeater", "", "of a file for several repeaters: list the lanes, and try the brokers, of this one only")
	c.Flags().BoolVar(&f.connect, "connect", false, "also connect to every broker and look for the addresses of the routes")
	c.Flags().BoolVar(&f.strict, "strict", false, "warnings are errors, and what a target's broker does not act on is one (H001)")
	return c
}

func (f checkFlags) checkAll(c *cobra.Command, files []string) error {
	all := checked{Findings: routes.Findings{}, Lanes: []routes.Promise{}}
	var worst error
	for _, file := range files {
		if err := f.check(c.Context(), file, &all, c.OutOrStdout(), c.ErrOrStderr()); worst == nil {
			worst = err
		}
	}
	if f.format == "json" {
		return errors.Join(worst, printJSON(c.OutOrStdout(), all.answer(len(files), worst)))
	}
	return worst
}

// answer is the one object of -o json.
func (all *checked) answer(files int, err error) answer {
	a := answer{Command: "check", OK: err == nil, Result: all,
		Summary: fmt.Sprintf("%s, %s, %s", plural(int64(files), "file"), plural(int64(len(all.Findings)), "finding"), plural(int64(len(all.Lanes)), "lane"))}
	if err == nil {
		return a
	}
	a.Error = &problem{Message: a.Summary, Help: "look at findings and brokers of the result"}
	if len(all.trouble) > 0 {
		a.Error = &problem{Message: strings.Join(all.trouble, "; ")}
	}
	return a
}

// check looks at one file. A file that cannot be read is told at once, for the next one may have more to say.
func (f checkFlags) check(ctx context.Context, file string, all *checked, w, errs io.Writer) error {
	ks := kinds()
	table, findings, err := read(file, f.repeater, ks)
	if err != nil {
		fmt.Fprintln(errs, "posthouse:", err)
		all.trouble = append(all.trouble, err.Error())
		return fail(exitEnvironment, errShown)
	}
	if table != nil && f.strict {
		findings = append(findings, table.Losses()...)
	}
	all.Findings = append(all.Findings, findings...)
	if table, err = f.part(table); err != nil {
		return err
	}
	if table != nil {
		all.Lanes = append(all.Lanes, table.Promises()...)
	}
	if err := f.show(w, table, findings); err != nil {
		return fail(exitEnvironment, err)
	}
	if findings.HasErrors() || f.strict && len(findings) > 0 {
		return fail(exitConfig, errShown)
	}
	if f.connect {
		return f.connectAll(ctx, table, ks, all, w)
	}
	return nil
}

// part is what the command looks at: the whole file, or what one repeater runs of it.
func (f checkFlags) part(t *routes.Table) (*routes.Table, error) {
	if t == nil || f.repeater == "" {
		return t, nil
	}
	return part(t, f.repeater)
}

// show prints what is found in a file, unless it goes into one object with what is found in the others.
func (f checkFlags) show(w io.Writer, t *routes.Table, fs routes.Findings) error {
	switch {
	case f.format == "json":
		return nil
	case f.format == "github":
		return fs.GitHub(w)
	}
	var b strings.Builder
	if err := fs.Text(&b); err != nil {
		return err
	}
	if len(fs) == 0 {
		b.WriteString(t.Summary() + "\n")
	}
	if t != nil {
		laneTable(t.Promises()).text(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// laneTable says for each lane in which class its target is, and what the promise comes to there.
func laneTable(ps []routes.Promise) *table {
	t := &table{head: []string{"LANE", "TARGET", "CLASS", "DELIVERY", "WHAT IT COMES TO"}}
	for _, p := range ps {
		t.rows = append(t.rows, []string{p.Lane, clean(p.Target), p.Class, string(p.Delivery), p.Brief})
	}
	return t
}

// connectTimeout bounds the try of one broker.
const connectTimeout = 30 * time.Second

// A tried is one broker after check --connect, as JSON.
type tried struct {
	Broker  string `json:"broker"`
	OK      bool   `json:"ok"`
	Product string `json:"product,omitempty"`
	Version string `json:"version,omitempty"`
	Inside  bool   `json:"embedded,omitempty"` // runs inside the daemon: not tried
	Address string `json:"address,omitempty"`
	Unique  string `json:"identity,omitempty"` // that no other broker has
	Kind    string `json:"kind,omitempty"`     // of the error: denied, not-found, lost and so on
	Error   string `json:"error,omitempty"`
}

// connectAll signs in to every broker and prints a line for each, or one for each address that it refuses.
func (f checkFlags) connectAll(ctx context.Context, t *routes.Table, ks routes.Kinds, all *checked, w io.Writer) error {
	ends, bad, known := endsOf(t), false, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t.Brokers)) {
		b := t.Brokers[name]
		for _, r := range try(ctx, b, ks[b.Kind], ends[name]) {
			bad, known[name] = bad || !r.OK, r.Unique
			all.Brokers = append(all.Brokers, r)
			if err := f.showBroker(w, t, b, r); err != nil {
				return fail(exitEnvironment, err)
			}
		}
	}
	closed := t.Closed(t.Circles(known))
	all.Findings = append(all.Findings, closed...)
	switch err := f.showClosed(w, closed); {
	case err != nil:
		return fail(exitEnvironment, err)
	case len(closed) > 0:
		return fail(exitConfig, errShown)
	case bad:
		return fail(exitEnvironment, errShown)
	}
	return nil
}

// showClosed prints what has come out by connecting.
func (f checkFlags) showClosed(w io.Writer, fs routes.Findings) error {
	switch f.format {
	case "json":
		return nil
	case "github":
		return fs.GitHub(w)
	}
	return fs.Text(w)
}

func (f checkFlags) showBroker(w io.Writer, t *routes.Table, b *routes.Broker, r tried) error {
	if f.format == "json" {
		return nil
	}
	line := fmt.Sprintf("%s: ok, %s %s at %s", r.Broker, r.Product, r.Version, r.Address)
	switch {
	case !r.OK:
		line = fmt.Sprintf("%s: %s: %s", r.Broker, r.Kind, r.Error)
	case r.Inside:
		line = r.Broker + ": ok, embedded: it will run inside the daemon"
	}
	if f.format == "github" {
		if r.OK {
			return nil
		}
		line = fmt.Sprintf("::error file=%s,line=%d,title=%s::%s", t.File, b.Line, r.Kind,
			strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(line))
	}
	_, err := fmt.Fprintln(w, line)
	return err
}

// try signs in to one broker and looks for all ends. What the daemon embeds is not tried: its directory belongs to one
// process. Where the broker answers and an end is in trouble, each end is looked at by itself, so that one report has
// all of them.
func try(ctx context.Context, b *routes.Broker, a adapters.Adapter, ends []adapters.Address) []tried {
	cfg, err := b.Resolve(os.Getenv)
	if err != nil {
		return []tried{{Broker: b.Name, Kind: "secret", Error: err.Error()}}
	}
	if embedded(cfg) {
		return []tried{{Broker: b.Name, OK: true, Inside: true}}
	}
	cfg.Client = "posthouse.check"
	r := ping(ctx, cfg.WithDefaults(), a, ends...)
	if r.OK || !ping(ctx, cfg.WithDefaults(), a).OK {
		return []tried{r}
	}
	all := []tried{}
	for _, end := range ends {
		if r := ping(ctx, cfg.WithDefaults(), a, end); !r.OK && !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	if len(all) == 0 { // it has come right meanwhile
		return []tried{ping(ctx, cfg.WithDefaults(), a)}
	}
	return all
}

func ping(ctx context.Context, cfg adapters.Config, a adapters.Adapter, ends ...adapters.Address) tried {
	var peer adapters.Peer
	err := errors.New("this kind of broker cannot be tried")
	if p, ok := a.(adapters.Pinger); ok {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		peer, err = p.Ping(ctx, cfg, ends...)
	}
	if err != nil {
		return tried{Broker: cfg.Name, Kind: adapters.KindOf(err).String(), Error: err.Error()}
	}
	return tried{Broker: cfg.Name, OK: true, Product: peer.Product, Version: peer.Version, Address: peer.Address, Unique: peer.Unique}
}

func embedded(c adapters.Config) bool { return c.Options.Sub("embedded") != nil }

// endsOf returns the addresses that the routes use at each broker.
func endsOf(t *routes.Table) map[string][]adapters.Address {
	ends := map[string][]adapters.Address{}
	for _, r := range t.Routes {
		ends[r.From.Broker] = append(ends[r.From.Broker], r.From)
		for _, to := range r.To {
			ends[to.Addr.Broker] = append(ends[to.Addr.Broker], to.Places()...)
		}
	}
	return ends
}

func schemaCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema or the reference page of the topology file", Args: cobra.NoArgs,
		Example: "  posthouse schema > posthouse.schema.json\n  posthouse schema -o markdown",
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if output == "markdown" {
				_, err = io.WriteString(c.OutOrStdout(), routes.Reference())
			} else {
				_, err = c.OutOrStdout().Write(routes.Schema())
			}
			return err
		},
	}
	wordFlag(c, &output, "output", "o", "the schema for editors, or the reference page", "json-schema", "markdown")
	return c
}
