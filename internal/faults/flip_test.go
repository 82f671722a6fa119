package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// flips is how often a byte is changed until the daemon has something to report: one may be of a record that is done.
const flips = 20

// flipped changes a byte in the middle of a spool with a backlog while no daemon runs. The next one reports what is lost by
// it, by record, and goes on with the rest.
func (s *storm) flipped(event) {
	s.t.Helper()
	for range flips {
		s.running()
		for _, p := range s.gates(far) {
			p.Refuse()
			p.Cut()
		}
		for _, l := range s.lanes {
			l.h.breaks++
		}
		s.backlog(200)
		s.kill()
		s.flip()
		s.running()
		s.heal()
		if s.damage() > 0 {
			return
		}
	}
	s.void("%d flipped bytes, and no daemon has reported one", flips)
}

// backlog waits until every lane has n messages in the spool.
func (s *storm) backlog(n int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	err := until(ctx, "there is a backlog", func() bool {
		if s.d.gone() {
			return true
		}
		st, err := s.d.status()
		for _, l := range s.lanes {
			if err != nil || st.lane(l.name).Spooled < n {
				return false
			}
		}
		return true
	})
	if s.d.gone() {
		s.ended()
	}
	if err != nil {
		s.void("%v", err)
	}
}

// flip changes one byte that is not 0, of some segment.
func (s *storm) flip() {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.spool, "*", "*.seg"))
	if err != nil || len(files) == 0 {
		s.t.Fatalf("segments of %s: %d, %v", s.spool, len(files), err)
	}
	for {
		file := files[s.rng.IntN(len(files))]
		b, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		at := len(b)/4 + s.rng.IntN(len(b)/2)
		if b[at] == 0 {
			continue
		}
		b[at] ^= 1 << s.rng.IntN(8)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			s.t.Fatal(err)
		}
		return
	}
}

// damage waits until the backlog is gone, and returns how many more records have been reported as lost, by this daemon at
// its start, and by all when they came to read them.
func (s *storm) damage() (n int) {
	s.t.Helper()
	s.quietEnough()
	st, err := s.d.status()
	if err != nil || st.Spool == nil {
		s.t.Fatalf("status: %v", err)
	}
	for _, l := range s.lanes {
		lost := s.log.hit(msgDamaged+l.name) - l.damaged
		l.damaged += lost
		for _, text := range st.Spool.Recovery.Missing {
			lost += l.missing(l.name, text)
		}
		l.h.reported += lost
		n += lost
	}
	s.asking.damage(s.log, st)
	return n
}

// missing is how many records of a route a line of the report speaks of that no line before did: LANE FIRST-LAST.
func (l *stormLane) missing(route, text string) (n int) {
	lane, span, _ := strings.Cut(text, " ")
	var first, last int
	if _, err := fmt.Sscanf(span, "%d-%d", &first, &last); err != nil || !strings.HasPrefix(lane, route+"/") {
		return 0
	}
	for seq := first; seq <= last; seq++ {
		key := fmt.Sprint(lane, " ", seq)
		if !l.gone[key] {
			l.gone[key] = true
			n++
		}
	}
	return n
}

// quietEnough waits until what was spooled has been sent. Meanwhile nothing new comes: on a busy machine some lane always has
// a backlog.
func (s *storm) quietEnough() {
	s.t.Helper()
	for _, l := range s.lanes {
		l.load.speed(0)
		defer l.load.speed(s.g.rate)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	err := until(ctx, "the backlog is gone", func() bool {
		st, err := s.d.status()
		if err == nil && s.asked {
			s.resolve(st)
		}
		for _, l := range s.lanes {
			if err != nil || st.Spool.State != "ok" || st.lane(l.name).Forwarded == 0 || st.lane(l.name).Spooled >= 100 {
				return false
			}
		}
		return true
	})
	if err != nil {
		st, _ := s.d.get("/api/v1/status")
		s.red = append(s.red, finding{stuck, err.Error()})
		s.t.Fatalf("%s: %v\nstatus: %s\nlog:\n%s", stuck, err, st, s.log)
	}
}
