package routes_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/amqp"
	"github.com/posthouse/posthouse/adapters/ibmmq"
	"github.com/posthouse/posthouse/adapters/kafka"
	"github.com/posthouse/posthouse/adapters/nats"
	"github.com/posthouse/posthouse/routes"
)

// TestRealAdapters: the adapters know every key that the table hands to them, and claim the ends that the files name.
func TestRealAdapters(t *testing.T) {
	kinds := routes.Kinds{"amqp": amqp.New(), "ibmmq": builtIn{ibmmq.New()}, "kafka": kafka.New(), "nats": nats.New()}
	good, _ := filepath.Glob("testdata/good/*.yaml")
	examples, _ := filepath.Glob("../examples/*.yaml")
	for _, f := range append(good, examples...) {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		table, fs := routes.Load(f, src, routes.Options{Kinds: kinds})
		fs = slices.DeleteFunc(fs, func(f routes.Finding) bool { return f.Code == "P005" }) // an example may do without a spool
		var report strings.Builder
		_ = fs.Text(&report)
		if table == nil || len(fs) > 0 {
			t.Errorf("%s:\n%s", f, report.String())
		}
	}
}

// TestAdapterObjections: what an adapter refuses is shown at the key that it names.
func TestAdapterObjections(t *testing.T) {
	const src = `version: 1
brokers:
  a: { type: amqp, addresses: [http://localhost:1] }
  k: { type: kafka, addresses: ["localhost:1"], credentials: { mechanism: plain } }
  n: { type: nats, addresses: [nats://localhost:1] }
routes:
  - { name: r, from: { broker: n, stream: S }, to: { broker: n, subject: "a b" } }
`
	kinds := routes.Kinds{"amqp": amqp.New(), "kafka": kafka.New(), "nats": nats.New()}
	_, fs := routes.Load("f.yaml", []byte(src), routes.Options{Kinds: kinds})
	want := []struct {
		line, col int
		path      string
	}{{3, 31, "brokers.a.addresses"}, {4, 75, "brokers.k.credentials.mechanism"}, {7, 74, "routes[0].to.subject"}}
	if len(fs) != len(want) {
		t.Fatalf("%d findings, want %d: %+v", len(fs), len(want), fs)
	}
	for i, w := range want {
		if f := fs[i]; f.Code != "K003" || f.Line != w.line || f.Col != w.col || f.Path != w.path {
			t.Errorf("finding %d: %+v, want %+v", i, f, w)
		}
	}
}

// builtIn is an adapter that says nothing of having been left out.
type builtIn struct{ adapters.Adapter }

// TestLeftOut: a type of broker that the program was built without is refused where the file names it.
func TestLeftOut(t *testing.T) {
	const src = `version: 1
brokers:
  q: { type: ibmmq, addresses: ["localhost:1"] }
routes:
  - { name: r, from: { broker: q, queue: A }, to: { broker: q, queue: B } }
`
	table, fs := routes.Load("f.yaml", []byte(src), routes.Options{Kinds: routes.Kinds{"ibmmq": leftOut{ibmmq.New()}}})
	if table != nil || len(fs) != 1 || fs[0].Code != "E104" || fs[0].Line != 3 || fs[0].Col != 14 || !strings.Contains(fs[0].Message, "built without") {
		t.Errorf("table %v, findings %+v", table != nil, fs)
	}
}

type leftOut struct{ adapters.Adapter }

func (leftOut) Missing() error { return errors.New("this program was built without it") }
