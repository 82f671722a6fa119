package faults

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// syncFails: the n-th sync of a daemon fails. It settles nothing of that batch, and goes on in another segment; where that
// was the first sync of a segment, it takes nothing more until an operator has started it again.
func (s *storm) syncFails(e event) { s.diskFault("sync", fmt.Sprintf("sync=EIO:%d", 10+e.n)) }

// diskFull: some writes of a daemon find no room. It goes on by itself when there is some again.
func (s *storm) diskFull(e event) {
	s.diskFault("write", fmt.Sprintf("write=ENOSPC:%d-%d", 20+e.n, 20+e.n+e.n/8))
}

// diskFault runs a daemon on a disk with a fault until it has met it, and goes on.
func (s *storm) diskFault(name, fault string) {
	s.t.Helper()
	s.kill()
	before := s.log.hit(name)
	s.launch("POSTHOUSE_FAILPOINT=" + fault)
	s.running()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	err := until(ctx, "the disk fails", func() bool { return s.log.hit(name) > before || s.d.gone() })
	switch {
	case s.d.gone():
		s.ended()
	case err != nil:
		s.void("%v", err)
	}
	s.progressOr(func(st status) bool { return name == "sync" && st.Spool != nil && st.Spool.State == "failed" })
	if name == "sync" {
		s.kill()
	}
}

// second: another daemon on the same spool is refused, with exit code 3, and nothing happens to the first.
func (s *storm) second(event) {
	s.running()
	s.refused("in use")
}

// refused starts another daemon that must say why it does not run.
func (s *storm) refused(why string) {
	s.t.Helper()
	path, err := stormProgram()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "run", "-c", s.file)
	cmd.Env = append(os.Environ(), "PW="+broker.Password)
	out, _ := cmd.CombinedOutput() // the exit code says it
	if code := cmd.ProcessState.ExitCode(); code != 3 || !bytes.Contains(out, []byte(why)) {
		s.t.Errorf("a second daemon on the spool ended with exit code %d:\n%s", code, out)
	}
}

// clock: a daemon whose clock is wrong by a year takes over, and another one whose clock is right. To an exactly-once lane
// the outage was longer than its target remembers; an operator who knows better has it sent again.
func (s *storm) clock(e event) {
	s.kill()
	s.asked = true // until the end of the round: the wrong hour stands in records
	year := 365 * 24 * time.Hour
	if e.n%2 == 0 {
		year = -year
	}
	s.launch("POSTHOUSE_FAILPOINT_CLOCK=" + year.String())
	s.running()
	s.progress()
	s.kill()
	s.running()
	s.progress()
}

// resolve tells every lane that is held to send again.
func (s *storm) resolve(st status) {
	s.t.Helper()
	for _, r := range st.Routes {
		for _, l := range append(r.Lanes, *cmp.Or(r.Dead, &laneStatus{})) {
			if l.State != "held" {
				continue
			}
			path, _ := stormProgram() // it runs
			args := []string{"resolve", "--admin", s.d.admin, l.Name, "resend", "--reason", "the clock was wrong"}
			if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
				s.t.Logf("resolve %s: %v\n%s", l.Name, err, out) // it may be held no more
			}
			s.faults["resolved by an operator"]++
		}
	}
}

// restarts: daemons are stopped in order, one after the other, under load.
func (s *storm) restarts(event) {
	for range 3 {
		s.running()
		s.d.stop()
		s.d = nil
	}
}

// transacts reports whether a lane of the round sends transactions.
func (s *storm) transacts() bool {
	return slices.ContainsFunc(s.lanes, func(l *stormLane) bool { return l.kind.once && !l.to.end.absorbs() })
}

// restored: the spool is replaced by a copy of it. A daemon refuses it until it is told that the original is gone.
func (s *storm) restored(event) {
	s.t.Helper()
	s.running()
	s.progress()
	if s.transacts() { // what another sender has left open is hidden, with all behind it, until the broker gives it up after a minute
		s.d.stop()
		s.d = nil
	}
	s.kill()
	copied := s.spool + ".copy"
	if err := os.CopyFS(copied, os.DirFS(s.spool)); err != nil {
		s.t.Fatal(err)
	}
	if err := os.RemoveAll(s.spool); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(copied, s.spool); err != nil {
		s.t.Fatal(err)
	}
	s.refused("copy")
	for _, l := range s.lanes { // C19: to a target that goes by positions the copy is another sender, and says so
		l.h.absorbs = l.h.absorbs && l.to.end.absorbs()
	}
	s.copied = true // the operator says so, until a daemon has done something with it
	s.running()
	s.progress()
	s.copied = false
}
