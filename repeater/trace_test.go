package repeater_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// What explain says of a message is what the engine does: the target that a key chooses, and the headers that it gets.
func TestTraceSaysWhereMessagesGo(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		r := d.r
		r.To = nil
		for i := range 3 {
			r.To = append(r.To, routes.Target{Name: fmt.Sprint("t", i), Addr: addr([2]string{"b", fmt.Sprint("out", i)}), Weight: i + 1})
		}
		r.Sharing, r.Order = routes.Sharing{Distribute: routes.Weighted, WhenDown: routes.Wait}, routes.OrderPerKey
		r.Edits = editsOf(t, `set: { dc: '"x" + msg.key' }`)
		want := map[string][]string{} // ids by queue
		var ms []*adapters.Message
		for n := range 60 {
			m := message(n)
			m.Key = fmt.Append(nil, "k", n)
			trace := d.table.Trace(m, func(adapters.Address, []*routes.Route) bool { return true }, routes.TraceOptions{
				Kinds: routes.Kinds{"mem": d.adapter}, Repeater: "test", Now: time.Now()})
			say := trace.Sources[0].Routes[0]
			if len(say.Targets) != 1 || len(say.Set) != 1 || say.Set[0].Value != fmt.Sprintf(`"xk%d"`, n) {
				t.Fatalf("%s", trace.Text())
			}
			want[say.Targets[0].Target] = append(want[say.Targets[0].Target], m.ID.S)
			ms = append(ms, m)
		}
		d.brokers["a"].Put("in", ms...)
		d.start()
		for i := range 3 {
			queue := fmt.Sprint("out", i)
			ids := want["b/"+queue]
			got := map[string]bool{}
			for _, m := range d.take("b", queue, len(ids)) {
				got[m.ID.S] = header(m, "dc") == fmt.Sprintf("s:xk%d", number(m))
			}
			for _, id := range ids {
				if !got[id] {
					t.Errorf("%s is not in %s, or without its header: %v", id, queue, got)
				}
			}
		}
		d.halt()
	})
}
