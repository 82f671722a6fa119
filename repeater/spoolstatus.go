package repeater

import "time"

// SpoolStatus is the journal of the repeater.
type SpoolStatus struct {
	Dir      string     `json:"dir"`
	State    string     `json:"state"` // opening, ok, full, failed, closed
	Error    string     `json:"error,omitempty"`
	Bytes    int64      `json:"bytes"`           // of all its files
	Limit    int64      `json:"limit_bytes"`     // of Bytes; 0 = none but the disk's
	DiskFree int64      `json:"disk_free_bytes"` // -1 = not known
	Segments int        `json:"segments"`
	Free     int        `json:"free_segments"`
	Damaged  int        `json:"damaged_segments"` // kept as evidence until they are acknowledged
	Messages uint64     `json:"messages"`         // of all lanes, without those that are delivered and wait for their settle
	Oldest   *time.Time `json:"oldest_message_at,omitempty"`
	Orphans  []Orphan   `json:"orphans"`
	Recovery *Recovery  `json:"recovery,omitempty"` // what the last start found

	Busy float64 `json:"writer_busy_seconds,omitempty"` // how long the writer has been at the batch in hand
}

// An Orphan is a lane of the journal that is not in the file. It is kept until it is purged by name.
type Orphan struct {
	Name     string `json:"name"` // ROUTE/TARGET
	Messages uint64 `json:"messages"`
	Bytes    int64  `json:"bytes"`
}

// Recovery says what the journal found when it was opened.
type Recovery struct {
	Clean   bool     `json:"clean"` // it had been closed
	Records uint64   `json:"records"`
	Scanned int64    `json:"scanned_bytes"`
	Torn    int64    `json:"torn_bytes"` // of a write that was never confirmed
	Damage  []string `json:"damage"`
	Missing []string `json:"missing"` // LANE FIRST-LAST
	Seconds float64  `json:"took_seconds"`
}

// findOldest fills in the age of the journal, which is that of its oldest lane.
func (s *Status) findOldest() {
	for _, r := range s.Routes {
		for _, l := range r.Lanes {
			if s.Spool != nil && l.Oldest != nil && (s.Spool.Oldest == nil || l.Oldest.Before(*s.Spool.Oldest)) {
				s.Spool.Oldest = l.Oldest
			}
		}
	}
}

// spoolFamilies are what is read from the journal at scrape time.
type spoolFamilies struct {
	messages, messageBytes, oldest, limit              *family
	bytes, limitAll, diskFree, orphans, damaged, state *family
}

func newSpoolFamilies() spoolFamilies {
	return spoolFamilies{
		messages:     gaugeFamily("spool_messages", "Messages in the spool, without dead letters.", "route", "target"),
		messageBytes: gaugeFamily("spool_message_bytes", "Bytes of the messages in the spool.", "route", "target"),
		oldest:       gaugeFamily("spool_oldest_message_timestamp_seconds", "When the oldest message in the spool was received; 0 if there is none.", "route", "target"),
		limit:        gaugeFamily("spool_lane_limit_bytes", "Bytes that the lane may have in the spool; 0 = no bound.", "route", "target"),
		bytes:        gaugeFamily("spool_bytes", "Size of all files of the spool."),
		limitAll:     gaugeFamily("spool_limit_bytes", "Size that the files of the spool may have; 0 = no bound."),
		diskFree:     gaugeFamily("spool_disk_free_bytes", "Free bytes of the disk below the spool."),
		orphans:      gaugeFamily("spool_orphans", "Lanes in the spool that are not in the file."),
		damaged:      gaugeFamily("spool_damaged_segments", "Segments kept as evidence of damage until they are acknowledged."),
		state:        gaugeFamily("spool_ok", "1 while the spool takes messages."),
	}
}

func (g *spoolFamilies) list() []*family {
	return []*family{g.messages, g.messageBytes, g.oldest, g.limit, g.bytes, g.limitAll, g.diskFree, g.orphans, g.damaged, g.state}
}

func (g *spoolFamilies) journal(sample emit, s *SpoolStatus) {
	if s == nil {
		return
	}
	sample(g.bytes, float64(s.Bytes))
	sample(g.limitAll, float64(s.Limit))
	sample(g.orphans, float64(len(s.Orphans)))
	sample(g.damaged, float64(s.Damaged))
	sample(g.state, is(s.State == spoolOK))
	if s.DiskFree >= 0 {
		sample(g.diskFree, float64(s.DiskFree))
	}
}

func (g *spoolFamilies) lane(sample emit, l LaneStatus, route, target string) {
	sample(g.messages, float64(l.Spooled), route, target)
	sample(g.messageBytes, float64(l.SpooledBytes), route, target)
	sample(g.limit, float64(l.Limit), route, target)
	var at float64
	if l.Oldest != nil {
		at = float64(l.Oldest.UnixMilli()) / 1000
	}
	sample(g.oldest, at, route, target)
}
