package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
)

// statusFlags say whose status is shown, and how.
type statusFlags struct {
	output   string
	watch    bool
	interval time.Duration
}

func statusCommand() *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use: "status", Short: "Show what every lane of the running daemon does", Args: cobra.NoArgs,
		Long: `Shows every lane of the running daemon: its state and since when, messages in flight, what is spooled and how old
the oldest of it is, and the last error, cut. Below the table stand the full errors of what is not up, the journal when
something is wrong with it, and orphans. -o wide cuts nothing. -o json prints one object whose result is the document of
/api/v1/status. -w shows it again every --interval: on a terminal in place, else one line of JSON whenever it changed.
Exit 3 if no daemon answers.`,
		Example: `  posthouse status
  posthouse status -c topology.yaml -w
  posthouse status --admin 127.0.0.1:7421 -o json`,
	}
	file, admin, name := configFlag(c), adminFlag(c), repeaterFlag(c, "whose daemon to ask, in a file for several")
	wordFlag(c, &f.output, "output", "o", "what to print", "table", "wide", "json")
	c.Flags().BoolVarP(&f.watch, "watch", "w", false, "show it again and again, until Ctrl-C")
	c.Flags().DurationVar(&f.interval, "interval", time.Second, "the pause between two looks with -w")
	c.RunE = func(c *cobra.Command, _ []string) error {
		addr, err := f.address(*file, *admin, *name, c.ErrOrStderr())
		if err != nil || !f.watch {
			return f.once(c, addr, err)
		}
		return f.follow(c, addr)
	}
	return c
}

// address is where to look; the file is needed only where --admin is not given.
func (f statusFlags) address(file, admin, repeater string, errs io.Writer) (string, error) {
	if f.interval < time.Millisecond {
		return "", fail(exitConfig, fmt.Errorf("--interval %v: at least 1ms", f.interval))
	}
	return lookAt(file, admin, repeater, errs)
}

// quietly reads file for something other than running it: it prints nothing unless the file is wrong.
func quietly(file string, errs io.Writer) (*routes.Table, error) {
	var report bytes.Buffer
	t, err := load(file, kinds(), &report)
	if err != nil {
		_, _ = errs.Write(report.Bytes())
	}
	return t, err
}

func (f statusFlags) once(c *cobra.Command, addr string, err error) error {
	var r reply
	if err == nil {
		r, err = f.look(c.Context(), addr)
	}
	return finish(c, f.output, r, err)
}

// look asks once.
func (f statusFlags) look(ctx context.Context, addr string) (reply, error) {
	var raw json.RawMessage
	var v view
	if err := ask(ctx, addr, "/api/v1/status", &raw); err != nil {
		return reply{}, err
	}
	if err := json.Unmarshal(raw, &v); err != nil || v.Repeater == "" {
		return reply{}, advise(exitEnvironment, codeNoDaemon, "what answers at "+addr+" is no posthouse", "say where the daemon listens: --admin HOST:PORT", err)
	}
	now := time.Now()
	return reply{summary: v.headline(now), result: raw, mark: v.mark(), text: func(w io.Writer) error {
		_, err := io.WriteString(w, v.text(now, f.output == "wide"))
		return err
	}}, nil
}

// follow looks until it is interrupted. The first look must succeed; later a daemon may go and come back.
func (f statusFlags) follow(c *cobra.Command, addr string) error {
	redraw := f.output != "json" && terminal(c.OutOrStdout()) && os.Getenv("TERM") != "dumb"
	tick := time.NewTicker(f.interval)
	defer tick.Stop()
	last := ""
	for first := true; ; first = false {
		r, err := f.look(c.Context(), addr)
		if c.Context().Err() != nil {
			return nil
		}
		if first && err != nil {
			return finish(c, f.output, r, err)
		}
		if last, err = f.show(c, r, err, redraw, last); err != nil {
			return fail(exitEnvironment, err)
		}
		select {
		case <-tick.C:
		case <-c.Context().Done():
			return nil
		}
	}
}

