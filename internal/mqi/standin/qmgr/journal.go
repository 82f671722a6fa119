package qmgr

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A journal keeps persistent messages and definitions: a file of records, each with length and checksum before it. A record
// is written whole or, after a kill, not at all. Opening it writes what is still true into a new file.
type journal struct {
	file    *os.File
	buf     bytes.Buffer
	enc     *gob.Encoder
	written int64 // records appended; the manager's lock guards it and what is above

	sync   bool
	syncMu sync.Mutex
	synced int64 // records known to be on disk
}

// record is one change.
type record struct {
	Define   *Queue
	Sub      *subscription
	Unsub    string
	Puts     []stored
	Gets     []ref
	Backouts []ref
}

func (r *record) empty() bool { return len(r.Puts)+len(r.Gets)+len(r.Backouts) == 0 }

type stored struct {
	Queue   string
	Seq     uint64
	Expires time.Time
	Message Message
}

type ref struct {
	Queue string
	Seq   uint64
}

const journalName = "journal"

// replay calls apply for every whole record of the journal in dir.
func replay(dir string, apply func(record)) error {
	raw, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	dec := gob.NewDecoder(&frames{rest: raw})
	for {
		var r record
		if err := dec.Decode(&r); err != nil { // the end, or a record that a kill cut off
			return nil
		}
		apply(r)
	}
}

// frames reads the payloads of whole frames as one stream, up to the first that is not.
type frames struct{ rest, frame []byte }

func (f *frames) Read(p []byte) (int, error) {
	if len(f.frame) == 0 && !f.advance() {
		return 0, io.EOF
	}
	n := copy(p, f.frame)
	f.frame = f.frame[n:]
	return n, nil
}

func (f *frames) advance() bool {
	if len(f.rest) < 8 {
		return false
	}
	n, sum := binary.LittleEndian.Uint32(f.rest), binary.LittleEndian.Uint32(f.rest[4:])
	if uint64(n) > uint64(len(f.rest)-8) || crc32.ChecksumIEEE(f.rest[8:8+n]) != sum {
		return false
	}
	f.frame, f.rest = f.rest[8:8+n], f.rest[8+n:]
	return n > 0
}

// createJournal begins a new journal in dir with what is true now, which takes the place of the old one at once.
func createJournal(dir string, now []record, sync bool) (*journal, error) {
	path := filepath.Join(dir, journalName)
	f, err := os.Create(path + ".new")
	if err != nil {
		return nil, err
	}
	j := &journal{file: f, sync: sync}
	j.enc = gob.NewEncoder(&j.buf)
	for i := range now {
		if _, err := j.append(&now[i]); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return j, errors.Join(f.Sync(), os.Rename(path+".new", path))
}

// append writes r and returns its number, for wait.
func (j *journal) append(r *record) (int64, error) {
	j.buf.Reset()
	j.buf.Write(make([]byte, 8))
	if err := j.enc.Encode(r); err != nil {
		return 0, err
	}
	b := j.buf.Bytes()
	binary.LittleEndian.PutUint32(b, uint32(len(b)-8))
	binary.LittleEndian.PutUint32(b[4:], crc32.ChecksumIEEE(b[8:]))
	if _, err := j.file.Write(b); err != nil {
		return 0, err
	}
	j.written++
	return j.written, nil
}

// wait returns when record n is on disk. Those who wait at once share one sync; written reads the number of the last
// record under the manager's lock.
func (j *journal) wait(n int64, written func() int64) error {
	if !j.sync {
		return nil
	}
	j.syncMu.Lock()
	defer j.syncMu.Unlock()
	if j.synced >= n {
		return nil
	}
	upTo := written()
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.synced = upTo
	return nil
}

func (j *journal) Close() error { return j.file.Close() }
