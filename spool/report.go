package spool

import (
	"fmt"
	"time"
)

// A RecoveryReport says what Open or Verify found.
type RecoveryReport struct {
	Epoch    uint32
	Segments int       // that count
	Indexed  int       // of them, those whose records were not read, since their index is whole
	Records  uint64    // live ones
	Made     time.Time // wall time at which the newest segment was made; zero if there is none
	Clean    bool      // the journal was closed, or is new: no done mark is lost
	Scanned  int64     // bytes
	Torn     int64     // bytes of a write that was never confirmed, cut from the end of the last segment
	Damage   []Damage  // bytes that were on disk and have changed; Open looks only into what it scans, Verify into all
	Missing  []Missing // records that were confirmed, are not done, and are nowhere: lost
}

// Damage is a stretch of a segment file that cannot be read. The file is kept as it is until somebody moves it away.
type Damage struct {
	File    string
	Segment uint64 // its number; 0 if unknown
	Offset  int64  // byte in the file
	Length  int64  // bytes
	Lane    string // of the record hit, if its head is intact
	Seq     uint64 // in Lane; 0 if unknown
	What    string
}

func (d Damage) String() string {
	s := fmt.Sprintf("%s: %d bytes at %d: %s", d.File, d.Length, d.Offset, d.What)
	if d.Seq != 0 {
		s += fmt.Sprintf(" (lane %q, sequence %d)", d.Lane, d.Seq)
	}
	return s
}

// Missing is a run of sequences of a lane that is lost, both ends included.
type Missing struct {
	Lane        string
	First, Last uint64
}
