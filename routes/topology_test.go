package routes

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// loadGood loads a file of testdata/good, or fails.
func loadGood(t *testing.T, name, repeater string) *Table {
	t.Helper()
	src, err := os.ReadFile("testdata/good/" + name)
	if err != nil {
		t.Fatal(err)
	}
	table, fs := Load(name, src, Options{Kinds: testKinds(), Repeater: repeater})
	if len(fs) > 0 {
		var b strings.Builder
		_ = fs.Text(&b)
		t.Fatal(b.String())
	}
	return table
}

func listed(t *Table) (out []string) {
	for _, r := range t.Routes {
		out = append(out, fmt.Sprintf("%s %s -> %s", r.Name, r.From, r.TargetText()))
	}
	return out
}

func TestGeneratedRoutes(t *testing.T) {
	hub := loadGood(t, "hub.yaml", "")
	want := []string{
		"prices.artemis-paris.kafka-berlin artemis-paris/prices -> kafka-berlin/prices",
		"prices.artemis-paris.nats-madrid artemis-paris/prices -> nats-madrid/prices.all", // overridden
		"fills.kafka-berlin.artemis-paris kafka-berlin/fills -> artemis-paris/fills",
		"fills.nats-madrid.artemis-paris nats-madrid/FILLS -> artemis-paris/fills",
		"news.artemis-paris.kafka-berlin artemis-paris/news -> kafka-berlin/news",
		"news.artemis-paris.nats-madrid artemis-paris/news -> nats-madrid/news",
		"news.kafka-berlin.artemis-paris kafka-berlin/news -> artemis-paris/news",
		"news.nats-madrid.artemis-paris nats-madrid/NEWS -> artemis-paris/news",
		"orders artemis-paris/orders -> kafka-berlin/orders",
	}
	if diff := cmp.Diff(want, listed(hub)); diff != "" {
		t.Error(diff)
	}
	r := hub.Routes[0]
	if r.Delivery != AtMostOnce || r.Spool.Mode != SpoolNever || r.To[0].Key == nil || r.MaxHops != 32 || r.Repeat.Hops != 2 ||
		r.From.Options["subscription"] != "posthouse.prices.artemis-paris.kafka-berlin" || !r.Generated() {
		t.Errorf("%+v", r)
	}
	if r := hub.Routes[1]; r.Generated() || r.Repeat == nil || r.From.Options["subscription"] != "prices-madrid" || r.Delivery != AtLeastOnce {
		t.Errorf("%+v", r)
	}
	if r := hub.Routes[3]; r.From.Options["subject"] != "fills.>" || r.Filter == nil || r.Key == nil || r.Order != OrderPerKey {
		t.Errorf("%+v", r)
	}
	if got := len(hub.Flows()); got != len(hub.Routes) {
		t.Errorf("%d readers for %d routes", got, len(hub.Routes))
	}
	for _, r := range hub.Routes {
		if !slices.Equal(r.Repeaters, []string{"paris"}) || hub.ServedBy(r) != "paris" {
			t.Errorf("%s is served by %v", r.Name, r.Repeaters)
		}
	}
	if part, err := hub.Part(""); err != nil || part.Repeater != "paris" || part.Admin.Listen != "127.0.0.1:7431" || len(part.Routes) != len(hub.Routes) {
		t.Errorf("%v %v", part, err)
	}
}