// show prints one look, and returns what it was.
func (f statusFlags) show(c *cobra.Command, r reply, failed error, redraw bool, last string) (string, error) {
	if !redraw {
		now := r.mark
		if failed != nil {
			now = failed.Error()
		}
		if now == last {
			return last, nil
		}
		return now, printJSON(c.OutOrStdout(), newAnswer(c, r, failed))
	}
	var screen strings.Builder
	if failed != nil {
		fmt.Fprintln(&screen, failed)
	} else if err := r.text(&screen); err != nil {
		return last, err
	}
	_, err := io.WriteString(c.OutOrStdout(), "\x1b[H"+strings.ReplaceAll(screen.String(), "\n", "\x1b[K\n")+"\x1b[J")
	return last, err
}

// mark is equal for two looks between which nothing has changed that people are shown; the free bytes of a disk and ages
// always change.
func (v *view) mark() string {
	c := *v
	if c.Spool != nil {
		s := *c.Spool
		s.DiskFree, c.Spool = 0, &s
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error() // cannot happen: it came from JSON
	}
	return string(b)
}

// headline is one line about the daemon, and one about its journal.
func (v *view) headline(now time.Time) string {
	s := fmt.Sprintf("repeater %s, up %s, config %s; ", v.Repeater, ageText(v.Started, now), v.Config.name(v.Hash))
	if v.Spool == nil {
		return s + "no spool"
	}
	s += fmt.Sprintf("spool %s: %s in %s", v.Spool.State, messages(v.Spool.Messages), bytesText(v.Spool.Bytes))
	if v.Spool.Limit > 0 {
		s += " of " + bytesText(v.Spool.Limit)
	}
	return s
}

// What the columns of a table of 80 characters get at least.
const (
	screenWidth = 80
	nameWidth   = 12
	errorWidth  = 12
)

// text is the status for people, within 80 columns unless it is wide; what stands below the table may be longer.
func (v *view) text(now time.Time, wide bool) string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(clean(v.headline(now)), "; ", "\n") + "\n\n")
	v.table(now, wide).text(&b)
	for _, line := range v.shares(now) {
		b.WriteString(clean(line) + "\n")
	}
	for _, line := range v.bridges(now) {
		b.WriteString(clean(line) + "\n")
	}
	for _, line := range v.troubles() {
		b.WriteString(clean(line) + "\n")
	}
	return b.String()
}

func (v *view) table(now time.Time, wide bool) *table {
	t := &table{head: []string{"ROUTE/TARGET", "STATE", "SINCE", "IN FLIGHT", "SPOOLED", "BYTES", "OLDEST", "LAST ERROR"},
		numbers: map[int]bool{2: true, 3: true, 4: true, 5: true, 6: true}}
	for _, r := range v.Routes {
		if len(r.Lanes) == 0 {
			t.rows = append(t.rows, []string{r.Name, r.State, "-", "-", "-", "-", "-", clean(r.Source.Error)})
		}
		for _, l := range r.Lanes {
			t.rows = append(t.rows, l.row(now))
		}
	}
	if !wide {
		t.head[3] = "FLIGHT"
		t.fit(screenWidth)
	}
	return t
}

func (l *laneView) row(now time.Time) []string {
	oldest := "-"
	if l.Oldest != nil {
		oldest = ageText(*l.Oldest, now)
	}
	return []string{clean(l.Name), l.State, ageText(l.Since, now), countText(l.InFlight), countText(l.Spooled), bytesText(l.Bytes), oldest, clean(l.LastError)}
}

// fit cuts names at their end and errors at their beginning, so that a line has at most width characters.
func (t *table) fit(width int) {
	last := len(t.head) - 1
	if room := t.shrink(width, tail); room < len(t.head[last]) {
		t.head[last] = "ERROR"
	}
}

// shrink is fit with another way to shorten the last column, and returns the width of that.
func (t *table) shrink(width int, shorten func(string, int) string) int {
	t.gap = 1
	last := len(t.head) - 1
	room := width - last*t.gap
	for i := 1; i < last; i++ {
		room -= t.width(i)
	}
	names := min(t.width(0), max(room-errorWidth, nameWidth))
	for _, row := range t.rows {
		row[0], row[last] = cut(row[0], names), shorten(row[last], room-names)
	}
	return room - names
}

