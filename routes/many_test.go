package routes_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/posthouse/posthouse/adapters/all"
	"github.com/posthouse/posthouse/routes"
)

// many is a file of n routes over twenty brokers, some hundred bytes each.
func many(n int) []byte {
	var b bytes.Buffer
	b.WriteString("version: 1\nspool: { dir: /var/lib/posthouse/spool }\nbrokers:\n")
	for i := range 20 {
		fmt.Fprintf(&b, "  b%02d: { type: nats, addresses: [\"nats://127.0.0.1:42%02d\"] }\n", i, i)
	}
	b.WriteString("routes:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - { name: r%05d, from: { broker: b%02d, stream: in, subject: in.%05d }, to: { broker: b%02d, subject: out.%05d } }\n", i, i%20, i, (i+1)%20, i)
	}
	return b.Bytes()
}

func manyKinds() routes.Kinds {
	ks := routes.Kinds{}
	for _, a := range all.Adapters() {
		ks[a.Kind()] = a
	}
	return ks
}

// BenchmarkLoad reads and checks a file of ten thousand routes.
func BenchmarkLoadMany(b *testing.B) {
	src, ks := many(10_000), manyKinds()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if t, fs := routes.Load("many.yaml", src, routes.Options{Kinds: ks}); t == nil {
			b.Fatal(fs)
		}
	}
}

// TestTenThousandRoutes: a file of as many, written out, is read, and each has a source of its own.
func TestTenThousandRoutes(t *testing.T) {
	table, fs := routes.Load("many.yaml", many(10_000), routes.Options{Kinds: manyKinds()})
	if table == nil || len(fs) > 0 {
		t.Fatalf("%d findings", len(fs))
	}
	if n := len(table.Flows()); n != 10_000 {
		t.Errorf("%d sources", n)
	}
}