// TestWrittenOut: the routes as one could write them are the same routes.
func TestWrittenOut(t *testing.T) {
	src, err := os.ReadFile("testdata/good/hub.yaml")
	if err != nil {
		t.Fatal(err)
	}
	before := loadGood(t, "hub.yaml", "")
	text := strings.Replace(string(src), "routes:\n", before.Written(), 1)
	after, fs := Load("hub.yaml", []byte(text), Options{Kinds: testKinds()})
	if after == nil {
		var b strings.Builder
		_ = fs.Text(&b)
		t.Fatalf("%s\n%s", b.String(), text)
	}
	if diff := cmp.Diff(listed(before), listed(after)); diff != "" {
		t.Error(diff)
	}
	for i, r := range after.Routes {
		o := before.Routes[i]
		if r.Delivery != o.Delivery || r.Order != o.Order || r.Spool != o.Spool || r.MaxHops != o.MaxHops || (r.Filter == nil) != (o.Filter == nil) ||
			keyOf(r.From) != keyOf(o.From) || keyOf(r.To[0].Addr) != keyOf(o.To[0].Addr) || (r.To[0].Key == nil) != (o.To[0].Key == nil) {
			t.Errorf("%s: %+v\n%+v", r.Name, o, r)
		}
		if r.Repeat != nil && r.Generated() {
			t.Errorf("%s is still generated", r.Name)
		}
	}
}

func TestParts(t *testing.T) {
	bus := loadGood(t, "bus.yaml", "r2")
	for name, want := range map[string][]string{
		"r1": {"news.b1.b2", "news.b2.b1", "orders.b1.b2"},
		"r2": {"news.b2.b3", "news.b3.b2", "orders.b2.b3"},
	} {
		part, err := bus.Part(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range part.Routes {
			got = append(got, r.Name)
		}
		if diff := cmp.Diff(want, slices.Sorted(slices.Values(got))); diff != "" || len(part.Brokers) != 2 || part.Repeater != name {
			t.Errorf("%s: %s %v", name, diff, part.Brokers)
		}
		for n, b := range part.Brokers { // r1 writes nothing to b3, and r2 nothing to b1, but the other does
			if !b.Trusted {
				t.Errorf("%s: %s is not trusted", name, n)
			}
		}
	}
	for name, want := range map[string]string{"": "several repeaters", "r3": `no repeater named "r3": did you mean "r1"?`, "zzz": "(its repeaters: r1, r2)"} {
		if _, err := bus.Part(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	mesh := loadGood(t, "mesh.yaml", "r1")
	for _, r := range mesh.Routes {
		if !r.Shared() || !r.Share || r.Repeat.Hops != 1 || mesh.ServedBy(r) != "r1, r2" {
			t.Errorf("%s: %+v", r.Name, r)
		}
	}
	if len(mesh.Routes) != 6 {
		t.Errorf("%d routes", len(mesh.Routes))
	}
	alone := loadGood(t, "everything.yaml", "")
	if part, err := alone.Part(""); err != nil || part.Repeater != "posthouse" || len(part.Routes) != len(alone.Routes) {
		t.Errorf("%v %v", part, err)
	}
}

func TestEchoes(t *testing.T) {
	hubToSpoke := &Repeat{Name: "p", From: "hub", To: "s1", Hops: 2}
	for _, c := range []struct {
		r    *Repeat
		path string
		want bool
	}{
		{hubToSpoke, "", false},
		{hubToSpoke, "x/p.s2.hub", false},
		{hubToSpoke, "x/p.s1.hub", true},                // it began there
		{hubToSpoke, "x/p.hub.s1", true},                // it ended there
		{hubToSpoke, "x/q.s1.hub", false},               // another entry
		{hubToSpoke, "x/p", false},                      // a written route of that name
		{hubToSpoke, "x/legacy,y/other,z/third", false}, // hops of others do not count
		{hubToSpoke, "x/legacy,x/p.s2.hub", false},
		{hubToSpoke, "x/p.s2.hub,x/p.hub.s3", true}, // as far as it goes
		{&Repeat{Name: "p", From: "b2", To: "b3", Hops: 1}, "x/p.b1.b2", true},
		{&Repeat{Name: "p", From: "b3", To: "b4", Hops: 3}, "x/p.b1.b2,y/p.b2.b3", false},
	} {
		var path []string
		if c.path != "" {
			path = strings.Split(c.path, ",")
		}
		if got := c.r.Echoes(path); got != c.want {
			t.Errorf("%+v after %q: %v", c.r, c.path, got)
		}
	}
}
