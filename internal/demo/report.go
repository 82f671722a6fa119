package demo

import (
	"fmt"
	"io"
	"slices"
)

// A Report is what was measured. Nothing in it is written in advance.
type Report struct {
	Sent     int        `json:"sent"` // confirmed by the site where they go in
	Sites    []Arrivals `json:"sites"`
	Requests Requests   `json:"requests"`
	Seconds  float64    `json:"elapsed_seconds"`      // first send to last arrival
	Rate     float64    `json:"delivered_per_second"` // that arrived everywhere
	Outages  []Outage   `json:"outages"`
	Kill     *Kill      `json:"kill,omitempty"`
	Left     int        `json:"spooled_messages_at_end"`
	Dir      string     `json:"dir,omitempty"` // with Options.Keep
}

// Arrivals are what came of the messages at one site.
type Arrivals struct {
	Site        string `json:"site"`
	Delivered   int    `json:"delivered"` // different ones
	Lost        int    `json:"lost"`
	Duplicated  int    `json:"duplicated"`             // arrivals beyond the first
	Flagged     int    `json:"duplicated_flagged"`     // of these, marked by Posthouse as possible duplicates
	Redelivered int    `json:"duplicated_redelivered"` // of these, marked as given out before by their source
	OutOfOrder  int    `json:"out_of_order"`           // first arrivals whose number is below one that came before
	Corrupted   int    `json:"corrupted"`              // arrivals with a wrong checksum, or of what was never sent
}

// Requests are what came of the requests over the bridge.
type Requests struct {
	Asked      int     `json:"asked"`
	Answered   int     `json:"answered"` // different ones whose reply came back
	Unanswered int     `json:"unanswered"`
	Repeated   int     `json:"repeated"` // replies beyond the first
	Wrong      int     `json:"wrong"`    // replies that fit no request
	P50        float64 `json:"round_trip_p50_seconds"`
	P99        float64 `json:"round_trip_p99_seconds"`
}

// An Outage is a time without a link to madrid, and what came of it.
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
	Delivers float64  `json:"delivery_seconds"` // the same, until its first message arrives at madrid
	Journal  recovery `json:"recovery"`
}

// OK reports whether everything that was sent arrived whole, and every request was answered. Duplicates do not count
// against it.
func (r Report) OK() bool {
	for _, a := range r.Sites {
		if a.Lost > 0 || a.Corrupted > 0 {
			return false
		}
	}
	return r.Sent > 0 && len(r.Sites) > 0 && r.Requests.Unanswered == 0 && r.Requests.Wrong == 0
}

// Delivered is how many messages arrived at every site, as far as their numbers tell.
func (r Report) Delivered() int {
	n := r.Sent
	for _, a := range r.Sites {
		n = min(n, a.Delivered)
	}
	return n
}

// Text writes r as people read it.
func (r Report) Text(w io.Writer) {
	fmt.Fprintf(w, "%-14s %s at berlin\n", "sent", thousands(r.Sent))
	for _, a := range r.Sites {
		fmt.Fprintf(w, "%-14s %s\n", "at "+a.Site, a)
	}
	fmt.Fprintf(w, "%-14s %s\n", "requests", r.Requests)
	fmt.Fprintf(w, "%-14s %.1f s, %.0f messages/s on average\n", "time", r.Seconds, r.Rate)
	fmt.Fprintf(w, "%-14s %s\n", "left in spool", thousands(r.Left))
	for _, o := range r.Outages {
		fmt.Fprintf(w, "%-14s %s\n", "outage", o)
	}
	if r.Kill != nil {
		fmt.Fprintf(w, "%-14s %s\n", "kill", r.Kill)
	}
	if r.duplicates() && r.Kill != nil {
		fmt.Fprintf(w, "%-14s %s\n", "duplicates", "at least once: expected after a kill")
	}
}

func (r Report) duplicates() bool {
	return slices.ContainsFunc(r.Sites, func(a Arrivals) bool { return a.Duplicated > 0 }) || r.Requests.Repeated > 0
}

func (a Arrivals) String() string {
	s := fmt.Sprintf("delivered %s, lost %s, corrupted %s, out of order %s, duplicated %s", thousands(a.Delivered), thousands(a.Lost),
		thousands(a.Corrupted), thousands(a.OutOfOrder), thousands(a.Duplicated))
	if a.Duplicated > 0 {
		s += fmt.Sprintf(" (marked as possible duplicates %s, as given out before by their source %s)", thousands(a.Flagged), thousands(a.Redelivered))
	}
	return s
}

func (r Requests) String() string {
	s := fmt.Sprintf("%s asked at paris, %s answered at berlin, unanswered %s, answered twice %s", thousands(r.Asked), thousands(r.Answered),
		thousands(r.Unanswered), thousands(r.Repeated))
	if r.Wrong > 0 {
		s += fmt.Sprintf(", replies of no request %s", thousands(r.Wrong))
	}
	if r.Answered > 0 {
		s += fmt.Sprintf("; round trip p50 %.1f ms, p99 %.1f ms", r.P50*1000, r.P99*1000)
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
