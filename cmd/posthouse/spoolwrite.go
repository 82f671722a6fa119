package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// changeFlags are those of every command that changes a journal.
type changeFlags struct {
	journalFlags
	yes, dry bool
	reason   string
}

func (f *changeFlags) register(c *cobra.Command) {
	f.journalFlags.register(c)
	c.Flags().BoolVar(&f.dry, "dry-run", false, "say what would be done, and do nothing")
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the audit log of the journal")
}

// agreed asks on a terminal, unless --yes was given.
func agreed(c *cobra.Command, yes bool, output, what string) error {
	if yes {
		return nil
	}
	if !terminal(c.InOrStdin()) || output == "json" {
		return advise(exitConfig, "", what+": that needs --yes where nobody can be asked", "try it first with --dry-run", nil)
	}
	fmt.Fprintf(c.ErrOrStderr(), "%s. Do it? [y/N] ", what)
	line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	if err != nil {
		fmt.Fprintln(c.ErrOrStderr())
	}
	if err != nil && err != io.EOF || !slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line))) {
		return fail(exitConfig, errors.New("nothing was done"))
	}
	return nil
}

// auditFile is beside the segments; the journal itself does not look at it.
const auditFile = "audit.log"

// An entry of the audit log says who changed what, and why.
type entry struct {
	Time   time.Time `json:"time"`
	User   string    `json:"user"`
	Action string    `json:"action"`
	Object string    `json:"object"`
	Count  int64     `json:"count"`
	Bytes  int64     `json:"bytes,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Result string    `json:"result"`
}

// audit appends e to the log of the journal and syncs it.
func (j *journal) audit(e entry, failed error) (err error) {
	e.Time, e.User, e.Result = time.Now().UTC(), userName(), "ok"
	if failed != nil {
		e.Result = failed.Error()
	}
	f, err := os.OpenFile(filepath.Join(j.dir, auditFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err = f.Write(append(b, '\n')); err == nil {
		err = f.Sync()
	}
	return err
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// purgeFlags say what purge is to take away.
type purgeFlags struct {
	changeFlags
	seqs  []uint
	force bool
}

// purged is what purge has done, or would do.
type purged struct {
	Lane     string `json:"lane"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes,omitempty"`
	Seqs     []uint `json:"seqs,omitempty"`
	DryRun   bool   `json:"dry_run"`
}

func purgeCommand() *cobra.Command {
	var f purgeFlags
	c := &cobra.Command{
		Use: "purge LANE", Short: "Give up the messages of a lane, for good", Args: cobra.ExactArgs(1),
		Long: `Takes all messages of a lane out of the journal, or with --seq single ones: nobody will ever deliver them. It says how
many first and needs --yes, or an answer on a terminal. --reason goes, with the count and the user, into audit.log in
the journal's directory. The lane of a route that is still in the file needs --force, and so does every lane where the
file is not known (--dir). The daemon must be stopped. spool export keeps a copy before.`,
		Example: `  posthouse spool purge -c topology.yaml old/berlin --reason 'route removed in May' --dry-run
  posthouse spool purge -c topology.yaml orders/berlin --seq 17 --force --reason 'damaged record' --yes`,
	}
	f.register(c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&f.force, "force", false, "even if a route of the file has the lane")
	c.Flags().UintSliceVar(&f.seqs, "seq", nil, "only these sequences, as dump and export show them")
	c.RunE = func(c *cobra.Command, args []string) error {
		p, err := f.purge(c, args[0])
		r := reply{}
		if err == nil {
			r = reply{summary: p.summary(), result: p}
		}
		return finish(c, f.output, r, err)
	}
	return c
}

func (f *purgeFlags) purge(c *cobra.Command, lane string) (*purged, error) {
	if f.reason == "" && !f.dry {
		return nil, fail(exitConfig, errors.New("purge needs --reason TEXT: it is kept in the audit log"))
	}
	j, err := f.find(c)
	if err != nil {
		return nil, err
	}
	if err := j.mine(lane); err != nil && !f.force && !f.dry {
		return nil, err
	}
	p := &purged{Lane: lane, Seqs: f.seqs, DryRun: f.dry}
	return p, j.with(func(d *vfs.Dir) error {
		if err := p.count(c, j, d); err != nil || f.dry {
			return err
		}
		if err := agreed(c, f.yes, f.output, p.plan()); err != nil {
			return err
		}
		err := p.do(c.Context(), d)
		return errors.Join(err, j.audit(entry{Action: "purge", Object: lane, Count: p.Messages, Bytes: p.Bytes, Reason: f.reason}, err))
	})
}

