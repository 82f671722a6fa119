package main

import (
	"fmt"
	"time"
)

// bridgeView is one bridge in the status document.
type bridgeView struct {
	Name        string     `json:"name"`
	Outstanding int64      `json:"outstanding_requests"`
	Limit       int64      `json:"max_outstanding"`
	Oldest      *time.Time `json:"oldest_request_at"`
	Replies     int64      `json:"replies"`
	Timeouts    int64      `json:"timeouts"`
	Late        int64      `json:"late_replies"`
	Repeated    int64      `json:"repeated_replies"`
	P50         float64    `json:"round_trip_p50_seconds"`
	P99         float64    `json:"round_trip_p99_seconds"`
}

// bridges is a line for each.
func (v *view) bridges(now time.Time) (lines []string) {
	for i, b := range v.Bridges {
		if i == 0 {
			lines = append(lines, "")
		}
		line := fmt.Sprintf("bridge %s: %s outstanding", b.Name, countText(b.Outstanding))
		if b.Oldest != nil {
			line += " (oldest " + ageText(*b.Oldest, now) + ")"
		}
		if b.Outstanding >= b.Limit {
			line += ", full: requests wait at their source"
		}
		line += fmt.Sprintf(", %s answered, %s timed out, %s late or unasked", countText(b.Replies), countText(b.Timeouts), countText(b.Late))
		if b.Repeated > 0 {
			line += fmt.Sprintf(", %s repeated and dropped", countText(b.Repeated))
		}
		if b.Replies > 0 {
			line += fmt.Sprintf(", round trip p50 %v, p99 %v", seconds(b.P50), seconds(b.P99))
		}
		lines = append(lines, line)
	}
	return lines
}

// seconds is a time to a tenth of a millisecond.
func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(100 * time.Microsecond)
}
