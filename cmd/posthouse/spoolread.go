package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// verified is what verify has found, as JSON.
type verified struct {
	Dir      string   `json:"dir"`
	Epoch    uint32   `json:"epoch"`
	Segments int      `json:"segments"`
	Damaged  int      `json:"damaged_segments"`
	Lanes    int      `json:"lanes"`
	Records  uint64   `json:"records"`
	Scanned  int64    `json:"scanned_bytes"`
	Torn     int64    `json:"torn_bytes"` // of a write that was never confirmed: no finding
	Clean    bool     `json:"clean"`      // closed by the daemon itself
	Damage   []string `json:"damage"`
	Missing  []string `json:"missing"`
}

func verifyCommand() *cobra.Command {
	var f journalFlags
	c := &cobra.Command{
		Use: "verify", Short: "Read every record of the journal and check it", Args: cobra.NoArgs,
		Long: `Reads every record that counts, checks its checksums, and checks that no message is missing. It changes nothing. The
daemon must be stopped. Progress is shown on a terminal. Exit 1 if anything is damaged or missing; a torn write at the
end, of a power cut or a kill, is no finding: what it held was never confirmed to anybody.`,
		Example: "  posthouse spool verify -c topology.yaml\n  posthouse spool verify --dir /var/lib/posthouse/spool/posthouse -o json",
	}
	f.register(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		v, err := f.verify(c)
		if err != nil {
			return finish(c, f.output, reply{}, err)
		}
		r := reply{summary: v.summary(), result: v, text: v.text}
		if len(v.Damage)+len(v.Missing)+v.Damaged > 0 {
			err = &advised{problem{"", v.summary(), "posthouse spool acknowledge sets damaged segments aside; what is missing is lost here, but may still be at its source"}, errFindings}
		}
		return finish(c, f.output, r, err)
	}
	return c
}

func (f *journalFlags) verify(c *cobra.Command) (*verified, error) {
	j, err := f.find(c)
	if err != nil {
		return nil, err
	}
	v := &verified{Dir: j.dir, Damage: []string{}, Missing: []string{}}
	return v, j.with(func(d *vfs.Dir) error {
		lanes, st, rep, err := j.inspect(c, d)
		if err != nil {
			return err
		}
		v.Epoch, v.Segments, v.Damaged, v.Lanes = rep.Epoch, rep.Segments, st.Damaged, len(lanes)
		v.Records, v.Scanned, v.Torn, v.Clean = rep.Records, rep.Scanned, rep.Torn, rep.Clean
		for _, x := range rep.Damage {
			v.Damage = append(v.Damage, x.String())
		}
		for _, m := range rep.Missing {
			v.Missing = append(v.Missing, missingText(m))
		}
		return nil
	})
}

func missingText(m spool.Missing) string {
	if m.First == m.Last {
		return fmt.Sprintf("lane %q, sequence %d: 1 message", m.Lane, m.First)
	}
	return fmt.Sprintf("lane %q, sequences %d to %d: %s", m.Lane, m.First, m.Last, messages(int64(m.Last-m.First+1)))
}

func (v *verified) summary() string {
	s := fmt.Sprintf("%s of %s in %s, %s read", messages(int64(v.Records)), plural(int64(v.Lanes), "lane"), plural(int64(v.Segments), "segment"), bytesText(v.Scanned))
	if n := len(v.Damage) + len(v.Missing); n > 0 {
		return s + ": " + plural(int64(n), "finding")
	}
	if v.Damaged > 0 {
		return s + ": " + plural(int64(v.Damaged), "damaged segment")
	}
	return s + ": ok"
}

