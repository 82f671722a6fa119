package repeater_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/mem"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
)

// A full lane stops its source, drops nothing, and goes on by itself.
func TestFullLanePausesAndResumes(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Spool.MaxSize = 64 << 10
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 2000)...)
		d.start()
		d.is("full")
		st := d.lane()
		if waiting, open := d.brokers["a"].Len("in"); open > d.r.Prefetch || waiting+open+int(st.Spooled) != 2000 {
			t.Errorf("source %d, unsettled %d, spooled %d", waiting, open, st.Spooled)
		}
		if st.SpooledBytes > d.r.Spool.MaxSize || !strings.Contains(st.Error, "full") {
			t.Errorf("%d bytes of %d; %s", st.SpooledBytes, st.Limit, st.Error)
		}
		d.back("b")
		if got := d.take("b", "out", 2000); !slices.Equal(numbers(got), upTo(2000)) {
			t.Errorf("order %v", numbers(got))
		}
		d.is("pass-through")
		d.halt()
	})
}

// C14: a full disk stops what is received, draining goes on, and the lane resumes without a restart.
func TestC14_FullDisk(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		d.start()
		d.until("open", func() bool { return d.rep.Status().Spool.State == "ok" })
		d.disk.SetCapacity(d.disk.Used() + 1)
		d.brokers["a"].Put("in", messages(0, 2000)...)
		d.is("full")
		if st := d.rep.Status().Spool; st.State != "full" {
			t.Errorf("journal is %s", st.State)
		}
		d.disk.SetCapacity(0)
		d.spooled(2000)
		d.disk.SetCapacity(d.disk.Used() + 1)
		d.brokers["a"].Put("in", messages(2000, 2000)...)
		d.is("full")
		d.back("b")
		if got := d.take("b", "out", 4000); !slices.Equal(numbers(got), upTo(4000)) {
			t.Errorf("order %v", numbers(got))
		}
		d.is("pass-through")
		d.halt()
	})
}

// C13: after a failed sync nothing of that batch is settled; it is written again to another segment, in its order.
func TestC13_FailedSyncSettlesNothing(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		d.start()
		d.until("open", func() bool { return d.rep.Status().Spool.State == "ok" })
		failed := false
		d.disk.Inject(func(o spooltest.Op) error {
			if o.Kind == spooltest.Sync && !failed {
				failed = true
				return syscall.EIO
			}
			return nil
		})
		d.brokers["a"].Put("in", messages(0, 100)...)
		d.spooled(100)
		if !failed {
			t.Error("void: no sync has failed")
		}
		image := d.disk.Image(0, rand.New(rand.NewPCG(1, 1)))
		d.halt()
		d.opts.SpoolFS = image // the power failed: what was settled is on disk
		d.back("b")
		d.start()
		if got := d.take("b", "out", 100); !slices.Equal(firstArrivals(numbers(got)), upTo(100)) {
			t.Errorf("order %v", numbers(got))
		}
		d.halt()
	})
}

// A journal that takes nothing any more stops the lane; nothing is lost, and a restart goes on.
func TestFailedJournalStopsTheLane(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		d.start()
		d.until("open", func() bool { return d.rep.Status().Spool.State == "ok" })
		d.brokers["a"].Put("in", messages(0, 10)...)
		d.spooled(10)
		d.disk.Inject(func(o spooltest.Op) error {
			if o.Changes() {
				return syscall.EIO
			}
			return nil
		})
		d.brokers["a"].Put("in", messages(10, 10)...)
		d.is("failed")
		if st := d.rep.Status().Spool; st.State != "failed" || st.Error == "" {
			t.Errorf("journal %s: %s", st.State, st.Error)
		}
		d.back("b")
		pass(time.Minute)
		if n, _ := d.brokers["b"].Len("out"); n != 0 {
			t.Errorf("%d messages were sent that cannot be marked", n)
		}
		d.stop()
		if err := <-d.done; err == nil {
			t.Error("Run says nothing of the journal")
		}
		d.disk.Inject(nil)
		d.start()
		if got := d.take("b", "out", 20); !slices.Equal(firstArrivals(numbers(got)), upTo(20)) {
			t.Errorf("order %v", numbers(got))
		}
		d.halt()
	})
}

// A journal that fails while a lane drains stops it too: what cannot be marked is at most one window, and is not sent on.
func TestFailedJournalStopsTheDraining(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		var out bytes.Buffer
		d.opts.Log = slog.New(slog.NewTextHandler(&out, nil))
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 200)...)
		d.start()
		d.spooled(200)
		d.disk.Inject(func(o spooltest.Op) error {
			if o.Changes() {
				return syscall.EIO
			}
			return nil
		})
		d.back("b")
		d.is("failed")
		pass(10 * time.Minute)
		n, _ := d.brokers["b"].Len("out")
		if n == 0 || n > d.r.InFlight {
			t.Errorf("%d messages were sent that cannot be marked, window %d", n, d.r.InFlight)
		}
		if lines := strings.Count(out.String(), "could not note in the spool"); lines > 11 {
			t.Errorf("%d lines in ten minutes", lines)
		}
		d.stop()
		if err := <-d.done; err == nil {
			t.Error("Run says nothing of the journal")
		}
	})
}

