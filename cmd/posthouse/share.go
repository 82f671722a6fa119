package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A shareView is what a lane has to do with the other targets of its route.
type shareView struct {
	Distribute string     `json:"distribute"`
	InUse      bool       `json:"in_use"`
	Weight     int        `json:"weight"`
	Priority   int        `json:"priority"`
	Moved      int64      `json:"moved_messages"`
	Targets    []string   `json:"targets"`
	Target     string     `json:"target_in_use"`
	Since      *time.Time `json:"in_use_since"`
	Switches   int64      `json:"target_switches"`
}

// shares are one line for each route that gives its messages to one of several targets.
func (v *view) shares(now time.Time) (out []string) {
	for _, r := range v.Routes {
		var parts []string
		for _, l := range r.Lanes {
			switch s := l.Share; {
			case s == nil:
			case s.Targets != nil:
				out = append(out, s.failover(l.Name, now))
			default:
				_, target, _ := strings.Cut(l.Name, "/")
				parts = append(parts, s.part(target))
			}
		}
		if len(parts) > 0 {
			out = append(out, fmt.Sprintf("%s shares by %s: %s", r.Name, shareWord(r), strings.Join(parts, ", ")))
		}
	}
	return out
}

func shareWord(r routeView) string {
	if i := slices.IndexFunc(r.Lanes, func(l laneView) bool { return l.Share != nil && l.Share.Distribute == "affinity" }); i >= 0 {
		return "affinity"
	}
	return "weight"
}

func (s *shareView) part(target string) string {
	out := fmt.Sprintf("%s %d", target, s.Weight)
	if s.Priority > 0 {
		out += fmt.Sprintf(" of priority %d", s.Priority)
	}
	if !s.InUse {
		out += " (gets nothing now)"
	}
	if s.Moved > 0 {
		out += fmt.Sprintf(", %s moved to others", messages(s.Moved))
	}
	return out
}

func (s *shareView) failover(lane string, now time.Time) string {
	since := ""
	if s.Since != nil {
		since = " since " + ageText(*s.Since, now)
	}
	return fmt.Sprintf("%s uses %s%s, number %d of %s, after %s", lane, s.Target, since, slices.Index(s.Targets, s.Target)+1, strings.Join(s.Targets, ", "), switched(s.Switches))
}

func switched(switches int64) string {
	if switches == 1 {
		return "1 switch"
	}
	return fmt.Sprintf("%d switches", switches)
}
