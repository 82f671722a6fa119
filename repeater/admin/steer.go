package admin

import (
	"net/http"

	"github.com/posthouse/posthouse/repeater"
)

// A Steering is the body of an order for a route or a lane.
type Steering struct {
	Reason string `json:"reason"` // for the log; may be empty
}

// A Reconnected says which routes were ended and begun again.
type Reconnected struct {
	Broker string   `json:"broker"`
	DryRun bool     `json:"dry_run"`
	Begun  []string `json:"begun"`
}

// steers are the orders for routes, lanes and brokers.
func (s *Server) steers() (es []endpoint) {
	if s.opts.Repeater == nil {
		return nil
	}
	for _, o := range repeater.Orders() {
		es = append(es, endpoint{method: "POST", path: "/api/v1/routes/{route}/" + string(o), does: orderDoes[o], long: o == repeater.Restart,
			query: []param{dryParam}, body: Steering{}, answer: repeater.Obeyed{},
			handle: func(w http.ResponseWriter, r *http.Request) { s.steer(w, r, r.PathValue("route"), o) }})
	}
	for _, o := range []repeater.Order{repeater.Pause, repeater.Resume} {
		es = append(es, endpoint{method: "POST", path: "/api/v1/lanes/{route}/{target}/" + string(o), does: laneDoes[o],
			query: []param{dryParam}, body: Steering{}, answer: repeater.Obeyed{},
			handle: func(w http.ResponseWriter, r *http.Request) {
				s.steer(w, r, r.PathValue("route")+"/"+r.PathValue("target"), o)
			}})
	}
	return append(es, endpoint{method: "POST", path: "/api/v1/brokers/{broker}/reconnect", long: true,
		does:  "End all routes that have an end at a broker, as at a stop, and begin them again.",
		query: []param{dryParam}, body: Steering{}, answer: Reconnected{}, handle: s.reconnect})
}

var orderDoes = map[repeater.Order]string{
	repeater.Pause:   "Receive nothing and send nothing until resume, over reloads and, with a spool, over starts.",
	repeater.Drain:   "Receive nothing, send what is there, then pause.",
	repeater.Resume:  "Let a route go on that was paused or drained.",
	repeater.Restart: "End a route, and what shares its source or its bridge, as at a stop, and begin it again.",
}

var laneDoes = map[repeater.Order]string{
	repeater.Pause:  "Send nothing to one target until resume: what comes waits in the spool, or at the source.",
	repeater.Resume: "Let a lane go on that was paused.",
}

func (s *Server) steer(w http.ResponseWriter, r *http.Request, name string, o repeater.Order) {
	var b Steering
	if !read(w, r, &b) {
		return
	}
	out, err := s.opts.Repeater.Command(r.Context(), repeater.Command{Name: name, Order: o, Reason: b.Reason, By: callerOf(r).Name, DryRun: isDry(r)})
	answer(w, out, err)
}

func (s *Server) reconnect(w http.ResponseWriter, r *http.Request) {
	var b Steering
	if !read(w, r, &b) {
		return
	}
	name := r.PathValue("broker")
	begun, err := s.opts.Repeater.Reconnect(r.Context(), name, isDry(r))
	answer(w, Reconnected{name, isDry(r), listed(begun)}, err)
}