// One lane's outage never slows another of another source, and each has its own backlog.
func TestOneLaneDownDoesNotSlowAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		d := &depot{world: w, disk: spooltest.NewDisk()}
		d.r = w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"})
		other := w.route("bills", [2]string{"a", "bills"}, [2]string{"c", "out"})
		w.table.Spool = &routes.Spool{SegmentSize: 32 << 10}
		w.opts.SpoolFS = d.disk
		d.r.Spool.Mode, other.Spool.Mode = routes.SpoolAuto, routes.SpoolAuto
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 300)...)
		d.start()
		d.spooled(300)
		begin := time.Now()
		d.brokers["a"].Put("bills", messages(0, 300)...)
		d.take("c", "out", 300)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the healthy lane took %v of virtual time", took)
		}
		d.halt()
	})
}

// With copy, only the lane whose target is away spools.
func TestCopySpoolsForTheDeadTargetAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		d := &depot{world: w, disk: spooltest.NewDisk()}
		d.r = w.route("orders", [2]string{"a", "in"}, [2]string{"b", "out"}, [2]string{"c", "out"})
		w.table.Spool = &routes.Spool{SegmentSize: 32 << 10}
		w.opts.SpoolFS = d.disk
		d.r.Spool = routes.RouteSpool{Mode: routes.SpoolAuto, SlowAfter: time.Minute}
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 400)...)
		d.start()
		d.take("c", "out", 400)
		d.empty("a", "in")
		if ls := d.rep.Status().Routes[0].Lanes; ls[0].Spooled != 400 || ls[1].SpooledTotal != 0 || ls[1].State != "pass-through" {
			t.Errorf("%+v", ls)
		}
		d.back("b")
		d.take("b", "out", 400)
		d.halt()
	})
}

// Many lanes on a broker that is away share one connect loop, and every one of them spools.
func TestLanesOfOneBrokerShareTheReconnectAndSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b")
		d := &depot{world: w, disk: spooltest.NewDisk()}
		w.table.Spool = &routes.Spool{SegmentSize: 64 << 10}
		w.opts.SpoolFS = d.disk
		for i := range 50 {
			q := fmt.Sprint("q", i)
			w.route(q, [2]string{"a", q}, [2]string{"b", q}).Spool.Mode = routes.SpoolAuto
			d.brokers["a"].Put(q, messages(0, 10)...)
		}
		dials := w.dials("b")
		d.away("b")
		d.start()
		d.until("all spooled", func() bool { return d.rep.Status().Spool != nil && d.rep.Status().Spool.Messages == 500 })
		begin, before := time.Now(), dials.get()
		pass(10 * time.Minute)
		if tries, most := dials.get()-before, int(time.Since(begin)/(20*time.Second)); tries > most {
			t.Errorf("%d connections tried in %v, at most %d expected", tries, time.Since(begin), most)
		}
		d.back("b")
		d.until("all delivered", func() bool { return d.rep.Status().Spool.Messages == 0 })
		d.halt()
	})
}

// A spooled message that the target refuses is set aside and tried again; the others pass it, and nothing is dropped.
func TestRefusedRecordIsSetAside(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 50)...)
		d.start()
		d.spooled(50)
		d.brokers["b"].SetRules("out", mem.Rules{Refuse: func(m *adapters.Message) bool { return number(m) == 7 }})
		d.back("b")
		d.take("b", "out", 49)
		d.is("pass-through")
		if st := d.lane(); st.Held != 1 || st.Spooled != 1 {
			t.Errorf("held %d, spooled %d", st.Held, st.Spooled)
		}
		d.brokers["a"].Put("in", message(50))
		d.take("b", "out", 1)
		d.brokers["b"].SetRules("out", mem.Rules{})
		if got := d.take("b", "out", 1); number(got[0]) != 7 {
			t.Errorf("came %v", numbers(got))
		}
		d.spooled(0)
		d.halt()
	})
}

// A record that is due for another try when the link comes back is read once, not also in its place.
func TestRefusedRecordIsSentOnceAfterALostLink(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Retry.Delay = time.Minute
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 50)...)
		d.start()
		d.spooled(50)
		d.brokers["b"].SetRules("out", mem.Rules{Refuse: func(m *adapters.Message) bool { return number(m) == 7 }})
		d.back("b")
		d.take("b", "out", 49)
		d.away("b")
		d.is("spooling")
		d.brokers["a"].Put("in", messages(50, 100)...)
		d.spooled(101)
		pass(5 * time.Minute) // longer than any pause
		d.brokers["b"].SetRules("out", mem.Rules{})
		d.brokers["b"].Link().SetLatency(300 * time.Millisecond)
		d.back("b")
		d.spooled(0)
		n, _ := d.brokers["b"].Len("out")
		if got := d.take("b", "out", n); n != 101 || number(got[0]) != 7 {
			t.Errorf("%d came: %v", n, numbers(got))
		}
		d.halt()
	})
}

