package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hugeTopology is one lane that spools every message, of up to 64 MiB.
const hugeTopology = `version: 1
brokers:
  from: BROKER
  to: BROKER
routes:
  - name: NAME
    from: { broker: from, queue: NAME }
    to: { broker: to, queue: NAME-out }
    spool: { mode: always }
    max_message_size: 64MiB
    prefetch: 1
    prefetch_size: 64MiB
    in_flight: 1
spool: { dir: DIR }
admin: { listen: 127.0.0.1:0 }
`

const (
	hugeMessages = 4
	hugeMemory   = 576 << 20 // of the daemon, at most; 421 MiB were seen, some seven times a message
)

// TestHugeMessages: messages of 64 MiB pass, also a daemon that dies between the spool and the settle, between the send and
// its confirm, and in the middle of the write, in bounded memory.
func TestHugeMessages(t *testing.T) {
	t.Parallel()
	e := sharedArtemis(t)
	o := newOracle(t)
	o.huge = true
	name := fmt.Sprintf("h%x", o.seed)[:12]
	e.create(t, name)
	e.create(t, name+"-out")
	file := filepath.Join(t.TempDir(), "topology.yaml")
	text := strings.NewReplacer("BROKER", e.yaml(e.host()), "NAME", name, "DIR", t.TempDir()).Replace(hugeTopology)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &load{ctx: t.Context(), o: o, lane: name, to: e.sender(t, name)}
	for range hugeMessages {
		l.one()
		l.open.Wait()
	}
	path, err := stormProgram()
	if err != nil {
		t.Fatal(err)
	}
	log := &daemonLog{}
	for _, point := range []string{"C02", "C04", "C08"} {
		d, _ := launch(t, path, log, []string{"POSTHOUSE_FAILPOINT=" + point + ":1"}, "-c", file)
		t.Cleanup(d.kill)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := until(ctx, "it dies at "+point, d.gone); err != nil || log.hit(point) != 1 {
			t.Fatalf("%s: %v\n%s", void, err, log)
		}
	}
	d, admin := launch(t, path, log, nil, "-c", file, "--grace", "20s")
	t.Cleanup(d.kill)
	d.admin = <-admin
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last := o.make(name, hugeMessages-1).headers[headerID]
	ms, err := e.read(ctx, t, name+"-out", func(m message) bool { return m.headers[headerID] == last })
	if err != nil {
		t.Fatalf("%s: %d messages, %v\n%s", stuck, len(ms), err, log)
	}
	h := history{lane: name, window: 1, unsettled: 1, absorbs: true, regives: true, requeues: true, kills: 3, sends: l.outcomes()}
	for _, m := range ms {
		h.arrivals = append(h.arrivals, o.read(name, m))
	}
	h.figures = append(h.figures, atMost("bytes of resident memory", d.metrics(t).sum("process_resident_memory_bytes"), hugeMemory))
	for _, f := range check(&h) {
		t.Error(f)
	}
	t.Logf("%d messages of 64 MiB, %d arrived; %d MiB resident", hugeMessages, len(ms), d.metrics(t).sum("process_resident_memory_bytes")>>20)
	d.stop()
}
