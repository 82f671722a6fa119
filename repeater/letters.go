package repeater

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
)

// What the journal holds, as operators look at it while the lanes go on.

// Bounds of one look.
const (
	mostLetters  = 1000   // messages of a page
	fewLetters   = 50     // if nobody says how many
	mostExamined = 10_000 // records that are read for a page
)

// Why nothing is shown or done.
var (
	ErrNoSpool = errors.New("the file has no spool")
	ErrFilter  = errors.New("the filter cannot be used")
)

// A FilterError is an ErrFilter with the reasons.
type FilterError struct{ Findings routes.Findings }

func (e *FilterError) Error() string {
	if len(e.Findings) == 0 {
		return ErrFilter.Error()
	}
	return ErrFilter.Error() + ": " + e.Findings[0].Message
}

func (e *FilterError) Unwrap() error { return ErrFilter }

// A Selection says which messages of a lane are meant: those for which all holds that is not empty.
type Selection struct {
	Seqs   []uint64 `json:"ids,omitempty"`    // sequences in the lane
	Reason string   `json:"reason,omitempty"` // of dead letters: why they are
	From   string   `json:"lane,omitempty"`   // of dead letters: the lane, ROUTE/TARGET, that they come from
	Filter string   `json:"filter,omitempty"` // an expression over msg, as that of a route
	Limit  int      `json:"limit,omitempty"`  // the first so many; 0 = all
}

// Empty reports whether it means every message.
func (s *Selection) Empty() bool {
	return len(s.Seqs) == 0 && s.Reason == "" && s.From == "" && s.Filter == ""
}

// A Query asks for a page of messages.
type Query struct {
	Lane      string // ROUTE/TARGET; dead letters are in ROUTE/dead-letter
	Selection        // of which Limit bounds the page; 0 = 50, and no more than 1000
	After     uint64 // the sequence before the first that is looked at
	Whole     bool   // with bodies, and with the values of headers that are secrets by their name
}

// A Page is the answer to a Query.
type Page struct {
	Lane     string   `json:"lane"`
	Letters  []Letter `json:"messages"`
	Next     uint64   `json:"next,omitempty"` // After of the next page; 0: there is none
	Examined int      `json:"examined"`       // messages that were looked at
}

// A Letter is a message as the journal keeps it.
type Letter struct {
	Lane    string       `json:"lane"`
	Seq     uint64       `json:"seq"`
	Source  string       `json:"source_id,omitempty"` // the source's own name for it
	Maybe   bool         `json:"possible_duplicate,omitempty"`
	Bytes   int          `json:"body_bytes"`
	Dead    *bridge.Dead `json:"dead_letter,omitempty"`
	Message *Shown       `json:"message,omitempty"` // null: it cannot be read
	Error   string       `json:"error,omitempty"`   // why
}

// Browse shows messages of a lane that are not delivered, in their order. Nothing is taken out. Its errors are ErrNoSpool,
// ErrNoLane, *FilterError, and those of the disk.
func (r *Repeater) Browse(ctx context.Context, q Query) (Page, error) {
	page := Page{Lane: q.Lane, Letters: []Letter{}}
	j, err := r.laneOf(q.Lane)
	if err != nil {
		return page, err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = fewLetters
	}
	limit = min(limit, mostLetters)
	q.Limit = 0
	s, err := newScan(j, q.Selection, r.opts.Name)
	if err != nil {
		return page, err
	}
	last := q.After
	err = s.each(ctx, q.After+1, func(f record) (more bool) {
		if len(page.Letters) == limit || page.Examined == mostExamined {
			page.Next = last
			return false
		}
		page.Examined++
		if last = f.Seq; f.matches {
			page.Letters = append(page.Letters, f.letter(q.Lane, q.Whole))
		}
		return true
	})
	return page, err
}

// Letter shows one message of a lane. Its errors are those of Browse, and ErrNoLetter.
func (r *Repeater) Letter(ctx context.Context, lane string, seq uint64, whole bool) (Letter, error) {
	p, err := r.Browse(ctx, Query{Lane: lane, Selection: Selection{Seqs: []uint64{seq}}, After: seq - min(seq, 1), Whole: whole})
	if err == nil && len(p.Letters) == 0 {
		err = fmt.Errorf("%s: %w: %d", lane, ErrNoLetter, seq)
	}
	if err != nil {
		return Letter{}, err
	}
	return p.Letters[0], nil
}

// ErrNoLetter: the lane has no message of that sequence, or has it no more.
var ErrNoLetter = errors.New("no message of that sequence waits here")