// A lane stops when more than 256 refused messages are set aside, and says so.
func TestTooManyRefusedHoldTheLane(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 1500)...)
		d.start()
		d.spooled(1500)
		d.brokers["b"].SetRules("out", mem.Rules{Refuse: func(*adapters.Message) bool { return true }})
		d.back("b")
		d.is("held")
		d.brokers["b"].SetRules("out", mem.Rules{})
		d.take("b", "out", 1500)
		d.is("pass-through")
		d.halt()
	})
}

func TestDrainRateIsKept(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.DrainRate = 10
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 301)...)
		d.start()
		d.spooled(301)
		d.back("b")
		d.is("draining")
		begin := time.Now()
		d.take("b", "out", 301)
		if took := time.Since(begin); took < 29*time.Second || took > 32*time.Second {
			t.Errorf("301 messages at 10 per second took %v", took)
		}
		d.halt()
	})
}

func TestMaxAgeEndsAMessage(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Spool.MaxAge = time.Hour
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 10)...)
		d.start()
		d.spooled(10)
		pass(59 * time.Minute)
		d.brokers["a"].Put("in", messages(10, 10)...)
		d.spooled(20)
		pass(2 * time.Minute)
		d.back("b")
		if got := d.take("b", "out", 10); number(got[0]) != 10 {
			t.Errorf("came %v", numbers(got))
		}
		d.spooled(0)
		d.halt()
	})
}

func TestRejectWhenFull(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.r.Spool.MaxSize, d.r.Spool.WhenFull = 32<<10, routes.FullReject
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 1000)...)
		d.start()
		d.empty("a", "in")
		st := d.lane()
		aside := len(d.brokers["a"].Aside("in"))
		if aside == 0 || aside+int(st.Spooled) != 1000 {
			t.Errorf("%d put aside, %d spooled", aside, st.Spooled)
		}
		d.back("b")
		d.take("b", "out", int(st.Spooled))
		d.halt()
	})
}

// Every change of state is one line in the log.
func TestStateChangesAreLogged(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		var out bytes.Buffer
		d.opts.Log = slog.New(slog.NewTextHandler(&out, nil))
		d.start()
		d.up()
		d.away("b")
		d.brokers["a"].Put("in", messages(0, 100)...)
		d.spooled(100)
		d.brokers["b"].Link().SetLatency(300 * time.Millisecond)
		d.back("b")
		d.is("pass-through")
		d.halt()
		var changes []string
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, "lane has another state") && strings.Contains(line, "target=b0") {
				_, rest, _ := strings.Cut(line, "from=")
				from, rest, _ := strings.Cut(rest, " to=")
				to, _, _ := strings.Cut(rest, " ")
				changes = append(changes, from+" > "+to)
			}
		}
		want := []string{"starting > pass-through", "pass-through > spooling", "spooling > draining", "draining > pass-through"}
		if !slices.Equal(changes, want) {
			t.Errorf("changes %q\n%s", changes, out.String())
		}
	})
}

// A copied spool belongs to another host until the operator says that it is wanted.
func TestC19_SpoolOfAnotherDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	open := func(name string, accept bool) error {
		table := &routes.Table{Spool: &routes.Spool{Dir: dir, SegmentSize: 1 << 20}}
		rep, err := repeater.New(table, nil, repeater.Options{Name: name, AcceptEpoch: accept})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		done := make(chan error, 1)
		go func() { done <- rep.Run(ctx) }()
		_, _ = rep.Reload(ctx, table, true) // answered when the spool is open
		stop()
		return <-done
	}
	if err := open("one", false); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir+"/two", os.DirFS(dir+"/one")); err != nil {
		t.Fatal(err)
	}
	if err := open("two", false); err == nil || !errors.Is(err, spool.ErrOwner) {
		t.Errorf("a copy: %v", err)
	}
	if err := open("two", true); err != nil {
		t.Errorf("accepted: %v", err)
	}
	if err := open("two", false); err != nil {
		t.Errorf("after it was accepted: %v", err)
	}
}

// A broker that is going down may say that a queue is not there. It is asked again soon, and slowly only when it insists.
func TestMissingIsAskedAgainSoon(t *testing.T) {
	spooling(t, routes.SpoolAuto, func(d *depot) {
		d.opts.Slow = time.Hour
		d.brokers["b"].SetRules("out", mem.Rules{Missing: true})
		d.start()
		d.until("refused", func() bool { return d.lane().Link.State == "blocked" })
		d.brokers["b"].SetRules("out", mem.Rules{})
		begin := time.Now()
		d.up()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("asked again after %v", took)
		}
		d.halt()
	})
}
