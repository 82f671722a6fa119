package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthouse/posthouse/internal/systemd"
	"github.com/posthouse/posthouse/repeater"
)

// A manager is the service manager of a daemon, if there is one.
type manager struct {
	to  *systemd.Notifier
	log *slog.Logger
}

// tell logs what could not be told: a daemon does not end because nobody listens.
func (m manager) tell(err error) {
	if err != nil {
		m.log.Warn("service manager", "err", err)
	}
}

// reloading is Trying of the keeper.
func (m manager) reloading() func() {
	m.tell(m.to.Reloading())
	return func() { m.tell(m.to.Ready()) }
}

// attend says how the daemon is until what it returns is called. STOPPING comes when ctx ends; the watchdog is fed until
// the end, for a stop may wait for the journal too.
func (m manager) attend(ctx context.Context, status func() repeater.Status) (stop func()) {
	actx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		m.to.Attend(actx, func() (string, error) {
			s := status()
			return summary(s), stuck(s.Spool, m.to.Every())
		}, m.log)
	})
	said := make(chan struct{})
	silence := context.AfterFunc(ctx, func() { m.tell(m.to.Stopping()); close(said) })
	return func() {
		if !silence() {
			<-said
		}
		cancel()
		wg.Wait()
		_ = m.to.Close() // a socket that nobody answers on
	}
}

// stuck says why the journal makes no progress: its writer has been at one thing for longer than limit, or has failed. A
// new process recovers from both what the disk still has.
func stuck(s *repeater.SpoolStatus, limit time.Duration) error {
	switch {
	case s == nil:
		return nil
	case s.State == "failed":
		return fmt.Errorf("the journal has failed: %s", s.Error)
	case s.Busy > limit.Seconds():
		return errors.New("the journal's writer makes no progress: its disk does not answer")
	}
	return nil
}

// summary is the line of systemctl status.
func summary(s repeater.Status) string {
	states := map[string]int{}
	for _, r := range s.Routes {
		states[r.State]++
	}
	var words []string
	for _, w := range slices.Sorted(maps.Keys(states)) {
		words = append(words, fmt.Sprintf("%d %s", states[w], w))
	}
	text := fmt.Sprintf("%s: %s", plural(int64(len(s.Routes)), "route"), strings.Join(words, ", "))
	if s.Spool != nil {
		text += fmt.Sprintf("; spool %s, %s", s.Spool.State, messages(int64(s.Spool.Messages)))
	}
	return text
}