func (v *verified) text(w io.Writer) error {
	var b strings.Builder
	for _, x := range v.Damage {
		fmt.Fprintln(&b, "damaged:", clean(x))
	}
	for _, x := range v.Missing {
		fmt.Fprintln(&b, "missing:", clean(x))
	}
	if v.Torn > 0 {
		fmt.Fprintf(&b, "torn: %s at the end were never confirmed: the next start cuts them, nothing is lost\n", bytesText(v.Torn))
	}
	fmt.Fprintf(&b, "%s: %s\n", v.Dir, v.summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// dumped is a record as JSON.
type dumped struct {
	File    string          `json:"file"`
	Offset  int64           `json:"offset"`
	Size    int64           `json:"size"`
	Segment uint64          `json:"segment"`
	Type    string          `json:"type"`
	Status  string          `json:"status"`
	Lane    string          `json:"lane,omitempty"`
	Seq     uint64          `json:"seq,omitempty"`
	Maybe   bool            `json:"possible_duplicate,omitempty"`
	ID      string          `json:"source_id,omitempty"`
	What    string          `json:"what,omitempty"`
	Message *repeater.Shown `json:"message,omitempty"`
}

// dumpFlags say what dump shows.
type dumpFlags struct {
	journalFlags
	lane string
	body bool
}

func dumpCommand() *cobra.Command {
	var f dumpFlags
	c := &cobra.Command{
		Use: "dump", Short: "Print every record as it lies on the disk, bodies hidden", Args: cobra.NoArgs,
		Long: `Prints one line per record, oldest segment first: file, place and size in it, type, what it is worth (live, done, moved,
meta, damaged), lane, sequence, and the source's name for the message. --body adds the message, headers and body, of
live records. The daemon must be stopped. -o json prints one object per line.`,
		Example: "  posthouse spool dump -c topology.yaml\n  posthouse spool dump -c topology.yaml --lane orders/berlin --body",
	}
	f.register(c)
	c.Flags().StringVar(&f.lane, "lane", "", "only records of this lane")
	c.Flags().BoolVar(&f.body, "body", false, "show messages too")
	c.RunE = func(c *cobra.Command, _ []string) error {
		j, err := f.find(c)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(c.OutOrStdout())
		err = j.with(func(d *vfs.Dir) error {
			return spool.Dump(c.Context(), d, func(r spool.DumpRecord) error { return f.print(w, r) })
		})
		return errors.Join(err, w.Flush())
	}
	return c
}

func (f *dumpFlags) print(w io.Writer, r spool.DumpRecord) error {
	if f.lane != "" && r.Lane != f.lane {
		return nil
	}
	out := dumped{File: r.File, Offset: r.Offset, Size: r.Size, Segment: r.Segment, Type: r.Type, Status: string(r.Status), Lane: r.Lane, Seq: r.Seq,
		Maybe: r.Type == "DATA" && r.Flags&repeater.RecordMaybe != 0, ID: string(r.ID), What: r.What}
	if f.body && r.Status == spool.StatusLive {
		if m, err := repeater.DecodeRecord(r.Body); err != nil {
			out.What = err.Error()
		} else {
			out.Message = repeater.Show(m)
		}
	}
	if f.output == "json" {
		return printJSON(w, out)
	}
	return out.text(w)
}

func (d *dumped) text(w io.Writer) error {
	line := fmt.Sprintf("%s %10d %9d  %-10s %-7s", d.File, d.Offset, d.Size, d.Type, d.Status)
	if d.Lane != "" {
		line += fmt.Sprintf("  %s %d", clean(d.Lane), d.Seq)
	}
	if d.ID != "" {
		line += fmt.Sprintf("  id %q", cut(d.ID, 64))
	}
	if d.Maybe {
		line += "  possible duplicate"
	}
	if d.What != "" {
		line += "  " + clean(d.What)
	}
	if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil || d.Message == nil {
		return err
	}
	_, err := io.WriteString(w, "    ")
	return errors.Join(err, printJSON(w, d.Message))
}

// exported is a line of export.
type exported struct {
	Lane   string       `json:"lane"`
	Seq    uint64       `json:"seq"`
	Source string       `json:"source_id,omitempty"`
	Dead   *bridge.Dead `json:"dead_letter,omitempty"`
	repeater.Shown
	Record string `json:"record_base64,omitempty"` // the whole message in Posthouse's binary form
}

func exportCommand() *cobra.Command {
	var f journalFlags
	var whole bool
	c := &cobra.Command{
		Use: "export LANE", Short: "Print the messages of a lane, one JSON object for each", Args: cobra.ExactArgs(1),
		Long: `Prints every message of a lane that is still to be delivered, in order, one JSON object per line, headers and body
included. Nothing is taken out of the journal. The daemon must be stopped. What cannot be read is left out, and the
exit is 1. JSON shows header values as text: --record adds the whole message in Posthouse's own binary form.`,
		Example: "  posthouse spool export -c topology.yaml orders/berlin > orders.jsonl\n  posthouse spool export --dir /backup/posthouse orders/berlin --record",
	}
	f.locate(c)
	c.Flags().BoolVar(&whole, "record", false, "add the whole message in binary form")
	c.RunE = func(c *cobra.Command, args []string) error {
		j, err := f.find(c)
		if err != nil {
			return err
		}
		w := bufio.NewWriter(c.OutOrStdout())
		err = j.with(func(d *vfs.Dir) error { return j.export(c, d, w, args[0], whole) })
		return errors.Join(err, w.Flush())
	}
	return c
}

func (j *journal) export(c *cobra.Command, d *vfs.Dir, w io.Writer, lane string, whole bool) error {
	lost, err := j.lost(c, d, lane)
	if err != nil {
		return err
	}
	err = spool.Export(c.Context(), d, lane, func(it spool.Item) error {
		m, err := repeater.DecodeRecord(it.Body)
		if err != nil {
			lost++
			fmt.Fprintf(c.ErrOrStderr(), "posthouse: sequence %d: %v\n", it.Seq, err)
			return nil
		}
		out := exported{Lane: lane, Seq: it.Seq, Source: string(it.ID), Shown: *repeater.Show(m)}
		if out.Dead = repeater.DecodeDead(it.ID); out.Dead != nil {
			out.Source = ""
		}
		out.Maybe = out.Maybe || it.Flags&repeater.RecordMaybe != 0
		if whole {
			out.Record = base64.StdEncoding.EncodeToString(it.Body)
		}
		return printJSON(w, out)
	})
	if err == nil && lost > 0 {
		err = fmt.Errorf("%s of lane %s cannot be read and left out", messages(lost), lane)
	}
	return err
}

// lost counts the messages of a lane that are nowhere in the journal, and prints which. No such lane is an error.
func (j *journal) lost(c *cobra.Command, d *vfs.Dir, lane string) (n int64, err error) {
	lanes, _, rep, err := j.inspect(c, d)
	if err != nil {
		return 0, err
	}
	if !slices.ContainsFunc(lanes, func(l spool.LaneStats) bool { return l.Name == lane }) {
		return 0, noLane(lane, lanes)
	}
	for _, m := range rep.Missing {
		if m.Lane == lane {
			n += int64(m.Last - m.First + 1)
			fmt.Fprintln(c.ErrOrStderr(), "posthouse: missing:", missingText(m))
		}
	}
	return n, nil
}
