package bridge

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

var update = flag.Bool("update", false, "write testdata/compare.txt")

// TestCompare writes down what becomes of messages between all kinds of ends. A change here is a change for operators.
func TestCompare(t *testing.T) {
	var b strings.Builder
	for _, from := range []string{"amqp", "amqp-jms", "kafka", "nats", "mq"} {
		for _, to := range []string{"amqp", "amqp-jms", "amqp-rabbitmq3", "kafka", "kafka-spring", "nats", "nats-ttl", "mq", "amqp091", "mqtt", "stomp-artemis"} {
			c := Compare(headersOf(from), headersOf(to), Options{})
			b.WriteString(from + " to " + to + "\n")
			for _, l := range [...]struct {
				word  string
				items []string
			}{{"ignored", c.Ignored}, {"hidden", c.Hidden}, {"changed", c.Changed}, {"lost", c.Lost}} {
				for _, i := range l.items {
					b.WriteString("  " + l.word + " " + i + "\n")
				}
			}
		}
	}
	file := filepath.Join("testdata", "compare.txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != b.String() {
		t.Errorf("%s differs (%v); -update writes\n%s", file, err, b.String())
	}
}

// TestCompareIsTrue: what Compare does not call hidden or changed arrives natively, for every field and every pair.
func TestCompareIsTrue(t *testing.T) {
	for _, from := range protocols() {
		for _, to := range protocols() {
			h := headersOf(to)
			for _, f := range carried() {
				m := withField(f.field)
				fitted, _, err := Fit(m, h, Options{}, time.UnixMilli(baseTime))
				if err != nil || !headersOf(from).Fields.Has(f.field) {
					continue
				}
				hidden := slices.Contains(Compare(headersOf(from), h, Options{}).Hidden, f.words)
				if native := nativelyHas(fitted, f.field); native == hidden {
					t.Errorf("%s to %s: %s: native %t, hidden %t", from, to, f.words, native, hidden)
				}
			}
		}
	}
}

func withField(f adapters.Field) *adapters.Message {
	id := adapters.StringID("x")
	m := &adapters.Message{Created: baseTime}
	switch f {
	case adapters.FieldID:
		m.ID = id
	case adapters.FieldCorr:
		m.Corr = id
	case adapters.FieldType:
		m.Type = "t"
	case adapters.FieldContentType:
		m.ContentType = "a/b"
	case adapters.FieldContentEncoding:
		m.ContentEncoding = "gzip"
	case adapters.FieldReplyGroup:
		m.ReplyGroup = "g"
	case adapters.FieldAppID:
		m.AppID = "a"
	case adapters.FieldKey:
		m.Key = []byte("k")
	case adapters.FieldGroup:
		m.Group.ID = id
	case adapters.FieldGroupLast:
		m.Group.Last = true
	case adapters.FieldMsgType:
		m.MsgType = 2
	case adapters.FieldAnnotations:
		m.Annot.MA = []adapters.Prop{{Name: "x-opt-a", V: adapters.Symbol("s")}}
	}
	return m
}

func nativelyHas(m *adapters.Message, f adapters.Field) bool {
	switch f {
	case adapters.FieldID:
		return !m.ID.IsZero()
	case adapters.FieldCorr:
		return !m.Corr.IsZero()
	case adapters.FieldType:
		return m.Type != ""
	case adapters.FieldContentType:
		return m.ContentType != ""
	case adapters.FieldContentEncoding:
		return m.ContentEncoding != ""
	case adapters.FieldCreated:
		return m.Created != 0
	case adapters.FieldReplyGroup:
		return m.ReplyGroup != ""
	case adapters.FieldAppID:
		return m.AppID != ""
	case adapters.FieldKey:
		return m.Key != nil
	case adapters.FieldGroup:
		return !m.Group.ID.IsZero()
	case adapters.FieldGroupLast:
		return m.Group.Last
	case adapters.FieldMsgType:
		return m.MsgType != 0
	}
	for _, p := range m.Annot.MA {
		if p.Name == "x-opt-a" {
			return true
		}
	}
	return false
}
