package repeater

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// What a copied journal holds, the daemon of the original may have sent (C19). So it says so when it is sent, in this life
// and in those after it: which records these are stands beside the journal, in a file that is there before anything is
// sent. A file that says that a copy is being taken is there before the journal says that it is ours.

const (
	copyBegun  = "copied-begun"
	copyLanes  = "copied-lanes-" // and a number: the highest counts
	mostCopied = 64 << 20        // bytes of such a file
)

// copies are, by the number of a lane, the sequence behind the last record that came with a copy.
type copies map[uint32]uint64

// openSpool opens the journal, and returns what of it came with a copy.
func (r *Repeater) openSpool(ctx context.Context, o spool.Options) (*spool.Spool, *spool.RecoveryReport, copies, error) {
	dir, free, err := directory(o)
	if err != nil {
		return nil, nil, nil, err
	}
	defer free()
	if o.AcceptEpoch {
		if err := begin(dir); err != nil {
			return nil, nil, nil, err
		}
	}
	s, rep, err := spool.Open(ctx, o)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := copiesOf(dir, s)
	if err != nil {
		_ = s.Close() // the first error says what is wrong
		return nil, nil, nil, err
	}
	return s, rep, c, nil
}

// directory is the one of the journal.
func directory(o spool.Options) (vfs.FS, func(), error) {
	if o.FS != nil {
		return o.FS, func() {}, nil
	}
	d, err := vfs.OpenDir(o.Dir)
	if err != nil {
		return nil, nil, err
	}
	return d, func() { _ = d.Close() }, nil // nothing is lost by it: all is synced
}

// begin notes that a copy is being taken.
func begin(dir vfs.FS) error {
	f, err := dir.Create(copyBegun)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), dir.SyncDir())
}

// copiesOf reads what is known of copies, with the one that is being taken now.
func copiesOf(dir vfs.FS, s *spool.Spool) (copies, error) {
	list, err := dir.List()
	if err != nil {
		return nil, err
	}
	c, old, next, begun := copies{}, []string{}, 0, false
	for _, info := range list {
		n := 0
		switch {
		case info.Name == copyBegun:
			begun, old = true, append(old, info.Name)
		case strings.HasPrefix(info.Name, copyLanes):
			if _, err := fmt.Sscanf(info.Name, copyLanes+"%d", &n); err != nil {
				continue
			}
			next, old = max(next, n+1), append(old, info.Name)
			c.read(dir, info)
		}
	}
	if !begun {
		return c, nil
	}
	if err := c.add(s); err != nil {
		return nil, err
	}
	return c, c.write(dir, fmt.Sprint(copyLanes, next), old)
}

// read takes in one file. One that cannot be read was not whole when the power failed: then the copy is still being taken.
func (c copies) read(dir vfs.FS, info vfs.Info) {
	f, err := dir.Open(info.Name)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, min(info.Size, mostCopied))
	if n, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) || n < len(b) {
		return
	}
	var one copies
	if json.Unmarshal(b, &one) != nil {
		return
	}
	for lane, seq := range one {
		c[lane] = max(c[lane], seq)
	}
}

// add notes all that s holds.
func (c copies) add(s *spool.Spool) error {
	for _, st := range s.Lanes() {
		l, err := s.Lane(st.Name)
		if err != nil {
			return err
		}
		c[l.Number()] = max(c[l.Number()], st.Next)
	}
	return nil
}

// write makes c durable under a new name, then takes the old ones away.
func (c copies) write(dir vfs.FS, name string, old []string) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	f, err := dir.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := dir.SyncDir(); err != nil {
		return err
	}
	for _, o := range old {
		if err := dir.Remove(o); err != nil {
			return err
		}
	}
	return dir.SyncDir()
}

// isCopy notes that another daemon may have sent the records before end. To a target that goes by positions this one is
// another sender, so on no route it is certain that a second send is recognised.
func (b *store) isCopy(end uint64) {
	if end > 1 {
		b.copied, b.sent = end, max(b.sent, end-1)
	}
}