// troubles are the lines below the table: the journal, what is not up, what is held, and orphans.
func (v *view) troubles() []string {
	out := slices.Concat(v.Config.troubles(), v.Spool.troubles(), v.Clock.troubles())
	for _, r := range v.Routes {
		out = append(out, r.troubles()...)
	}
	if v.Spool != nil {
		for _, o := range v.Spool.Orphans {
			out = append(out, fmt.Sprintf("orphan %s: %s, %s, of no route of the file: renamed_from takes them along, posthouse spool export and purge end it",
				o.Name, messages(o.Messages), bytesText(o.Bytes)))
		}
	}
	if len(out) > 0 {
		out = append([]string{""}, out...)
	}
	return out
}

// name is the hash of the configuration that runs, with its number.
func (c *configView) name(hash string) string {
	if c.Generation == 0 {
		return hash
	}
	return fmt.Sprintf("%d (%s)", c.Generation, hash)
}

func (c *configView) troubles() (out []string) {
	if c.Last != nil && !c.Last.OK {
		out = append(out, fmt.Sprintf("the last reload, at %s, was refused: %s", stamp(c.Last.At), c.Last.Error))
	}
	if c.Differs {
		out = append(out, "the file differs from what runs: posthouse diff --running -c FILE, then posthouse reload")
	}
	return out
}

func (c clockView) troubles() []string {
	if !c.Suspect {
		return nil
	}
	return []string{fmt.Sprintf("the clock is not believed since %s, expected is %s: nothing expires until it is right (date; timedatectl); if it is right now, start the daemon again",
		stamp(c.Since), stamp(c.Expected))}
}

func (s *spoolView) troubles() (out []string) {
	if s == nil {
		return nil
	}
	if s.State != "ok" {
		line := fmt.Sprintf("spool %s is %s: %s used", s.Dir, s.State, bytesText(s.Bytes))
		if s.Limit > 0 {
			line += " of " + bytesText(s.Limit)
		}
		if s.DiskFree >= 0 {
			line += ", " + bytesText(s.DiskFree) + " free on the disk"
		}
		if s.Error != "" {
			line += ": " + s.Error
		}
		out = append(out, line)
	}
	if s.Damaged > 0 {
		out = append(out, fmt.Sprintf("spool %s keeps %s as evidence: stop the daemon, look with posthouse spool verify, then posthouse spool acknowledge",
			s.Dir, plural(int64(s.Damaged), "damaged segment")))
	}
	return out
}

func (e *endView) trouble(what string) []string {
	if e.State == "" || e.State == "up" {
		return nil
	}
	return []string{fmt.Sprintf("%s (%s) is %s since %s: %s", what, e.Address, e.State, stamp(e.Since), orUnknown(e.Error))}
}

func (l *laneView) troubles() []string {
	out := l.Link.trouble("target of " + l.Name)
	// What the link says explains these states; the others have a reason of their own.
	if s := l.State; s == "full" || s == "failed" || s == "paused" && l.Told == nil || (s == "spooling" || s == "held" && l.Held == 0) && len(out) == 0 {
		out = append(out, fmt.Sprintf("lane %s is %s since %s: %s", l.Name, s, stamp(l.Since), orUnknown(l.LastError)))
	}
	if l.Told != nil {
		out = append(out, toldTrouble("lane "+l.Name, l.Name, l.Told)...)
	} else if l.State == "paused" {
		out = append(out, fmt.Sprintf("  = help: break the circle and start again, or let it go on: posthouse resolve %s retry --reason TEXT", l.Name))
	}
	if l.Held > 0 {
		out = append(out, fmt.Sprintf("lane %s holds %s that the target refused, and tries them again: %s", l.Name, messages(l.Held), orUnknown(l.LastError)))
	}
	if l.State == "held" || l.Held > 0 {
		out = append(out, fmt.Sprintf("  = help: posthouse resolve %s ACTION --reason TEXT: retry or dead-letter what the target refuses, sent or resend for what may have arrived", l.Name))
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func orUnknown(s string) string {
	if s == "" {
		return "no reason is known yet"
	}
	return s
}
