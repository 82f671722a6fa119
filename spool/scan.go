package spool

import (
	"errors"
	"fmt"
	"io"
)

// A window reads a segment front to back in large pieces.
type window struct {
	file io.ReaderAt
	name string
	size int64 // no byte behind it is looked at
	step int64 // bytes to read at once; 0 means windowSize
	at   int64 // place of buf[0]
	buf  []byte
}

const windowSize = 1 << 20

// bytes returns n bytes at place, fewer at the end. They are valid until the next call. An error of the disk is an error
// and never taken for damage.
func (w *window) bytes(place int64, n int64) ([]byte, error) {
	n = min(n, w.size-place)
	if n <= 0 {
		return nil, nil
	}
	if place < w.at || place+n > w.at+int64(len(w.buf)) {
		if err := w.load(place, n); err != nil {
			return nil, err
		}
	}
	got := w.buf[place-w.at:]
	return got[:min(n, int64(len(got)))], nil
}

func (w *window) load(place, n int64) error {
	step := w.step
	if step == 0 {
		step = windowSize
	}
	want := min(max(n, step), w.size-place)
	if int64(cap(w.buf)) < want {
		w.buf = make([]byte, want)
	}
	got, err := w.file.ReadAt(w.buf[:want], place)
	w.at, w.buf = place, w.buf[:got]
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s at %d: %w", w.name, place, err)
	}
	return nil
}

// A scanner walks the records of one segment.
type scanner struct {
	win   *window
	codec codec
}

// record reads the record at place. headGood is set when its length can be trusted, good when all of it can.
func (s *scanner) record(place int64) (h head, payload []byte, headGood, good bool, err error) {
	b, err := s.win.bytes(place, headLen)
	if err != nil {
		return
	}
	if h, headGood = s.codec.head(place, b); !headGood || place+h.size() > s.win.size {
		return h, nil, false, false, nil
	}
	body, err := s.win.bytes(place+headLen, h.size()-headLen)
	if err != nil {
		return
	}
	payload, good = s.codec.payload(h, body)
	return h, payload, true, good, nil
}

// seek returns the place of the first good record from place on, or the end of the window.
func (s *scanner) seek(place int64) (int64, error) {
	for ; place+headLen <= s.win.size; place += align {
		if _, _, _, good, err := s.record(place); good || err != nil {
			return place, err
		}
	}
	return s.win.size, nil
}

// promised finds what the segment itself says about how far it was on disk: the highest promise of any good record, and
// where the last good record ends.
func (s *scanner) promised() (synced, last int64, err error) {
	synced, last = start, start
	for place := int64(start); place < s.win.size; {
		h, _, _, good, err := s.record(place)
		if err != nil {
			return 0, 0, err
		}
		if !good {
			if place, err = s.seek(place + align); err != nil {
				return 0, 0, err
			}
			continue
		}
		place += h.size()
		synced, last = max(synced, int64(h.synced)), place
		if h.kind == kindClosed {
			break // nothing was written behind it
		}
	}
	return min(synced, max(s.win.size, start)), last, nil
}

// A hole is a stretch of a segment that was on disk and cannot be read.
type hole struct {
	from, to int64
	head     *head // of the record, if its head is intact
}

// walk calls visit for each good record below end, and hurt for each hole between them.
func (s *scanner) walk(from, end int64, visit func(place int64, h head, payload []byte) error, hurt func(hole)) error {
	for place := from; place < end; {
		h, payload, headGood, good, err := s.record(place)
		if err != nil {
			return err
		}
		if good {
			if err := visit(place, h, payload); err != nil {
				return err
			}
			place += h.size()
			continue
		}
		gap := hole{from: place, to: place + align}
		if headGood {
			hit := h // h itself must not move to the heap for every good record
			gap.to, gap.head = place+h.size(), &hit
		} else if gap.to, err = s.seek(gap.to); err != nil {
			return err
		}
		if gap.to = min(gap.to, end); gap.to >= s.win.size {
			gap.to = end // the file was cut short
		}
		hurt(gap)
		place = gap.to
	}
	return nil
}

// tail calls visit for each good record from place on up to the first that is not, and returns where that is.
func (s *scanner) tail(place int64, visit func(place int64, h head, payload []byte) error) (int64, error) {
	for {
		h, payload, _, good, err := s.record(place)
		if err != nil || !good {
			return place, err
		}
		if err := visit(place, h, payload); err != nil {
			return place, err
		}
		place += h.size()
	}
}
