package adaptertest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// updateVar, when set, makes Golden write its file instead of comparing.
const updateVar = "POSTHOUSE_UPDATE_GOLDEN"

// A Goldener is a Harness with a golden file of the mapping between native and canonical messages.
type Goldener interface {
	// GoldenFile is its path. With POSTHOUSE_UPDATE_GOLDEN=1 in the environment it is written anew.
	GoldenFile() string
}

// golden: one rich message each way, as a text that people read in reviews, equals the adapter's file.
func golden(e *env) {
	g, ok := e.h.(Goldener)
	if !ok {
		e.Skip("the harness has no golden file")
	}
	in, out := e.h.Place(e), e.h.Place(e)
	prio := min(7, e.caps.Headers.MaxPriority)
	n := Native{Body: []byte("golden"), ID: "id-1", Corr: "corr-1", ReplyTo: "replies", Key: []byte("k"), Priority: &prio,
		Durable: true, TTL: envelopeTTL, Headers: []Header{{"shift", "late"}, {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}}
	e.h.Put(e, in, n)
	var text strings.Builder
	text.WriteString("# native to canonical\n")
	describeMessage(&text, e.receive(e.source(in), 1)[0].Message)
	m := e.message("golden")
	m.Track.ID = "track-1"
	m.ID, m.Corr, m.ReplyTo.Name = adapters.StringID("id-1"), adapters.StringID("corr-1"), "replies"
	m.Priority = adapters.Priority{Set: true, Value: prio}
	m.Props = sample(e.caps.Headers)
	e.send(e.target(out), m)
	text.WriteString("# canonical to native\n")
	describeNative(&text, e.h.Take(e, out, 1)[0])
	e.sameAsFile(g.GoldenFile(), text.String())
}

func (e *env) sameAsFile(file, got string) {
	e.Helper()
	if os.Getenv(updateVar) != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			e.Fatalf("golden file: %v", err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			e.Fatalf("golden file: %v", err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		e.Fatalf("golden file: %v (set %s=1 to write it)", err, updateVar)
	}
	if got != string(want) {
		e.Errorf("the mapping differs from %s:\n%s\nwant:\n%s", file, got, want)
	}
}

// describeMessage writes what is not a matter of the hour or of the broker's mood.
func describeMessage(w *strings.Builder, m *adapters.Message) {
	line(w, "ID", m.ID)
	line(w, "Corr", m.Corr)
	line(w, "ReplyTo", m.ReplyTo)
	line(w, "Type", m.Type)
	line(w, "ContentType", m.ContentType)
	line(w, "ContentEncoding", m.ContentEncoding)
	line(w, "Priority", m.Priority)
	line(w, "Durable", m.Durable)
	line(w, "expires", m.Expires > 0)
	line(w, "Group", m.Group)
	line(w, "Key", string(m.Key))
	for _, p := range slices.SortedStableFunc(slices.Values(m.Props), byPropName) { // some clients write them from a map
		line(w, "prop "+p.Name, p.V)
	}
	for _, p := range m.Annot.MA {
		line(w, "annotation "+p.Name, p.V.Type().Code())
	}
	line(w, "Body.Form", m.Body.Form)
	line(w, "Body", string(m.Body.Data))
}

func describeNative(w *strings.Builder, n Native) {
	line(w, "ID", n.ID)
	line(w, "Corr", n.Corr)
	line(w, "ReplyTo", n.ReplyTo)
	line(w, "Key", string(n.Key))
	if n.Priority != nil {
		line(w, "Priority", *n.Priority)
	}
	line(w, "Durable", n.Durable)
	for _, h := range slices.SortedStableFunc(slices.Values(n.Headers), byName) { // some clients keep them in a map
		line(w, "header "+h.Name, h.Value)
	}
	line(w, "Body", string(n.Body))
}

func byPropName(a, b adapters.Prop) int { return strings.Compare(a.Name, b.Name) }

func byName(a, b Header) int { return strings.Compare(a.Name, b.Name) }

func line(w *strings.Builder, name string, v any) { fmt.Fprintf(w, "%s: %#v\n", name, v) }
