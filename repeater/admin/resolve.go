package admin

import (
	"net/http"

	"github.com/posthouse/posthouse/repeater"
)

// A Decision is the body of POST /api/v1/lanes/ROUTE/TARGET/resolve.
type Decision struct {
	Action repeater.Action `json:"action"` // retry, dead-letter, sent or resend
	Reason string          `json:"reason"` // for the log; never empty
}

// Resolved is the answer to it.
type Resolved struct {
	Lane     string          `json:"lane"`
	Action   repeater.Action `json:"action"`
	Messages int             `json:"messages"` // that the decision concerns
}

// resolves is what can be decided about what lanes hold.
func (s *Server) resolves() []endpoint {
	if s.opts.Resolve == nil {
		return nil
	}
	return []endpoint{{method: "POST", path: "/api/v1/lanes/{route}/{target}/resolve", does: "Decide about what a lane holds.",
		body: Decision{}, answer: Resolved{}, handle: s.resolve}}
}

// resolve takes an operator's decision.
func (s *Server) resolve(w http.ResponseWriter, r *http.Request) {
	var d Decision
	if !read(w, r, &d) {
		return
	}
	lane := laneIn(r)
	n, err := s.opts.Resolve(r.Context(), lane, d.Action, d.Reason)
	answer(w, Resolved{lane, d.Action, n}, err)
}
