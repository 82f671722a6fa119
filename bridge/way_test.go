package bridge

import (
	"crypto/sha256"
	"strconv"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/amqp"
	"github.com/posthouse/posthouse/adapters/kafka"
)

// wireOrder is a message with ten properties and a body of 1 KiB as Artemis sends it.
func wireOrder(tb testing.TB) []byte {
	m := &adapters.Message{
		ID: adapters.StringID("ID:3f2a-1"), Corr: adapters.StringID("order-4711"), ContentType: "application/json", Created: baseTime,
		Durable: adapters.Yes, Priority: adapters.Priority{Set: true, Value: 4},
		Body: adapters.Body{Form: adapters.BodyBytes, Data: make([]byte, 1024)},
	}
	for i := range 10 {
		m.Props = append(m.Props, adapters.Prop{Name: "property-" + strconv.Itoa(i), V: adapters.String("value " + strconv.Itoa(i))})
	}
	raw, err := amqp.Encode(nil, m, "artemis")
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// wayToKafka is what a repeater does with a message on its way from AMQP to Kafka, without the brokers.
func wayToKafka(tb testing.TB, raw []byte, from, to adapters.Headers, now time.Time) {
	m, err := amqp.Decode(raw, baseTime)
	if err != nil {
		tb.Fatal(err)
	}
	m, _ = Restore(m, from, Options{Trusted: true})
	m.Track = adapters.Track{ID: "k3v9x0q2m4t7a.0000001f.0000000300000a41", Origin: "k3v9x0q2m4t7a.0000001f.0000000300000a41", Path: route()}
	f, notes, err := Fit(m, to, Options{}, now)
	if err != nil || notes != nil {
		tb.Fatal(notes, err)
	}
	if r := kafka.Encode(f, "plain", now); len(r.Headers) < 16 {
		tb.Fatal(r.Headers)
	}
}

func route() []string { return []string{"east/orders"} }

// TestWayToKafkaCostsLittle: the budget of a conversion, AMQP 1.0 to the canonical message to Kafka.
func TestWayToKafkaCostsLittle(t *testing.T) {
	raw, from, to, now := wireOrder(t), headersOf("amqp"), headersOf("kafka"), time.UnixMilli(baseTime)
	if n := testing.AllocsPerRun(200, func() { wayToKafka(t, raw, from, to, now) }); n > 15 {
		t.Errorf("%v allocations, at most 15", n)
	}
}

// BenchmarkWayToKafka takes turns with a loop that is always the same, so that a figure of a busy machine can be told from
// one of a slow conversion: "way" is the best turn, "reference" is the best of SHA-256 over 4 KiB.
func BenchmarkWayToKafka(b *testing.B) {
	raw, from, to, now := wireOrder(b), headersOf("amqp"), headersOf("kafka"), time.UnixMilli(baseTime)
	const turn = 500
	way, reference, block := time.Hour, time.Hour, make([]byte, 4096)
	for b.Loop() {
		way = min(way, took(turn, func() { wayToKafka(b, raw, from, to, now) }))
		b.StopTimer()
		reference = min(reference, took(turn, func() { sha256.Sum256(block) }))
		b.StartTimer()
	}
	b.ReportMetric(float64(way)/turn, "way-ns")
	b.ReportMetric(float64(reference)/turn, "reference-ns")
}

// took times n calls of f.
func took(n int, f func()) time.Duration {
	begin := time.Now()
	for range n {
		f()
	}
	return time.Since(begin)
}
