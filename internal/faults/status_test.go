package faults

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// States of a lane.
const (
	passThrough = "pass-through"
	spooling    = "spooling"
	draining    = "draining"
	full        = "full"
)

// A status is what the tests read of GET /api/v1/status, as a script of an operator would.
type status struct {
	Spool *struct {
		State    string `json:"state"`
		Error    string `json:"error"`
		Bytes    int    `json:"bytes"`
		Segments int    `json:"segments"`
		Free     int    `json:"free_segments"`
		Damaged  int    `json:"damaged_segments"`
		Messages int    `json:"messages"`
		Recovery struct {
			Records int      `json:"records"`
			Torn    int      `json:"torn_bytes"`
			Damage  []string `json:"damage"`
			Missing []string `json:"missing"`
			Clean   bool     `json:"clean"`
		} `json:"recovery"`
	} `json:"spool"`
	Config struct {
		Generation uint64 `json:"generation"`
		Differs    bool   `json:"file_differs"`
		Last       *struct {
			OK    bool   `json:"ok"`
			Error string `json:"error"`
		} `json:"last_reload"`
	} `json:"config"`
	Bridges []struct {
		Outstanding int `json:"outstanding_requests"`
	} `json:"bridges"`
	Routes []struct {
		Name     string       `json:"name"`
		Received int          `json:"received_messages"`
		Filtered int          `json:"filtered_messages"`
		Refused  int          `json:"refused_messages"`
		Lanes    []laneStatus `json:"lanes"`
		Dead     *laneStatus  `json:"dead_letters"`
	} `json:"routes"`
}

type laneStatus struct {
	Name         string `json:"name"`
	State        string `json:"state"`
	Waiting      int    `json:"waiting_messages"`
	InFlight     int    `json:"in_flight_messages"`
	Forwarded    int    `json:"forwarded_messages"`
	Retries      int    `json:"retries"`
	Spooled      int    `json:"spooled_messages"`
	SpooledBytes int    `json:"spooled_bytes"`
	SpooledTotal int    `json:"spooled_total"`
	LastError    string `json:"last_error"`
	received     int    // of its route
	Share        *struct {
		InUse  bool   `json:"in_use"`
		Target string `json:"target_in_use"`
	} `json:"share"`
}

// inUse reports whether the lane gets new messages, of those that several share.
func (l laneStatus) inUse() bool { return l.Share != nil && l.Share.InUse }

// lane is the one lane of a route; a state of "" says that there is none in the answer.
func (s status) lane(route string) laneStatus {
	for _, r := range s.Routes {
		if r.Name == route && len(r.Lanes) == 1 {
			r.Lanes[0].received = r.Received
			return r.Lanes[0]
		}
	}
	return laneStatus{}
}

// open is how many messages are on their way. What has arrived and is kept only to be recognised (C24) is not.
func (s status) open() (n int) {
	for _, r := range s.Routes {
		for _, l := range r.Lanes {
			n += l.Waiting + l.InFlight + l.Spooled
		}
		if r.Dead != nil {
			n += r.Dead.Waiting + r.Dead.InFlight + r.Dead.Spooled
		}
	}
	return n
}

func (d *daemon) status() (status, error) {
	raw, err := d.get("/api/v1/status")
	if err != nil {
		return status{}, err
	}
	var s status
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("GET /api/v1/status: %w", err)
	}
	return s, nil
}

// metrics reads /metrics.
func (d *daemon) metrics(t *testing.T) metrics {
	t.Helper()
	raw, err := d.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return parseMetrics(string(raw))
}

// metrics are the samples of a page, by name and labels as they stand there.
type metrics map[string]float64

func parseMetrics(page string) metrics {
	m := metrics{}
	for line := range strings.SplitSeq(page, "\n") {
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		if f, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			m[line[:i]] = f
		}
	}
	return m
}

// sum adds up the samples of a metric whose labels hold all of some; -1 if there is none.
func (m metrics) sum(name string, some ...string) int {
	sum, found := 0.0, false
samples:
	for key, v := range m {
		if base, _, _ := strings.Cut(key, "{"); base != name {
			continue
		}
		for _, s := range some {
			if !strings.Contains(key, s) {
				continue samples
			}
		}
		sum, found = sum+v, true
	}
	if !found {
		return -1
	}
	return int(sum)
}

func TestMetricsAreRead(t *testing.T) {
	m := parseMetrics("# HELP a b\na{route=\"x\",kind=\"y z\"} 3\na{route=\"x\",kind=\"q\"} 4\nb 1.5e+06\nab{route=\"x\"} 9\n\n")
	for _, c := range []struct {
		want int
		name string
		some []string
	}{{7, "a", nil}, {3, "a", []string{`kind="y z"`}}, {1500000, "b", nil}, {-1, "c", nil}, {-1, "a", []string{`route="z"`}}} {
		if got := m.sum(c.name, c.some...); got != c.want {
			t.Errorf("sum(%s, %v) = %d, want %d", c.name, c.some, got, c.want)
		}
	}
}

// diskUse adds up the files below dir, and lists them.
func diskUse(dir string) (bytes int, list string) {
	var lines []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error { // a file may go meanwhile
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			rel, _ := filepath.Rel(dir, path)
			lines = append(lines, fmt.Sprintf("%10d %s", info.Size(), rel))
			bytes += int(info.Size())
		}
		return nil
	})
	return bytes, strings.Join(lines, "\n")
}
