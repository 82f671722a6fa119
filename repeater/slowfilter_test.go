package repeater

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/routes"
)

// A slow filter is told once, with the route and the expression; one that was only unlucky is not told.
func TestSlowFilterIsToldOnce(t *testing.T) {
	table, fs := routes.Load("t.yaml", []byte(`version: 1
brokers: { x: { type: amqp, addresses: [amqp://h] } }
routes:
  - { name: plain, from: { broker: x, queue: a }, to: { broker: x, queue: b } }
  - { name: slow, from: { broker: x, queue: a }, to: { broker: x, queue: c }, filter: 'msg.text matches "(a+a+)+b" or msg.text contains "x"' }
`), routes.Options{Kinds: routes.Kinds{"amqp": mem.New()}})
	if table == nil {
		t.Fatal(fs)
	}
	var log bytes.Buffer
	f := &flow{table: table.Flows()[0], log: slog.New(slog.NewTextHandler(&log, nil))}
	m := &adapters.Message{Body: adapters.Body{Form: adapters.BodyText, Data: []byte(strings.Repeat("a", 10_000))}}
	f.tellSlow(m, time.Hour)
	if log.Len() > 0 {
		t.Errorf("told, though it was fast:\n%s", &log)
	}
	f.tellSlow(m, 0)
	f.tellSlow(m, 0)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "code=F009 route=slow") || !strings.Contains(got, "body_bytes=10000") {
		t.Errorf("the log:\n%s", got)
	}
	if d := f.decide(nil, m); len(d) != 2 || d[0].Verdict != routes.Taken || d[1].Verdict != routes.Declined {
		t.Errorf("%+v", d)
	}
}
