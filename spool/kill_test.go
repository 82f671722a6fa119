//go:build unix

package spool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// childEnv tells the test binary that it is the process to be killed: directory, number of its life, and which sync fails.
const childEnv = "POSTHOUSE_SPOOL_CHILD"

var killLanes = []string{"a", "b", "c"}

// failingDir is a real directory on a disk that fails one sync.
type failingDir struct {
	*vfs.Dir
	left *atomic.Int64 // syncs until then
}

type failingFile struct {
	vfs.File
	left *atomic.Int64
}

func (d failingDir) Create(name string) (vfs.File, error) {
	f, err := d.Dir.Create(name)
	return failingFile{f, d.left}, err
}

func (d failingDir) Open(name string) (vfs.File, error) {
	f, err := d.Dir.Open(name)
	return failingFile{f, d.left}, err
}

func (f failingFile) Sync() error {
	if f.left.Add(-1) == 0 {
		return syscall.EIO
	}
	return f.File.Sync()
}

// TestKilledChild is the child: it appends and marks done until it is killed, and says what it knows. Alone it does nothing.
func TestKilledChild(t *testing.T) {
	var (
		dir          string
		life, failAt int64
	)
	if _, err := fmt.Sscan(os.Getenv(childEnv), &dir, &life, &failAt); err != nil {
		t.Skip("only as the child of TestSIGKILL")
	}
	d, err := vfs.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	left := new(atomic.Int64)
	left.Store(failAt)
	s, _, err := spool.Open(t.Context(), spool.Options{FS: failingDir{d, left}, SegmentSize: 64 << 10, Pool: 1, Sparse: 1, CopyRate: -1})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var n atomic.Uint64
	n.Store(uint64(life) * 1_000_000)
	for i := range 6 {
		wg.Go(func() {
			if err := appendForEver(t.Context(), lane(t, s, killLanes[i%len(killLanes)]), &n, left); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// appendForEver tells of each record when it is on disk, and of each done mark before it is given.
func appendForEver(ctx context.Context, l *spool.Lane, n *atomic.Uint64, left *atomic.Int64) error {
	for {
		num := n.Add(1)
		seq, err := l.Append(ctx, rec(l.Name(), num, int(num%3)*700))
		if errors.Is(err, spool.ErrFailed) && left.Load() <= 0 {
			fmt.Printf("\n! %s 0 0\n", l.Name()) // the sync that fails was one it cannot do without
			<-ctx.Done()
			return ctx.Err()
		}
		if errors.Is(err, spool.ErrUnknown) || errors.Is(err, spool.ErrFull) && left.Load() <= 0 {
			continue // the sync that fails, of a batch or of a slot to come
		}
		if err != nil {
			return err
		}
		fmt.Printf("\n+ %s %d %d\n", l.Name(), num, seq)
		if num%4 == 0 {
			continue
		}
		fmt.Printf("\n- %s %d %d\n", l.Name(), num, seq)
		if err := l.Done(seq); err != nil {
			return err
		}
	}
}

// heard is what the children have said of one lane.
type heard struct {
	acked  map[uint64]uint64 // number by sequence
	marked map[uint64]bool   // sequences that were to be marked done
}

// TestSIGKILL kills a real process that appends to a real directory, again and again, some with a disk that fails a sync
// before. What it had said to be on disk is there.
func TestSIGKILL(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(t.TempDir(), "journal")
	lanes := make(map[string]*heard)
	for _, name := range killLanes {
		lanes[name] = &heard{make(map[uint64]uint64), make(map[uint64]bool)}
	}
	total := 0
	for life := range 12 {
		failAt := 0
		if life%3 == 2 {
			failAt = 20 + rnd.IntN(20)
		}
		total += killOne(t, fmt.Sprintf("%s %d %d", dir, life+1, failAt), 1+rnd.IntN(300), lanes)
		checkKilled(t, dir, lanes)
	}
	if total < 500 {
		t.Errorf("void: %d records in all", total)
	}
}

// killOne lets a child live until it has said so many lines, and returns how many records it had on disk.
func killOne(t *testing.T, env string, lines int, lanes map[string]*heard) (records int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+env)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for sc := bufio.NewScanner(out); sc.Scan(); {
		var (
			sign, name string
			num, seq   uint64
		)
		if _, err := fmt.Sscanf(sc.Text(), "%1s %s %d %d", &sign, &name, &num, &seq); err != nil || lanes[name] == nil {
			said += sc.Text() + "\n"
			continue
		}
		switch h := lanes[name]; sign {
		case "+":
			h.acked[seq] = num
			records++
		case "-":
			h.marked[seq] = true
		case "!":
			lines = 1
		}
		if lines--; lines == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL || ctx.Err() != nil {
		t.Fatalf("the child was not killed: %v\n%s", err, said)
	}
	return records
}

// checkKilled opens the journal after the death of its process.
func checkKilled(t *testing.T, dir string, lanes map[string]*heard) {
	t.Helper()
	s, report, err := spool.Open(t.Context(), spool.Options{Dir: dir, SegmentSize: 64 << 10, Pool: 1})
	if err != nil {
		t.Fatal(err)
	}
	clean(t, report)
	for name, h := range lanes {
		there := make(map[uint64]bool)
		r := lane(t, s, name).Reader(1)
		for {
			item, wait, err := r.TryNext()
			if err != nil {
				t.Fatal(err)
			}
			if wait != nil {
				break
			}
			num, err := strconv.ParseUint(string(item.ID[len(name)+1:]), 10, 64)
			if want, ok := h.acked[item.Seq]; err != nil || ok && num != want || !same(item.Record, rec(name, num, len(item.Body))) {
				t.Errorf("lane %s: record %d is not what was appended: %q, %v", name, item.Seq, item.ID, err)
			}
			there[item.Seq] = true
		}
		for seq, num := range h.acked {
			if !there[seq] && !h.marked[seq] {
				t.Errorf("lost: lane %s: record %d, sequence %d", name, num, seq)
			}
			if !there[seq] {
				delete(h.acked, seq)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