// laneOf is a lane of the journal.
func (r *Repeater) laneOf(name string) (*spool.Lane, error) {
	s := r.journal.open()
	switch {
	case r.journal == nil:
		return nil, ErrNoSpool
	case s == nil:
		return nil, ErrNotYet
	case !slices.ContainsFunc(s.Lanes(), func(l spool.LaneStats) bool { return l.Name == name }): // Lane would make it
		return nil, fmt.Errorf("%q: %w", name, ErrNoLane)
	}
	return s.Lane(name)
}

// A scan reads the records of a lane and says which are meant.
type scan struct {
	j      *spool.Lane
	want   Selection
	seqs   map[uint64]bool
	filter *routes.Filter
}

func newScan(j *spool.Lane, want Selection, repeater string) (*scan, error) {
	s := &scan{j: j, want: want, seqs: make(map[uint64]bool, len(want.Seqs))}
	for _, seq := range want.Seqs {
		s.seqs[seq] = true
	}
	if want.Filter != "" {
		var fs routes.Findings
		if s.filter, fs = routes.CompileFilter(want.Filter, repeater); s.filter == nil {
			return nil, &FilterError{fs}
		}
	}
	return s, nil
}

// A record is one that was read, or that cannot be.
type record struct {
	spool.Item
	m       *adapters.Message // nil: it cannot be read
	dead    *bridge.Dead
	err     error
	matches bool
}

// each calls f for every record from sequence from on, until it returns false.
func (s *scan) each(ctx context.Context, from uint64, f func(record) (more bool)) error {
	records := s.j.Reader(from)
	for ctx.Err() == nil {
		rec, ready, err := records.TryNext()
		var c *spool.CorruptError
		switch {
		case ready != nil:
			return nil
		case errors.As(err, &c):
			rec.Seq = c.Seq
		case err != nil:
			return fmt.Errorf("lane %s: %w", s.j.Name(), err)
		}
		if rec.Seq == 0 { // damage of which nobody knows whose it is
			continue
		}
		if !f(s.judge(rec, err)) {
			return nil
		}
	}
	return ctx.Err()
}

// judge decodes a record and says whether it is meant.
func (s *scan) judge(rec spool.Item, err error) record {
	f := record{Item: rec, err: err}
	if err == nil {
		f.dead = DecodeDead(rec.ID)
		f.m, f.err = DecodeRecord(rec.Body)
	}
	f.matches = s.means(&f)
	return f
}

func (s *scan) means(f *record) bool {
	w := &s.want
	switch {
	case len(w.Seqs) > 0 && !s.seqs[f.Seq],
		w.Reason != "" && (f.dead == nil || f.dead.Reason != w.Reason),
		w.From != "" && (f.dead == nil || f.dead.Lane != w.From):
		return false
	case s.filter == nil:
		return true
	case f.m == nil:
		return false
	}
	route, _, _ := strings.Cut(s.j.Name(), "/")
	ok, err := s.filter.Match(f.m, route)
	return ok && err == nil // on a message for which it has no answer it says no
}

// letter shows f.
func (f *record) letter(lane string, whole bool) Letter {
	l := Letter{Lane: lane, Seq: f.Seq, Maybe: f.Flags&RecordMaybe != 0, Dead: f.dead}
	if f.dead == nil {
		l.Source = string(f.ID)
	}
	if f.m == nil {
		l.Error = f.err.Error()
		return l
	}
	l.Bytes, l.Message = len(f.m.Body.Data), Show(f.m)
	if !whole {
		l.Message.Veil()
	}
	return l
}

// Checked is what a look at all records of a lane has found.
type Checked struct {
	Lane     string   `json:"lane"`
	Messages int      `json:"messages"` // that are there and can be read
	Damaged  []string `json:"damaged"`  // those that cannot
}

// Verify reads every record of the lanes, all of the journal for none, and checks it. Its errors are those of Browse.
func (r *Repeater) Verify(ctx context.Context, lanes ...string) ([]Checked, error) {
	if len(lanes) == 0 {
		for _, st := range r.stored() {
			lanes = append(lanes, st.Name)
		}
	}
	out := []Checked{}
	for _, name := range lanes {
		j, err := r.laneOf(name)
		if err != nil {
			return out, err
		}
		c := Checked{Lane: name, Damaged: []string{}}
		s, _ := newScan(j, Selection{}, "") // it has no filter
		err = s.each(ctx, 1, func(f record) bool {
			if f.err != nil {
				c.Damaged = append(c.Damaged, fmt.Sprintf("sequence %d: %v", f.Seq, f.err))
			} else {
				c.Messages++
			}
			return true
		})
		if err != nil {
			return out, err
		}
		out = append(out, c)
	}
	return out, nil
}

// stored are the lanes of the journal.
func (r *Repeater) stored() []spool.LaneStats {
	if s := r.journal.open(); s != nil {
		return s.Lanes()
	}
	return nil
}
