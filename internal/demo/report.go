package demo

import (
	"fmt"
	"io"
)

// A Report is what was measured. Nothing in it is written in advance.
type Report struct {
	Sent        int      `json:"sent"`      // confirmed by the first site
	Delivered   int      `json:"delivered"` // of these, different ones that arrived at the second
	Lost        int      `json:"lost"`
	Duplicated  int      `json:"duplicated"`             // arrivals beyond the first
	Flagged     int      `json:"duplicated_flagged"`     // of these, marked by Posthouse as possible duplicates
	Redelivered int      `json:"duplicated_redelivered"` // of these, marked as given out before by their source
	OutOfOrder  int      `json:"out_of_order"`           // first arrivals whose number is below one that came before
	Corrupted   int      `json:"corrupted"`              // arrivals with a wrong checksum, or of what was never sent
	Seconds     float64  `json:"elapsed_seconds"`        // first send to last arrival
	Rate        float64  `json:"delivered_per_second"`
	Outages     []Outage `json:"outages"`
	Kill        *Kill    `json:"kill,omitempty"`
	Left        int      `json:"spooled_messages_at_end"`
	Dir         string   `json:"dir,omitempty"` // with Options.Keep
}

// An Outage is a time without a link to the second site, and what came of it.
type Outage struct {
	Seconds      float64 `json:"outage_seconds"`
	Spooled      int     `json:"spooled_messages"`       // the most that were spooled
	SpooledBytes int64   `json:"spooled_bytes"`          // the same, of them
	Oldest       float64 `json:"oldest_message_seconds"` // the greatest age of a spooled message
	Drained      int     `json:"drained_messages"`       // arrivals until pass-through
	DrainSeconds float64 `json:"drain_seconds"`          // from the first of them until pass-through
	DrainRate    float64 `json:"drained_per_second"`
}

// A Kill is one SIGKILL of the repeater and the start that followed.
type Kill struct {
	Spooled  int      `json:"spooled_messages"` // in its journal, by the last status before
	Answers  float64  `json:"restart_seconds"`  // from the start of the next process until it answers
	Delivers float64  `json:"delivery_seconds"` // the same, until its first message arrives at the second site
	Journal  recovery `json:"recovery"`
}

// OK reports whether everything that was sent arrived whole. Duplicates do not count against it.
func (r Report) OK() bool { return r.Lost == 0 && r.Corrupted == 0 && r.Sent > 0 }

// Text writes r as people read it.
func (r Report) Text(w io.Writer) {
	for _, row := range []struct{ name, value string }{
		{"sent", thousands(r.Sent)}, {"delivered", thousands(r.Delivered)}, {"lost", thousands(r.Lost)},
		{"corrupted", thousands(r.Corrupted)}, {"duplicated", r.duplicates()}, {"out of order", thousands(r.OutOfOrder)},
		{"time", fmt.Sprintf("%.1f s, %.0f messages/s on average", r.Seconds, r.Rate)},
		{"left in spool", thousands(r.Left)},
	} {
		fmt.Fprintf(w, "%-14s %s\n", row.name, row.value)
	}
	for _, o := range r.Outages {
		fmt.Fprintf(w, "%-14s %s\n", "outage", o)
	}
	if r.Kill != nil {
		fmt.Fprintf(w, "%-14s %s\n", "kill", r.Kill)
	}
}

func (r Report) duplicates() string {
	s := thousands(r.Duplicated)
	if r.Duplicated > 0 {
		s += fmt.Sprintf("; marked as possible duplicates %s, as given out before by their source %s", thousands(r.Flagged), thousands(r.Redelivered))
	}
	if r.Duplicated > 0 && r.Kill != nil {
		s += " (at least once: expected after a kill)"
	}
	return s
}

func (o Outage) String() string {
	s := fmt.Sprintf("%.1f s; at most %s messages (%s) spooled, the oldest for %.1f s",
		o.Seconds, thousands(o.Spooled), size(o.SpooledBytes), o.Oldest)
	if o.Drained > 0 {
		s += fmt.Sprintf("; then %.0f messages/s for %.1f s", o.DrainRate, o.DrainSeconds)
	}
	return s
}

func (k *Kill) String() string {
	return fmt.Sprintf("%s messages spooled; started again, it answered after %.2f s and delivered after %.2f s; journal: %s",
		thousands(k.Spooled), k.Answers, k.Delivers, k.Journal)
}

func (r recovery) String() string {
	s := fmt.Sprintf("%s messages in %s, read in %.0f ms, torn end %s", thousands(r.Messages), size(r.ScannedBytes),
		r.TookSeconds*1000, size(r.TornBytes))
	for _, text := range r.Damage {
		s += "; damaged: " + text
	}
	for _, text := range r.Missing {
		s += "; missing: " + text
	}
	return s
}
