package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/posthouse/posthouse/repeater"
)

// mostAsked bounds the body of a request that changes something.
const mostAsked = 64 << 10

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

// resolve takes an operator's decision. What web pages can send without asking, a form or a text from another origin, is
// refused: by its origin (http.CrossOriginProtection), and because it is no JSON.
func (s *Server) resolve(w http.ResponseWriter, r *http.Request) {
	d, p := decision(w, r)
	if p.Status != 0 {
		refuse(w, p)
		return
	}
	lane := r.PathValue("route") + "/" + r.PathValue("target")
	n, err := s.opts.Resolve(r.Context(), lane, d.Action, d.Reason)
	if err != nil {
		refuse(w, unresolved(err))
		return
	}
	document(w, Resolved{lane, d.Action, n})
}

// decision reads the request; the problem's status is 0 if there is none.
func decision(w http.ResponseWriter, r *http.Request) (d Decision, p problem) {
	const example = `send {"action": "retry", "reason": "TEXT"} with Content-Type: application/json`
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return d, problem{Status: http.StatusMethodNotAllowed, Detail: "a decision is posted", Help: "use POST, or posthouse resolve"}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return d, problem{Status: http.StatusUnsupportedMediaType, Detail: "the body must be JSON", Help: example}
	}
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostAsked))
	in.DisallowUnknownFields()
	err := in.Decode(&d)
	if err == nil {
		if _, more := in.Token(); more != io.EOF {
			err = errors.New("there is more behind the object")
		}
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		p = problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body has more than %d bytes", mostAsked), Help: example}
	case err != nil:
		p = problem{Status: http.StatusBadRequest, Detail: "the body is no decision: " + err.Error(), Help: example}
	}
	return d, p
}

// unresolved says what to do about an error of Repeater.Resolve.
func unresolved(err error) problem {
	p := problem{Status: http.StatusInternalServerError, Detail: err.Error()}
	switch {
	case errors.Is(err, repeater.ErrNoLane):
		p.Status, p.Code, p.Help = http.StatusNotFound, "R011", "posthouse status lists the lanes, ROUTE/TARGET"
	case errors.Is(err, repeater.ErrNotHeld):
		p.Status, p.Code, p.Help = http.StatusConflict, "R012", "posthouse status shows which lanes are held, and why"
	case errors.Is(err, repeater.ErrNoPlace):
		p.Status, p.Code, p.Help = http.StatusConflict, "R013", "add spool: { dir: PATH } or dead_letter: { broker: NAME, queue: NAME }, or mend the cause and use retry"
	case errors.Is(err, repeater.ErrNoAction):
		p.Status, p.Help = http.StatusBadRequest, fmt.Sprintf("write one of %v", repeater.Actions())
	case errors.Is(err, repeater.ErrReason):
		p.Status, p.Help = http.StatusBadRequest, "say why, for the log: reason, or --reason TEXT"
	}
	return p
}