// mine is an error unless no route of the file has the lane.
func (j *journal) mine(lane string) error {
	switch owned := j.owned(); {
	case owned == nil:
		return advise(exitConfig, "", fmt.Sprintf("lane %q may be that of a route", lane), "give -c FILE to look it up, or --force to give its messages up all the same", nil)
	case owned[lane]:
		return advise(exitConfig, "", fmt.Sprintf("lane %q is that of a route of %s: its messages still wait to be delivered", lane, j.table.File), "--force gives them up all the same", nil)
	}
	return nil
}

// count says how much there is to take away.
func (p *purged) count(c *cobra.Command, j *journal, d *vfs.Dir) error {
	lanes, _, _, err := j.inspect(c, d)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(lanes, func(l spool.LaneStats) bool { return l.Name == p.Lane })
	if i < 0 {
		return noLane(p.Lane, lanes)
	}
	p.Messages, p.Bytes = int64(lanes[i].Live), lanes[i].Bytes
	if len(p.Seqs) == 0 {
		return nil
	}
	p.Seqs = slices.Compact(slices.Sorted(slices.Values(p.Seqs)))
	p.Messages, p.Bytes = int64(len(p.Seqs)), 0
	return p.present(c.Context(), d)
}

// present demands that every sequence asked for is there; a damaged record is.
func (p *purged) present(ctx context.Context, d *vfs.Dir) error {
	live := map[uint]bool{}
	err := spool.Dump(ctx, d, func(r spool.DumpRecord) error {
		if r.Lane == p.Lane && (r.Status == spool.StatusLive || r.Status == spool.StatusDamaged && r.Type == "DATA") {
			live[uint(r.Seq)] = true
		}
		return nil
	})
	for _, n := range p.Seqs {
		if err == nil && !live[n] {
			err = advise(exitConfig, "", fmt.Sprintf("lane %q has no message with sequence %d", p.Lane, n), "posthouse spool dump --lane "+p.Lane+" shows those that are there", nil)
		}
	}
	return err
}

// do opens the journal as its daemon does, and marks what is to go.
func (p *purged) do(ctx context.Context, d *vfs.Dir) (err error) {
	size, err := segmentSize(d)
	if err != nil {
		return err
	}
	s, _, err := spool.Open(ctx, spool.Options{FS: d, SegmentSize: size})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	l, err := s.Lane(p.Lane)
	if err != nil {
		return err
	}
	if len(p.Seqs) > 0 {
		for _, n := range p.Seqs {
			err = errors.Join(err, l.Done(uint64(n)))
		}
	} else {
		p.Messages = int64(l.Stats().Live)
		l.Purge()
	}
	return errors.Join(err, s.Sync(ctx))
}

// segmentSize is that of the journal's files, so that it is opened as its daemon would.
func segmentSize(d *vfs.Dir) (size int64, err error) {
	list, err := d.List()
	for _, f := range list {
		if filepath.Ext(f.Name) == ".seg" {
			size = max(size, f.Size)
		}
	}
	return size, err
}

func (p *purged) plan() string {
	s := fmt.Sprintf("%s of lane %s", messages(p.Messages), p.Lane)
	if len(p.Seqs) == 0 {
		s += fmt.Sprintf(" (%s)", bytesText(p.Bytes))
	}
	return s + " will be given up for good"
}

func (p *purged) summary() string {
	if p.DryRun {
		return p.plan() + " (dry run: nothing was done)"
	}
	return strings.Replace(p.plan(), "will be given up", map[bool]string{true: "was given up", false: "were given up"}[p.Messages == 1], 1)
}

// acknowledged is what acknowledge has done, or would do.
type acknowledged struct {
	Dir     string   `json:"dir"`
	Damaged int      `json:"damaged_segments"`
	Moved   []string `json:"moved"` // below dir
	DryRun  bool     `json:"dry_run"`
}

func acknowledgeCommand() *cobra.Command {
	var f changeFlags
	c := &cobra.Command{
		Use: "acknowledge", Short: "Set damaged segments aside, and end the alarm", Args: cobra.NoArgs,
		Long: `Moves damaged segments, which are kept as evidence, into the folder evidence of the journal, and so ends the alarm
(posthouse_spool_damaged_segments). What was lost stays lost; look at it before with spool verify. It refuses while such
a segment holds messages that can still be read: let the daemon deliver them, or salvage the journal. The daemon must be
stopped.`,
		Example: "  posthouse spool acknowledge -c topology.yaml --reason 'disk replaced'\n  posthouse spool acknowledge -c topology.yaml --dry-run",
	}
	f.register(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := f.acknowledge(c)
		r := reply{}
		if err == nil {
			r = reply{summary: a.summary(), result: a, text: a.text}
		}
		return finish(c, f.output, r, err)
	}
	return c
}

