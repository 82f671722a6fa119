package qmgr

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Control is the queue manager's methods over HTTP, for tests that run it in another process: JSON in and out, errors as
// plain text with status 400.
//
//	POST /define          a Queue
//	POST /put?queue=      a Message (the body in base64, as encoding/json has it)
//	GET  /messages?queue= {"available": [...], "uncommitted": [...]}
//	POST /clear?queue=    how many there were
//	POST /backout?queue=&count=
//	POST /subscribe?name=&topic=
//	POST /inject          a Fault
//	POST /heal  GET /fired  GET /use
//	POST /shift?by=5s
//	POST /release  POST /cut  POST /quiesce  POST /resume  POST /stop  POST /start
func (m *Manager) Control() http.Handler {
	mux := http.NewServeMux()
	for pattern, f := range map[string]func(r *http.Request) (any, error){
		"POST /define":    m.controlDefine,
		"POST /put":       m.controlPut,
		"GET /messages":   m.controlMessages,
		"POST /clear":     func(r *http.Request) (any, error) { return m.Clear(r.FormValue("queue")), nil },
		"POST /backout":   m.controlBackout,
		"POST /subscribe": func(r *http.Request) (any, error) { return nil, m.Subscribe(r.FormValue("name"), r.FormValue("topic")) },
		"POST /inject":    m.controlInject,
		"GET /fired":      func(*http.Request) (any, error) { return m.Fired(), nil },
		"GET /use":        func(*http.Request) (any, error) { return m.Use(), nil },
		"POST /shift":     m.controlShift,
		"POST /heal":      plain(m.Heal),
		"POST /cut":       plain(m.Cut),
		"POST /release":   plain(m.Release),
		"POST /quiesce":   plain(m.Quiesce),
		"POST /resume":    plain(m.Resume),
		"POST /stop":      plain(m.Stop),
		"POST /start":     func(*http.Request) (any, error) { return nil, m.Start() },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { answer(w, r, f) })
	}
	return mux
}

func plain(f func()) func(*http.Request) (any, error) {
	return func(*http.Request) (any, error) {
		f()
		return nil, nil
	}
}

func answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	v, err := f(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody to tell
}

// decode reads a body of JSON that has no unknown fields.
func decode(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

func (m *Manager) controlDefine(r *http.Request) (any, error) {
	var q Queue
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	return nil, m.Define(q)
}

func (m *Manager) controlPut(r *http.Request) (any, error) {
	var msg Message
	if err := decode(r, &msg); err != nil {
		return nil, err
	}
	return nil, m.Put(r.URL.Query().Get("queue"), msg)
}

func (m *Manager) controlMessages(r *http.Request) (any, error) {
	available, uncommitted := m.Messages(r.FormValue("queue"))
	return map[string][]Message{"available": available, "uncommitted": uncommitted}, nil
}

func (m *Manager) controlBackout(r *http.Request) (any, error) {
	n, err := strconv.ParseInt(r.FormValue("count"), 10, 32)
	m.SetBackoutCount(r.FormValue("queue"), int32(n))
	return nil, err
}

func (m *Manager) controlInject(r *http.Request) (any, error) {
	var f Fault
	if err := decode(r, &f); err != nil {
		return nil, err
	}
	if f.Verb == "" {
		return nil, fmt.Errorf("a fault without a verb")
	}
	m.Inject(f)
	return nil, nil
}

func (m *Manager) controlShift(r *http.Request) (any, error) {
	by, err := time.ParseDuration(r.FormValue("by"))
	if err == nil {
		m.Shift(by)
	}
	return nil, err
}
