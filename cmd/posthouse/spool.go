package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

func spoolCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "spool", Short: "Look into the journal of a daemon, and mend it",
		Long: `Looks into the journal that keeps messages while a target is away. ls and orphans ask the running daemon, and read
the journal itself where none answers. All others need the daemon stopped: a journal belongs to one process at a time.
Exit 3 with E101 says who has it.`,
		Example: `  posthouse spool ls -c topology.yaml
  posthouse spool verify --dir /var/lib/posthouse/spool/posthouse`,
	}
	return group(c, lsCommand(), orphansCommand(), verifyCommand(), dumpCommand(), exportCommand(), purgeCommand(), acknowledgeCommand(), salvageCommand())
}

// A lane of a listing.
type listedLane struct {
	Name     string     `json:"name"`
	State    string     `json:"state"` // of the running daemon; "closed", or "orphan" where no route has it
	Messages int64      `json:"messages"`
	Bytes    int64      `json:"bytes"`
	Limit    int64      `json:"limit_bytes,omitempty"`
	Oldest   *time.Time `json:"oldest_message_at,omitempty"`
}

// A listing is what ls and orphans show.
type listing struct {
	From     string       `json:"from"` // "daemon ADDRESS" or "journal DIR"
	Dir      string       `json:"dir"`
	State    string       `json:"state"`
	Bytes    int64        `json:"bytes"`
	Limit    int64        `json:"limit_bytes,omitempty"`
	Damaged  int          `json:"damaged_segments"`
	Messages int64        `json:"messages"`
	Lanes    []listedLane `json:"lanes"`
}

const listLong = `Asks the running daemon: --admin, else admin.listen of the file. Where none answers, it reads the closed journal of
-c FILE or --dir DIR; the first line says which of the two it was. Reading scans the journal, which takes a while for a
large one.`

func lsCommand() *cobra.Command {
	return listCommand("ls", "List the lanes of the spool and what they hold", listLong+" Then the age of the oldest message is not known.",
		"  posthouse spool ls\n  posthouse spool ls -c topology.yaml\n  posthouse spool ls --dir /var/lib/posthouse/spool/posthouse -o json", false)
}

func orphansCommand() *cobra.Command {
	return listCommand("orphans", "List lanes with messages that no route of the file has", listLong+`
Nothing deletes an orphan by itself. A route that takes its name, or has renamed_from, takes its messages along; else
export it and purge it.`, "  posthouse spool orphans -c topology.yaml", true)
}

func listCommand(use, short, long, example string, orphans bool) *cobra.Command {
	var f journalFlags
	c := &cobra.Command{Use: use, Short: short, Long: long, Example: example, Args: cobra.NoArgs}
	f.register(c)
	admin := adminFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, err := f.list(c, *admin, orphans)
		if err != nil {
			return finish(c, f.output, reply{}, err)
		}
		if orphans {
			l.keepOrphans()
		}
		return finish(c, f.output, reply{summary: l.summary(orphans), result: l, text: func(w io.Writer) error { return l.text(w, orphans) }}, nil)
	}
	return c
}

// list asks the daemon, then the journal.
func (f *journalFlags) list(c *cobra.Command, admin string, orphans bool) (*listing, error) {
	if f.dir == "" && f.file == "" {
		addr, err := adminAddress(admin, nil)
		if err != nil {
			return nil, err
		}
		return askListing(c.Context(), addr, nil)
	}
	j, err := f.find(c)
	switch {
	case err != nil:
		return nil, err
	case j.table == nil && orphans:
		return nil, fail(exitConfig, errors.New("which lanes are orphans is in the file: use -c FILE"))
	case j.table == nil:
		return j.list(c)
	}
	if addr, err := adminAddress(admin, j.table); err == nil {
		if l, err := askListing(c.Context(), addr, j); !errors.Is(err, errNoDaemon) {
			return l, err
		}
	}
	return j.list(c)
}

// askListing gets the listing of a running daemon. One of another name is as good as none, where it is known whose
// journal is meant.
func askListing(ctx context.Context, addr string, j *journal) (*listing, error) {
	var v view
	if err := ask(ctx, addr, "/api/v1/status", &v); err != nil {
		return nil, err
	}
	if j != nil && j.repeater != v.Repeater {
		return nil, noDaemon(addr, fmt.Errorf("repeater %q answers there, not %q", v.Repeater, j.repeater))
	}
	if v.Spool == nil {
		return nil, advise(exitRuntime, "P005", fmt.Sprintf("the daemon at %s has no spool", addr), "its file has no spool section", nil)
	}
	return v.listing(addr), nil
}

