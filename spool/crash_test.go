package spool_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthouse/posthouse/spool/spooltest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this crash seed only")
	seedsFlag = flag.Int("seeds", 0, "number of crash seeds; 0 means as many as fit into some seconds")
)

// tally counts what the seeds of a run have met, so that a run that meets nothing is void.
type tally struct{ seeds, crashes, recoveries, faults, copied atomic.Int64 }

// crashSeed lives several lives with a power failure at a random operation of each, recovery included, or the death of the
// process only. In some the disk fails too, once or twice, before.
func crashSeed(seed uint64, t *tally) error {
	rnd := rand.New(rand.NewPCG(seed, 1))
	w, d := newWorld(1+rnd.IntN(3)), spooltest.NewDisk()
	w.slow = rnd.IntN(2) == 0
	for life := range 4 {
		limit := 12 // in recovery
		if rnd.IntN(3) > 0 {
			limit = 90
		}
		at := rnd.IntN(limit)
		d.CrashAfter(d.Ops() + at)
		faults := 0
		if rnd.IntN(4) == 0 {
			faults = injectFaults(d, rnd)
		}
		if err := w.endure(d, rnd, 40, 2*faults); err != nil {
			return fmt.Errorf("seed %d, life %d: %w", seed, life, err)
		}
		t.count(d, limit)
		if rnd.IntN(6) == 0 {
			d = d.Killed() // only the process has died
		} else {
			d = d.Image([]int{0, 50, 100, 10, 90}[rnd.IntN(5)], rnd)
		}
	}
	if err := w.live(d, rnd, 0); err != nil {
		return fmt.Errorf("seed %d, last life: %w", seed, err)
	}
	t.seeds.Add(1)
	t.faults.Add(int64(w.failed))
	t.copied.Add(int64(w.copied))
	return nil
}

func (t *tally) count(d *spooltest.Disk, limit int) {
	if d.Crashed() {
		t.crashes.Add(1)
		if limit == 12 {
			t.recoveries.Add(1)
		}
	}
}

// injectFaults lets one operation that changes the disk fail, or two in a row: some full, some broken. It returns how many.
func injectFaults(d *spooltest.Disk, rnd *rand.Rand) int {
	at, n, err := d.Ops()+rnd.IntN(90), 1+rnd.IntN(2), diskErrors[rnd.IntN(len(diskErrors))]
	left := n
	d.Inject(func(o spooltest.Op) error {
		if o.N < at || left == 0 || !o.Changes() {
			return nil
		}
		left--
		return err
	})
	return n
}

func TestCrashSeeds(t *testing.T) {
	count := &tally{}
	if *seedFlag != 0 {
		if err := crashSeed(*seedFlag, count); err != nil {
			t.Fatal(err)
		}
		return
	}
	first, began := uint64(time.Now().UnixNano()), time.Now()
	t.Logf("first seed %d", first)
	more := func(n uint64) bool { return n < uint64(*seedsFlag) }
	if *seedsFlag == 0 {
		deadline := began.Add(6 * time.Second)
		more = func(n uint64) bool { return n < 20_000 && time.Now().Before(deadline) }
	}
	if err := crashSeeds(first, more, count); err != nil {
		t.Fatalf("%v\nreplay with -run TestCrashSeeds -seed N", err)
	}
	took := time.Since(began)
	t.Logf("%d seeds in %.1f s: %.0f seeds/s; %d crashes, %d of them aimed at recovery, %d faults of the disk, %d records copied forward", count.seeds.Load(),
		took.Seconds(), float64(count.seeds.Load())/took.Seconds(), count.crashes.Load(), count.recoveries.Load(), count.faults.Load(), count.copied.Load())
	if n := count.seeds.Load(); n < 100 || count.crashes.Load() < 3*n || count.recoveries.Load() < n || count.faults.Load() < n/20 || count.copied.Load() < n/4 {
		t.Fatal("void: too few of them")
	}
}

