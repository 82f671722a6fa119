package routes

import (
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// TestKeyOfAnEnd: two ends have one key when they are the same, and only then.
func TestKeyOfAnEnd(t *testing.T) {
	type o = adapters.Options
	ends := []adapters.Address{
		{Broker: "a", Form: "queue", Name: "q"}, {Broker: "b", Form: "queue", Name: "q"}, {Broker: "a", Form: "topic", Name: "q"}, {Broker: "a", Form: "queue", Name: "p"},
		{Broker: "a", Form: "queue", Name: `q" "x`}, {Broker: `a" "queue" "q`},
	}
	for _, opts := range []o{
		{"x": "1"}, {"x": int64(1)}, {"x": time.Duration(1)}, {"x": true}, {"x": []string{"1"}}, {"x": []string{"1", "2"}}, {"x": []string{"1 2"}},
		{"x": "1", "y": "2"}, {"x": o{"y": "2"}}, {"x": o{}}, {"x": o{}, "y": "2"}, {"x": `1" "y"=string("2`},
	} {
		ends = append(ends, adapters.Address{Broker: "a", Form: "queue", Name: "q", Options: opts})
	}
	seen := map[string]int{}
	for i, a := range ends {
		if j, ok := seen[keyOf(a)]; ok {
			t.Errorf("%+v and %+v have one key", ends[j], a)
		}
		seen[keyOf(a)] = i
		again := a
		again.Options = o{}
		for k, v := range a.Options {
			again.Options[k] = v
		}
		if keyOf(again) != keyOf(a) {
			t.Errorf("%+v has two keys", a)
		}
	}
}