func (v *view) listing(addr string) *listing {
	s := v.Spool
	l := &listing{From: "daemon " + addr, Dir: s.Dir, State: s.State, Bytes: s.Bytes, Limit: s.Limit, Damaged: s.Damaged, Messages: s.Messages, Lanes: []listedLane{}}
	for _, r := range v.Routes {
		for _, x := range r.Lanes {
			l.Lanes = append(l.Lanes, listedLane{x.Name, x.State, x.Spooled, x.Bytes, x.Limit, x.Oldest})
		}
	}
	for _, o := range s.Orphans {
		l.Lanes = append(l.Lanes, listedLane{Name: o.Name, State: "orphan", Messages: o.Messages, Bytes: o.Bytes})
	}
	return l
}

// list reads the closed journal.
func (j *journal) list(c *cobra.Command) (l *listing, err error) {
	err = j.with(func(d *vfs.Dir) error {
		lanes, st, _, err := j.inspect(c, d)
		l = &listing{From: "journal " + j.dir, Dir: j.dir, State: "closed", Bytes: st.Bytes, Damaged: st.Damaged, Lanes: []listedLane{}}
		owned := j.owned()
		for _, x := range lanes {
			state := "closed"
			if owned != nil && !owned[x.Name] {
				state = "orphan"
			}
			l.Messages += int64(x.Live)
			if state == "closed" || x.Live > 0 {
				l.Lanes = append(l.Lanes, listedLane{Name: x.Name, State: state, Messages: int64(x.Live), Bytes: x.Bytes})
			}
		}
		return err
	})
	return l, err
}

// inspect reads the whole journal, with progress on a terminal.
func (j *journal) inspect(c *cobra.Command, d *vfs.Dir) ([]spool.LaneStats, spool.Stats, *spool.RecoveryReport, error) {
	if !terminal(c.ErrOrStderr()) {
		return spool.Inspect(c.Context(), d)
	}
	p, err := newProgress(d, "reading "+j.dir, c.ErrOrStderr())
	if err != nil {
		return nil, spool.Stats{}, nil, err
	}
	defer p.end()
	return spool.Inspect(c.Context(), p)
}

func (l *listing) keepOrphans() {
	var only []listedLane
	l.Messages = 0
	for _, x := range l.Lanes {
		if x.State == "orphan" {
			only = append(only, x)
			l.Messages += x.Messages
		}
	}
	l.Lanes = append([]listedLane{}, only...)
}

func (l *listing) summary(orphans bool) string {
	if orphans {
		return fmt.Sprintf("%s in %s, from the %s", messages(l.Messages), plural(int64(len(l.Lanes)), "orphan"), l.source())
	}
	s := fmt.Sprintf("%s in %s, %s", messages(l.Messages), plural(int64(len(l.Lanes)), "lane"), bytesText(l.Bytes))
	if l.Limit > 0 {
		s += " of " + bytesText(l.Limit)
	}
	s += ", " + l.State
	if l.Damaged > 0 {
		s += ", " + plural(int64(l.Damaged), "damaged segment")
	}
	return s + ", from the " + l.source()
}

// source says whom the listing is from.
func (l *listing) source() string {
	if strings.HasPrefix(l.From, "daemon") {
		return "running " + l.From
	}
	return "closed " + l.From
}

func (l *listing) text(w io.Writer, orphans bool) error {
	var b strings.Builder
	fmt.Fprintln(&b, l.summary(orphans))
	if len(l.Lanes) > 0 {
		b.WriteString("\n")
		t := &table{head: []string{"LANE", "STATE", "MESSAGES", "BYTES", "LIMIT", "OLDEST"}, numbers: map[int]bool{2: true, 3: true, 4: true, 5: true}}
		for _, x := range l.Lanes {
			t.rows = append(t.rows, x.row(time.Now()))
		}
		t.text(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (x *listedLane) row(now time.Time) []string {
	oldest, limit := "-", "-"
	if x.Oldest != nil {
		oldest = ageText(*x.Oldest, now)
	}
	if x.Limit > 0 {
		limit = bytesText(x.Limit)
	}
	return []string{clean(x.Name), x.State, fmt.Sprint(x.Messages), bytesText(x.Bytes), limit, oldest}
}
