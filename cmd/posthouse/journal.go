package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// journalFlags say which journal a command is about.
type journalFlags struct {
	file, repeater, dir string
	output              string
}

// register adds -c, --repeater, --dir and -o.
func (f *journalFlags) register(c *cobra.Command) {
	f.locate(c)
	outputFlag(c, &f.output)
}

// locate adds those without -o.
func (f *journalFlags) locate(c *cobra.Command) {
	c.Flags().StringVarP(&f.file, "config", "c", os.Getenv("POSTHOUSE_CONFIG"), "the topology file whose spool it is (default $POSTHOUSE_CONFIG)")
	c.Flags().StringVar(&f.repeater, "repeater", os.Getenv("POSTHOUSE_REPEATER"), "name of the daemon: its journal is DIR/REPEATER (default $POSTHOUSE_REPEATER, then the only one of the file)")
	c.Flags().StringVar(&f.dir, "dir", "", "the directory of a journal, in place of that of a file")
	c.MarkFlagsMutuallyExclusive("dir", "repeater")
	_ = c.MarkFlagDirname("dir") // fails for an unknown flag only
}

// A journal is the directory of one, and the file that it belongs to, if that is known.
type journal struct {
	dir      string
	repeater string        // "" if only the directory is known
	table    *routes.Table // nil if only the directory is known
}

// find looks up the journal. Nothing is opened.
func (f *journalFlags) find(c *cobra.Command) (*journal, error) {
	if f.dir != "" {
		if c.Flags().Changed("config") {
			return nil, fail(exitConfig, errors.New("either -c FILE or --dir DIR"))
		}
		return &journal{dir: f.dir}, nil
	}
	if f.file == "" {
		return nil, fail(exitConfig, errors.New("no journal: use -c FILE, set POSTHOUSE_CONFIG, or use --dir DIR"))
	}
	t, err := quietly(f.file, c.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	if t, err = part(t, f.repeater); err != nil {
		return nil, err
	}
	if t.Spool == nil {
		return nil, advise(exitConfig, "P005", f.file+" has no spool section", "add spool: { dir: PATH }, or name the directory of a journal with --dir DIR", nil)
	}
	return &journal{filepath.Join(t.Spool.Dir, t.Repeater), t.Repeater, t}, nil
}

// open opens the directory, which must hold a journal. The error is an exit 3 that says what to do.
func (j *journal) open() (*vfs.Dir, error) {
	files, err := os.ReadDir(j.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, j.why(err)
	}
	if !slices.ContainsFunc(files, segmentFile) {
		return nil, advise(exitEnvironment, codeNoJournal, "there is no journal in "+j.dir, j.where(files), err)
	}
	return j.openDir()
}

// openDir opens the directory as it is, and makes it if need be.
func (j *journal) openDir() (*vfs.Dir, error) {
	d, err := vfs.OpenDir(j.dir)
	if err == nil {
		return d, nil
	}
	if e := spoolError(err, j.dir); e != nil {
		return nil, e
	}
	return nil, fail(exitEnvironment, err) // others may write to it, say: it tells what to do
}

func segmentFile(e fs.DirEntry) bool { return !e.IsDir() && filepath.Ext(e.Name()) == ".seg" }

// where guesses where the journal is instead.
func (j *journal) where(files []fs.DirEntry) string {
	for _, e := range files {
		below, err := os.ReadDir(filepath.Join(j.dir, e.Name()))
		if err == nil && slices.ContainsFunc(below, segmentFile) {
			return "there is one in " + filepath.Join(j.dir, e.Name())
		}
	}
	if j.table == nil {
		return "give the directory of one repeater: DIR/REPEATER of spool.dir"
	}
	return "a daemon makes it when it first runs; one of another name needs --repeater NAME"
}

// why turns an error about the journal into one that says what to do.
func (j *journal) why(err error) error {
	var told *exitError
	if err == nil || errors.As(err, &told) {
		return err
	}
	if e := spoolError(err, j.dir); e != nil {
		return e
	}
	return fail(exitRuntime, err)
}

// with opens the directory, calls do and closes it.
func (j *journal) with(do func(d *vfs.Dir) error) error {
	d, err := j.open()
	if err != nil {
		return err
	}
	return j.why(errors.Join(do(d), d.Close()))
}

// owned lists the lanes that the routes of the file have, those of disabled ones too; nil if there is no file.
func (j *journal) owned() map[string]bool {
	if j.table == nil {
		return nil
	}
	out := map[string]bool{}
	for _, r := range j.table.Routes {
		for _, t := range r.Lanes() {
			out[r.Name+"/"+t.Name] = true
			if r.RenamedFrom != "" {
				out[r.RenamedFrom+"/"+t.Name] = true
			}
		}
	}
	return out
}

// noLane says that the journal has no such lane, and which it has.
func noLane(name string, lanes []spool.LaneStats) error {
	var names []string
	for _, l := range lanes[:min(len(lanes), 10)] {
		names = append(names, l.Name)
	}
	if len(lanes) > 10 {
		names = append(names, "...")
	}
	help := "the journal has no lanes"
	if len(names) > 0 {
		help = "lanes of the journal: " + clean(strings.Join(names, ", "))
	}
	return advise(exitConfig, codeNoRoute, fmt.Sprintf("the journal has no lane %q", name), help, nil)
}

// progress shows how much has been read of a journal, on a terminal only.
type progress struct {
	*vfs.Dir
	w     io.Writer
	what  string
	total int64
	done  int64
	shown int64 // percent
}

// newProgress wraps d where w is a terminal.
func newProgress(d *vfs.Dir, what string, w io.Writer) (*progress, error) {
	p := &progress{Dir: d, w: w, what: what, shown: -1}
	list, err := d.List()
	for _, f := range list {
		p.total += f.Size
	}
	return p, err
}

// Open counts what is read of the file.
func (p *progress) Open(name string) (vfs.File, error) {
	f, err := p.Dir.Open(name)
	if err != nil {
		return nil, err
	}
	return counted{f, p}, nil
}

type counted struct {
	vfs.File
	p *progress
}

// ReadAt shows the progress after each percent. A journal is read by one goroutine here.
func (c counted) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.File.ReadAt(b, off)
	p := c.p
	p.done += int64(n)
	if now := min(100*p.done/max(p.total, 1), 100); now > p.shown {
		p.shown = now
		fmt.Fprintf(p.w, "\r%s: %d%% of %s", p.what, now, bytesText(p.total))
	}
	return n, err
}

// end takes the line away.
func (p *progress) end() {
	if p.shown >= 0 {
		fmt.Fprint(p.w, "\r"+strings.Repeat(" ", screenWidth-1)+"\r")
	}
}
