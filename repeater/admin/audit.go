package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"sync"
	"time"
)

// The audit log: one line of JSON for every change that is asked for, refused ones too, and for every look at bodies. It is on the
// disk before the answer is sent.

// An Entry is one line of it.
type Entry struct {
	Time   time.Time `json:"time"`
	User   string    `json:"user"`
	Remote string    `json:"remote,omitempty"`
	Action string    `json:"action"`          // METHOD and pattern of the path
	Object string    `json:"object"`          // path and query
	Asked  string    `json:"asked,omitempty"` // the beginning of the body
	Before uint64    `json:"generation_before,omitempty"`
	After  uint64    `json:"generation_after,omitempty"`
	Status int       `json:"status"`
	Result string    `json:"result"`          // ok, or what is wrong
	Count  *int      `json:"count,omitempty"` // messages or routes concerned, where the answer says so
}

const msgAudit = "asked for by the API"

// An auditor writes the log.
type auditor struct {
	log        *slog.Logger
	generation func() uint64

	mu   sync.Mutex
	path string   // of a file that is not open yet; "" = none
	file *os.File // nil: it is not open
}

// openAudit makes the auditor. A file that was asked for is opened now, the one beside the journal when there is something to note.
func openAudit(o *Access, log *slog.Logger, generation func() uint64) (*auditor, error) {
	a := &auditor{log: log, generation: generation, path: o.Audit}
	if o.Audit == "" {
		a.path = o.AuditBeside
		return a, nil
	}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("admin.audit_file: %w", err)
	}
	return a, nil
}

// open opens the file, which is made if need be, unless it is open.
func (a *auditor) open() (err error) {
	if a.file == nil {
		a.file, err = os.OpenFile(a.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	return err
}

func (a *auditor) close() {
	if a.file != nil {
		_ = a.file.Close() // every line is synced
	}
}

// write appends e. What cannot be written is in the daemon's own log.
func (a *auditor) write(e Entry) {
	attrs := []any{"user", e.User, "remote", e.Remote, "action", e.Action, "object", e.Object, "status", e.Status, "result", e.Result}
	a.log.Info(msgAudit, attrs...)
	if a.path == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	line, err := json.Marshal(e)
	if err == nil {
		err = a.open()
	}
	if err == nil {
		if _, err = a.file.Write(append(line, '\n')); err == nil {
			err = a.file.Sync()
		}
	}
	if err != nil {
		a.log.Error("the audit log cannot be written", "err", err)
	}
}

// An answering is a response that is noted before it is sent. It is an http.ResponseWriter.
type answering struct {
	http.ResponseWriter
	r      *http.Request
	a      *auditor // nil: nothing is noted
	e      Entry
	header http.Header
	status int
	body   bytes.Buffer
}

// begin returns what e's handler answers to.
func (a *auditor) begin(w http.ResponseWriter, r *http.Request, e *endpoint) *answering {
	out := &answering{ResponseWriter: w, r: r}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if r.URL.Query().Get("body") != "1" {
			return out
		}
	}
	c := callerOf(r)
	out.a, out.header = a, http.Header{}
	out.e = Entry{Time: time.Now().UTC(), User: c.Name, Remote: c.From, Action: e.method + " " + e.path, Object: r.URL.RequestURI(), Before: a.generation()}
	return out
}

// Header implements http.ResponseWriter.
func (w *answering) Header() http.Header {
	if w.a == nil {
		return w.ResponseWriter.Header()
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *answering) WriteHeader(status int) {
	if w.a == nil {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.status = status
}

// Write implements http.ResponseWriter.
func (w *answering) Write(b []byte) (int, error) {
	if w.a == nil {
		return w.ResponseWriter.Write(b)
	}
	return w.body.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *answering) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// end notes what became of the request, and sends the answer.
func (w *answering) end() {
	if w.a == nil {
		return
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.e.Status, w.e.Result, w.e.After = w.status, "ok", w.a.generation()
	var said struct {
		Detail   string `json:"detail"`
		Done     *int   `json:"done"`
		Messages any    `json:"messages"`
	}
	if json.Unmarshal(w.body.Bytes(), &said) == nil {
		if w.status >= 300 {
			w.e.Result = said.Detail
		}
		w.e.Count = said.Done
		if n, ok := said.Messages.(float64); ok {
			count := int(n)
			w.e.Count = &count
		}
	}
	w.a.write(w.e)
	maps.Copy(w.ResponseWriter.Header(), w.header)
	w.ResponseWriter.WriteHeader(w.status)
	_, _ = w.ResponseWriter.Write(w.body.Bytes()) // the client went away: nobody to tell
}

// mostNoted is how much of a body is noted, in bytes.
const mostNoted = 1024

// noteBody keeps the beginning of what was asked.
func noteBody(w http.ResponseWriter, v any) {
	if a, ok := w.(*answering); ok && a.a != nil {
		text, err := json.Marshal(v)
		if err == nil {
			a.e.Asked = string(text[:min(len(text), mostNoted)])
		}
	}
}
