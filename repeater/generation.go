package repeater

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Generations. Every file that was accepted has a number, and stays beside the spool: DIR/REPEATER/config/NUMBER-HASH-HOW.yaml.
// The highest number is that of what runs; a start with the same file keeps it. Without a spool they are in memory only, and
// count from 1 at every start. A file holds no secret (X001), but is readable by the daemon's user alone.

// keepGenerations is how many are kept.
const keepGenerations = 50

// How a generation came to run.
const (
	byStart    = "start"
	byReload   = "reload"
	byRollback = "rollback"
)

// A Generation is a file that was accepted.
type Generation struct {
	Number uint64    `json:"generation"`
	Hash   string    `json:"hash"`
	How    string    `json:"how"` // start, reload or rollback
	At     time.Time `json:"accepted_at"`
	text   []byte    // where there is no directory
}

// A history keeps generations. It is not safe for concurrent use.
type history struct {
	dir  string // "" = in memory
	list []Generation
}

// openHistory reads what dir holds; what is not a generation in it is left alone.
func openHistory(dir string) (*history, error) {
	h := &history{dir: dir}
	if dir == "" {
		return h, nil
	}
	es, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, fmt.Errorf("generations of the configuration: %w", err)
	}
	form := regexp.MustCompile(`^([0-9]{10})-([0-9a-f]{12})-(start|reload|rollback)\.yaml$`)
	for _, e := range es {
		m := form.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		n, _ := strconv.ParseUint(m[1], 10, 64) // ten digits
		g := Generation{Number: n, Hash: m[2], How: m[3]}
		if st, err := e.Info(); err == nil {
			g.At = st.ModTime()
		}
		h.list = append(h.list, g)
	}
	slices.SortFunc(h.list, func(a, b Generation) int { return cmp.Compare(a.Number, b.Number) })
	return h, nil
}

// last is the newest generation; its Number is 0 if there is none.
func (h *history) last() Generation {
	if len(h.list) == 0 {
		return Generation{}
	}
	return h.list[len(h.list)-1]
}

// add makes a generation of a file. When it cannot be kept on the disk it is one all the same.
func (h *history) add(hash, how string, text []byte, now time.Time) (Generation, error) {
	g := Generation{Number: h.last().Number + 1, Hash: hash, How: how, At: now}
	var err error
	if h.dir == "" {
		g.text = slices.Clone(text)
	} else if err = writeDurably(h.path(g), text); err != nil {
		g.text = slices.Clone(text)
		err = fmt.Errorf("keep generation %d of the configuration: %w", g.Number, err)
	}
	h.list = append(h.list, g)
	for len(h.list) > keepGenerations {
		if h.list[0].text == nil {
			err = errors.Join(err, os.Remove(h.path(h.list[0])))
		}
		h.list = slices.Delete(h.list, 0, 1)
	}
	return g, err
}

func (h *history) path(g Generation) string {
	return filepath.Join(h.dir, fmt.Sprintf("%010d-%s-%s.yaml", g.Number, g.Hash, g.How))
}

// read returns the text of a generation; ErrNoGeneration if there is none of that number.
func (h *history) read(n uint64) ([]byte, error) {
	i := slices.IndexFunc(h.list, func(g Generation) bool { return g.Number == n })
	if i < 0 {
		return nil, fmt.Errorf("%w: %d", ErrNoGeneration, n)
	}
	if t := h.list[i].text; t != nil {
		return t, nil
	}
	return os.ReadFile(h.path(h.list[i]))
}

// writeDurably makes a file that is there as a whole or not at all, also after a power cut.
func writeDurably(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LastGood returns the text of the file that was accepted last in the spool directory dir for a repeater, and its number.
func LastGood(dir, repeater string) (text []byte, number uint64, err error) {
	h, err := openHistory(filepath.Join(dir, cmp.Or(repeater, "posthouse"), generationsDir))
	if err != nil {
		return nil, 0, err
	}
	text, err = h.read(h.last().Number)
	return text, h.last().Number, err
}

// generationsDir is their directory within that of the journal.
const generationsDir = "config"
