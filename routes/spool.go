package routes

import "time"

// Spool is the journal on disk, one for all routes of a repeater.
type Spool struct {
	Dir         string // each repeater uses Dir/REPEATER
	MaxSize     int64  // bytes on disk, reserve included; 0 = only the disk bounds it
	WhenFull    WhenFull
	Sync        Sync
	SegmentSize int64 // bytes of one file
}

// Sync is when what is spooled reaches the disk. The zero value syncs at once.
type Sync struct {
	Never bool          // left to the operating system: a power cut loses messages
	Every time.Duration // wait this long, so that more messages share one sync
}

// RouteSpool is what a route does with the spool.
type RouteSpool struct {
	Mode      SpoolMode
	MaxSize   int64         // bytes of each lane; 0 = no limit of its own
	MaxAge    time.Duration // give up what has been spooled for longer; 0 = never
	WhenFull  WhenFull
	SlowAfter time.Duration // spool when the target has kept the source at its prefetch limit for this long
}

// SpoolMode says when a route spools.
type SpoolMode string

// The modes.
const (
	SpoolAuto   SpoolMode = "auto"   // while the target is away or too slow
	SpoolAlways SpoolMode = "always" // every message, before it is sent
	SpoolNever  SpoolMode = "never"  // messages wait at their source
)

// WhenFull is what is done when there is no room left.
type WhenFull string

// What can be done.
const (
	FullPause  WhenFull = "pause"  // stop reading the source until there is room
	FullReject WhenFull = "reject" // hand messages back to a source that can put them aside
)