func (f *changeFlags) acknowledge(c *cobra.Command) (*acknowledged, error) {
	j, err := f.find(c)
	if err != nil {
		return nil, err
	}
	a := &acknowledged{Dir: j.dir, Moved: []string{}, DryRun: f.dry}
	return a, j.with(func(d *vfs.Dir) error {
		_, st, _, err := j.inspect(c, d)
		if a.Damaged = st.Damaged; err != nil || f.dry || a.Damaged == 0 {
			return err
		}
		moved, err := spool.Acknowledge(c.Context(), d)
		a.Moved = append(a.Moved, moved...)
		err = errors.Join(err, j.audit(entry{Action: "acknowledge", Object: strings.Join(moved, " "), Count: int64(len(moved)), Reason: f.reason}, err))
		if errors.Is(err, spool.ErrStillNeeded) {
			return advise(exitRuntime, "", err.Error(), "start the daemon and let the lanes drain, or bring what can be read into a new journal: posthouse spool salvage", err)
		}
		return err
	})
}

func (a *acknowledged) summary() string {
	switch {
	case a.Damaged == 0:
		return "no segment is damaged: there is nothing to acknowledge"
	case a.DryRun:
		return plural(int64(a.Damaged), "damaged segment") + " would be set aside (dry run: nothing was done)"
	}
	return plural(int64(len(a.Moved)), "damaged segment") + " set aside in " + filepath.Join(a.Dir, "evidence")
}

func (a *acknowledged) text(w io.Writer) error {
	for _, m := range a.Moved {
		fmt.Fprintln(w, filepath.Join(a.Dir, m))
	}
	_, err := fmt.Fprintln(w, a.summary())
	return err
}

// salvaged is what salvage has done.
type salvaged struct {
	From    string   `json:"from"`
	To      string   `json:"to"`
	Lanes   int      `json:"lanes"`
	Records uint64   `json:"records"`
	Bytes   int64    `json:"bytes"`
	Lost    int64    `json:"lost_records"` // that could not be read, or are nowhere
	Missing []string `json:"missing"`
}

func salvageCommand() *cobra.Command {
	var f journalFlags
	c := &cobra.Command{
		Use: "salvage TO", Short: "Copy all that can be read into a new journal", Args: cobra.ExactArgs(1),
		Long: `Copies every message that can still be read into a new journal in the directory TO, which must be empty or absent.
It reads on where the disk gives errors. The old journal is not changed. Of the two only one may be used from now on:
move the old one away, and TO into its place. The daemon must be stopped.`,
		Example: "  posthouse spool salvage -c topology.yaml /mnt/new/posthouse",
	}
	f.register(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := f.salvage(c, args[0])
		r := reply{}
		if s != nil {
			r = reply{summary: s.summary(), result: s, text: s.text}
		}
		return finish(c, f.output, r, err)
	}
	return c
}

func (f *journalFlags) salvage(c *cobra.Command, to string) (*salvaged, error) {
	j, err := f.find(c)
	if err != nil {
		return nil, err
	}
	var out *salvaged
	err = j.with(func(d *vfs.Dir) error {
		fresh, err := (&journal{dir: to}).openDir()
		if err != nil {
			return err
		}
		rep, err := spool.Salvage(c.Context(), d, fresh)
		if errors.Is(err, spool.ErrNotEmpty) {
			err = advise(exitConfig, "", fmt.Sprintf("%s holds a journal already", to), "name an empty directory", err)
		} else if rep != nil {
			out = newSalvaged(j.dir, to, rep)
		}
		return errors.Join(err, fresh.Close())
	})
	return out, err
}

func newSalvaged(from, to string, rep *spool.SalvageReport) *salvaged {
	s := &salvaged{From: from, To: to, Lanes: rep.Lanes, Records: rep.Records, Bytes: rep.Bytes, Lost: int64(rep.Damaged), Missing: []string{}}
	for _, m := range rep.Recovery.Missing {
		s.Lost += int64(m.Last - m.First + 1)
		s.Missing = append(s.Missing, missingText(m))
	}
	return s
}

func (s *salvaged) summary() string {
	out := fmt.Sprintf("%s of %s (%s) brought over to %s", messages(int64(s.Records)), plural(int64(s.Lanes), "lane"), bytesText(s.Bytes), s.To)
	if s.Lost > 0 {
		out += fmt.Sprintf("; %s could not be read", messages(s.Lost))
	}
	return out
}

func (s *salvaged) text(w io.Writer) error {
	for _, m := range s.Missing {
		fmt.Fprintln(w, "missing:", clean(m))
	}
	_, err := fmt.Fprintln(w, s.summary())
	return err
}
