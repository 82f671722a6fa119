package repeater

import (
	"time"

	"github.com/posthouse/posthouse/routes"
)

// A LaneShare is what a lane has to do with the others of its route, or with its own other targets.
type LaneShare struct {
	Distribute string     `json:"distribute"` // weighted, affinity or failover
	InUse      bool       `json:"in_use"`     // it gets new messages now
	Weight     int        `json:"weight,omitempty"`
	Priority   int        `json:"priority,omitempty"`
	WhenDown   string     `json:"when_down,omitempty"`       // wait or move
	Moved      int64      `json:"moved_messages,omitempty"`  // that another lane got, because this one was down
	Targets    []string   `json:"targets,omitempty"`         // of failover, in the order of the file
	Target     string     `json:"target_in_use,omitempty"`   // of these
	Since      *time.Time `json:"in_use_since,omitempty"`    // that one
	Switches   int64      `json:"target_switches,omitempty"` // since the start
}

// share is how the lane shares the messages of its route; nil where there is nothing to share.
func (l *lane) share() *LaneShare {
	r := l.of.route
	switch {
	case l.turns != nil:
		return l.turns.share()
	case !r.ByOne() || l.local:
		return nil
	}
	s := &LaneShare{Distribute: string(r.Sharing.Distribute), Weight: l.target.Weight, Priority: l.target.Priority, WhenDown: string(r.Sharing.WhenDown), Moved: l.count.moved.n.Load()}
	for _, o := range l.of.eligible(nil) {
		s.InUse = s.InUse || o == l
	}
	return s
}

func (q *succession) share() *LaneShare {
	q.mu.Lock()
	defer q.mu.Unlock()
	since := q.since
	s := &LaneShare{Distribute: string(routes.Failover), InUse: true, Target: q.current().target.Name, Since: &since, Switches: q.switches}
	for _, r := range q.list {
		s.Targets = append(s.Targets, r.target.Name)
	}
	return s
}

// usage calls gauge for each target that may be in use and may not.
func (s *LaneShare) usage(target string, gauge func(inUse bool, target string)) {
	if s == nil {
		return
	}
	if len(s.Targets) == 0 {
		gauge(s.InUse, target)
	}
	for _, t := range s.Targets {
		gauge(t == s.Target, t)
	}
}
