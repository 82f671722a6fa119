package routes

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/ibmmq"
	"github.com/posthouse/posthouse/routes/yamltree"
)

var update = flag.Bool("update", false, "write what comes out into the expected files")

// ends is an adapter as far as the check of a file needs one: it claims forms, and checks what a rule of its own says.
type ends struct {
	kind             string
	sources, targets []adapters.Form
	check            func(c adapters.Config, as []adapters.Address) error
	aside            bool // a source can put messages aside
	stops            bool // a refused message stops the later ones
	settle           adapters.Grain
	reserved         []string // beginnings of headers that are commands
	class            adapters.Class
	directed         bool
	identity         adapters.Identity
}

func (e ends) Kind() string { return e.kind }

func (e ends) Capabilities(c adapters.Config) adapters.Capabilities {
	if c.Options.String("dialect", "") == "artemis" {
		e.class = adapters.ClassWindow
	}
	return adapters.Capabilities{Dynamic: e.kind != "amqp", Sources: e.sources, Targets: e.targets, Settle: e.settle, RejectAside: e.aside, RefusalStops: e.stops, Headers: adapters.Headers{Reserved: e.reserved}, Target: e.class, Source: e.identity, Directed: e.directed}
}

func (e ends) Check(c adapters.Config, as ...adapters.Address) error {
	if e.check == nil {
		return nil
	}
	return e.check(c, as)
}

func (e ends) OpenSource(context.Context, adapters.Config, adapters.Address) (adapters.Source, error) {
	panic("a check must open nothing")
}

func (e ends) OpenTarget(context.Context, adapters.Config, adapters.Address) (adapters.Target, error) {
	panic("a check must open nothing")
}

func testKinds() Kinds {
	queues := []adapters.Form{adapters.Queue, adapters.Topic}
	return Kinds{
		"amqp": ends{kind: "amqp", sources: queues, targets: queues, aside: true, directed: true},
		"kafka": ends{kind: "kafka", sources: []adapters.Form{adapters.Topic}, targets: []adapters.Form{adapters.Topic}, stops: true, settle: adapters.Prefix, reserved: []string{"kafka_"},
			class: adapters.ClassTx, identity: adapters.SourcePosition},
		"nats": ends{kind: "nats", sources: []adapters.Form{adapters.Stream}, targets: []adapters.Form{adapters.Subject},
			class: adapters.ClassWindow, identity: adapters.SourcePosition},
		"ibmmq": ends{kind: "ibmmq", sources: []adapters.Form{adapters.Queue}, targets: queues, stops: true, settle: adapters.Batch, aside: true, directed: true,
			class: adapters.ClassTx, identity: adapters.SourceID, check: func(c adapters.Config, as []adapters.Address) error { return ibmmq.New().Check(c, as...) }},
	}
}

// TestBad feeds every file of testdata/bad and compares the whole report.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no files")
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			table, fs := Load(filepath.Base(f), src, Options{Kinds: testKinds(), Repeater: "test"})
			if (table == nil) != fs.HasErrors() {
				t.Errorf("table %v beside errors %v", table != nil, fs.HasErrors())
			}
			var out bytes.Buffer
			if err := fs.Text(&out); err != nil {
				t.Fatal(err)
			}
			for _, canary := range []string{"s3c", "hunter2", "verysecret", "12345"} {
				if strings.Contains(out.String(), canary) {
					t.Errorf("a secret is shown: %s", canary)
				}
			}
			golden(t, strings.TrimSuffix(f, ".yaml")+".txt", out.String())
		})
	}
}

// golden compares got with a file, or writes the file with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// A scalarIn is a scalar and the document in which it stands.
type scalarIn struct {
	doc  *yamltree.Document
	node *yamltree.Node
}

// parseScalar reads text as the value of a key.
func parseScalar(t *testing.T, text string) scalarIn {
	t.Helper()
	d, ps := yamltree.Parse([]byte("a: " + text + "\n"))
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	return scalarIn{d, d.Root.Pairs[0].Value}
}