// crashSeeds runs seeds from first on while more says so and none fails. A seed waits half of the time for its journal's
// writer, so there are more at a time than processors.
func crashSeeds(first uint64, more func(n uint64) bool, count *tally) error {
	var (
		next   atomic.Uint64
		red    atomic.Bool
		mu     sync.Mutex
		failed error
		wg     sync.WaitGroup
	)
	for range 4 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := next.Add(1) - 1; more(n) && !red.Load(); n = next.Add(1) - 1 {
				if err := crashSeed(first+n, count); err != nil {
					red.Store(true)
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failed
}

// TestModel acts at random against the model, mostly writing and reading, with crashes between.
func TestModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		w, d := newWorld(3), spooltest.NewDisk()
		w.weights = modelWeights
		for life := range 3 {
			if err := w.live(d, rnd, 60); err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			if rnd.IntN(2) == 0 { // otherwise it was closed, and goes on
				d = d.Image(rnd.IntN(101), rnd)
			}
		}
	}
}

// script is a fixed life, the same at each call.
func script(w *world, d *spooltest.Disk) error {
	return w.live(d, rand.New(rand.NewPCG(7, 7)), 60)
}

// TestCrashAfterEveryOperation lets the power fail after each operation of a life, with 0, 50 and 100 percent kept, then
// after operations of the recovery, and of the recovery of that.
func TestCrashAfterEveryOperation(t *testing.T) {
	nested := 0
	for n := 0; ; n++ {
		crashed := false
		for _, keep := range []int{0, 50, 100} {
			w, d := newWorld(2), spooltest.NewDisk()
			d.CrashAfter(n)
			if err := script(w, d); err != nil {
				t.Fatalf("operation %d, %d%% kept: %v", n, keep, err)
			}
			crashed = crashed || d.Crashed()
			rnd := rand.New(rand.NewPCG(uint64(n), uint64(keep)))
			img := d.Image(keep, rnd)
			for depth := range 2 {
				img.CrashAfter((n*7 + depth*3) % 19)
				if err := w.live(img, rnd, 0); err != nil {
					t.Fatalf("operation %d, %d%% kept, recovery %d: %v", n, keep, depth, err)
				}
				if img.Crashed() {
					nested++
				}
				img = img.Image(keep, rnd)
			}
			if err := w.live(img, rnd, 20); err != nil {
				t.Fatalf("operation %d, %d%% kept, after recovery: %v", n, keep, err)
			}
		}
		if !crashed {
			if n < 60 || nested < 60 {
				t.Fatalf("void: %d operations, %d crashes in recovery", n, nested)
			}
			return
		}
	}
}

// TestErrorAtEveryOperation lets each operation of a life fail once, with an error of the disk and with a full disk. It is
// reported, the file it hit takes no more work, and nothing that was acknowledged is lost, in that life and in the next,
// which loses what was not synced.
func TestErrorAtEveryOperation(t *testing.T) {
	for _, fault := range diskErrors {
		for n := 0; ; n++ {
			w, d := newWorld(2), spooltest.NewDisk()
			hit, worked := watchFault(d, n, fault)
			if err := w.endure(d, rand.New(rand.NewPCG(7, 7)), 60, 3); err != nil {
				t.Fatalf("%v at operation %d: %v", fault, n, err)
			}
			if hit.Kind == "" {
				if n < 60 {
					t.Fatalf("void: %d operations", n)
				}
				break
			}
			if *worked != "" {
				t.Fatalf("%v at %v: the file was worked on after it: %s", fault, hit, *worked)
			}
			for _, keep := range []int{0, 50, 100} {
				img := d.Image(keep, rand.New(rand.NewPCG(uint64(n), 0)))
				if err := w.clone().live(img, rand.New(rand.NewPCG(1, 1)), 10); err != nil {
					t.Fatalf("%v at operation %d, after a crash, %d%% kept: %v", fault, n, keep, err)
				}
			}
		}
	}
}

// watchFault lets operation n fail. hit is that operation once it was; worked is a later write or sync of the same file,
// if a write or sync was what failed.
func watchFault(d *spooltest.Disk, n int, fault error) (hit *spooltest.Op, worked *string) {
	hit, worked = &spooltest.Op{}, new(string)
	watching := false
	writes := func(k spooltest.Kind) bool { return k == spooltest.Write || k == spooltest.Sync }
	d.Inject(func(o spooltest.Op) error {
		switch {
		case o.N == n:
			*hit, watching = o, writes(o.Kind)
			return fault
		case o.Kind == spooltest.List:
			watching = false // opened again
		case watching && writes(o.Kind) && o.Name == hit.Name:
			*worked = o.String()
		}
		return nil
	})
	return hit, worked
}
