package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// A Problem is an error of the API (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`         // of HTTP
	Detail string `json:"detail"`         // what is wrong
	Code   string `json:"code,omitempty"` // posthouse explain tells more
	Help   string `json:"help,omitempty"` // how to mend it

	Findings routes.Findings `json:"findings,omitempty"` // as of posthouse check
}

// known are the errors of a repeater that say what is wrong with a request.
var known = []struct {
	err    error
	status int
	code   string
	help   string
}{
	{repeater.ErrNoRoute, http.StatusNotFound, "R011", "GET /api/v1/routes, or posthouse status, lists them"},
	{repeater.ErrNoLane, http.StatusNotFound, "R011", "posthouse status lists the lanes, ROUTE/TARGET"},
	{repeater.ErrNoBroker, http.StatusNotFound, "A012", "GET /api/v1/brokers lists them"},
	{repeater.ErrNoLetter, http.StatusNotFound, "A012", "it may have been delivered meanwhile; browse again"},
	{repeater.ErrNoOrphan, http.StatusNotFound, "A012", "GET /api/v1/spools, or posthouse spool orphans, lists them"},
	{repeater.ErrNotHeld, http.StatusConflict, "A009", "posthouse status shows which lanes are held, and why"},
	{repeater.ErrNoPlace, http.StatusConflict, "A010", "add spool: { dir: PATH } or dead_letter: { broker: NAME, queue: NAME }, or mend the cause and use retry"},
	{repeater.ErrShared, http.StatusConflict, "A008", "pause or drain those too, or pause this one alone: its messages wait in its spool"},
	{repeater.ErrLaneOnly, http.StatusConflict, "A008", "name the route"},
	{repeater.ErrCount, http.StatusConflict, "A007", "look again with dry_run, and send the number that is there now"},
	{repeater.ErrNotKept, http.StatusConflict, "A013", "look for them at that broker, with posthouse receive"},
	{repeater.ErrNoSpool, http.StatusConflict, "P005", "nothing is kept here: the file has no spool section"},
	{repeater.ErrRequests, http.StatusConflict, "A013", "move or discard them"},
	{repeater.ErrNoAction, http.StatusBadRequest, "A014", fmt.Sprintf("write one of %v", repeater.Actions())},
	{repeater.ErrNoOrder, http.StatusBadRequest, "A014", fmt.Sprintf("write one of %v", repeater.Orders())},
	{repeater.ErrReason, http.StatusBadRequest, "A014", "say why, for the log: reason, or --reason TEXT"},
	{repeater.ErrSelect, http.StatusBadRequest, "A014", "give ids, reason, lane or filter, or all: true"},
	{repeater.ErrFilter, http.StatusBadRequest, "A014", "write it as the filter of a route: posthouse explain fields"},
	{repeater.ErrMatch, http.StatusPreconditionFailed, "C002", "look at GET /api/v1/config and try again"},
	{repeater.ErrNoGeneration, http.StatusNotFound, "C004", "GET /api/v1/config/history lists them"},
	{repeater.ErrNotYet, http.StatusServiceUnavailable, "A018", "try again in a moment"},
	{repeater.ErrOver, http.StatusServiceUnavailable, "A018", "the daemon is stopping"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "A018", "it may still be under way: look at the status"},
}

// problemOf says what is wrong, and what to do about it.
func problemOf(err error) Problem {
	p := Problem{Status: http.StatusInternalServerError, Detail: err.Error()}
	var r *repeater.Refused
	if errors.As(err, &r) {
		p.Status, p.Findings, p.Help = http.StatusUnprocessableEntity, r.Findings, "what ran before goes on; mend the file and reload again"
		if len(r.Findings) > 0 {
			p.Code = r.Findings[0].Code
		}
		return p
	}
	var f *repeater.FilterError
	if errors.As(err, &f) {
		p.Findings = f.Findings
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			p.Status, p.Code, p.Help = k.status, k.code, k.help
			return p
		}
	}
	return p
}

// answer writes v, or the problem that err is.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, problemOf(err))
		return
	}
	document(w, v)
}
