package repeater

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
)

// What 10,000 outstanding requests cost does not depend on their bodies, and is less than 10 MiB.
func TestRepliesMemory(t *testing.T) {
	const n, most = 10_000, 10 << 20
	b := &routes.Bridge{Name: "b", Mode: routes.ReplyRewrite, Timeout: time.Hour, MaxOutstanding: n}
	table := newReplies(b, newClock(time.Now, slog.New(slog.DiscardHandler)), newBridgeMetrics(prometheus.NewRegistry()).of("b"), slog.New(slog.DiscardHandler))
	ids := newIdentity().lane()
	before := heap()
	for i := range n {
		raw := make([]byte, 64<<10) // a message is often one piece of memory
		copy(raw, fmt.Sprintf("%036d", i))
		m := &adapters.Message{
			ID: adapters.ID{Form: adapters.IDBytes, B: raw[:36]}, Corr: adapters.StringID(fmt.Sprint("correlation-id-of-a-usual-length-", i)),
			ReplyTo: adapters.Addr{Name: fmt.Sprintf("3ba76f5d-18d6-440c-a859-%012d", i), Form: adapters.AddrTempQueue},
			Body:    adapters.Body{Form: adapters.BodyBytes, Data: raw},
		}
		table.note(ids.next(), bridge.QuestionOf(m), time.Now())
	}
	if used := heap() - before; used > most {
		t.Errorf("%d outstanding requests take %d bytes", n, used)
	} else {
		t.Logf("%d bytes each", used/n)
	}
	if table.free() != 0 {
		t.Error("the table is not full")
	}
	runtime.KeepAlive(table)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
