package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// passThrough is the state of a lane that sends straight to its target.
const passThrough = "pass-through"

// A status is what the demo reads of GET /api/v1/status, as any script of an operator would.
type status struct {
	Spool *struct {
		Recovery *recovery `json:"recovery"` // nil until the journal is open
	} `json:"spool"`
	Routes []struct {
		Name  string `json:"name"`
		Lanes []lane `json:"lanes"`
	} `json:"routes"`
	Bridges []struct {
		Outstanding int `json:"outstanding_requests"`
	} `json:"bridges"`
}

// cut is the lane whose target is cut off.
func (s status) cut() (l lane) {
	for _, r := range s.Routes {
		if r.Name == cutRoute && len(r.Lanes) == 1 {
			l = r.Lanes[0]
		}
	}
	return l
}

// idle reports whether no lane holds a message, and each passes through what comes.
func (s status) idle() bool {
	n := 0
	for _, r := range s.Routes {
		for _, l := range r.Lanes {
			if n++; !l.empty() || l.State != passThrough {
				return false
			}
		}
	}
	return n > 0
}

// outstanding is how many requests have no reply yet, as far as the repeater knows.
func (s status) outstanding() (n int) {
	for _, b := range s.Bridges {
		n += b.Outstanding
	}
	return n
}

// spooled is how many messages are in the spool.
func (s status) spooled() (n int) {
	for _, r := range s.Routes {
		for _, l := range r.Lanes {
			n += l.Spooled
		}
	}
	return n
}

// A recovery is what the repeater found in its journal when it started.
type recovery struct {
	Messages     int      `json:"records"` // that were not delivered, as far as the journal knows
	ScannedBytes int64    `json:"scanned_bytes"`
	TornBytes    int64    `json:"torn_bytes"`
	Damage       []string `json:"damage,omitempty"`
	Missing      []string `json:"missing,omitempty"`
	Clean        bool     `json:"clean"` // the journal had been closed in order
	TookSeconds  float64  `json:"took_seconds"`
}

type lane struct {
	State        string    `json:"state"`
	Waiting      int       `json:"waiting_messages"`
	InFlight     int       `json:"in_flight_messages"`
	Spooled      int       `json:"spooled_messages"`
	SpooledBytes int64     `json:"spooled_bytes"`
	Oldest       time.Time `json:"oldest_message_at"`
	LastError    string    `json:"last_error"`
}

// empty reports whether the repeater holds no message of the lane.
func (l lane) empty() bool { return l.Waiting+l.InFlight+l.Spooled == 0 }

func (l lane) age() time.Duration {
	if l.Oldest.IsZero() {
		return 0
	}
	return max(0, time.Since(l.Oldest))
}

// readStatus asks the repeater that serves addr.
func readStatus(ctx context.Context, addr string) (st status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, statusURL(addr), nil)
	if err != nil {
		return st, err
	}
	req.Close = true // the next question may go to another process
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return st, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return st, fmt.Errorf("GET %s: %s", statusURL(addr), res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&st); err != nil {
		return st, fmt.Errorf("GET %s: %w", statusURL(addr), err)
	}
	return st, nil
}

func statusURL(addr string) string { return "http://" + addr + "/api/v1/status" }

// freePort returns a loopback HOST:PORT that nobody listened on a moment ago. It goes into the topology file, so that it
// stays the same when the repeater is started again.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return ln.Addr().String(), ln.Close()
}
