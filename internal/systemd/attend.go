package systemd

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// idleEvery is how often the line of status is renewed where no watchdog asks for more.
const idleEvery = 10 * time.Second

// Every is how often Attend looks: three times in the watchdog's time.
func (n *Notifier) Every() time.Duration {
	if w := n.Watchdog(); w > 0 {
		return w / 3
	}
	return idleEvery
}

// Attend calls look until ctx ends, at once and then in each turn of Every, and passes on what it says: a line for people,
// and nil where the daemon makes progress. With an error the watchdog is not fed, and neither while look does not come
// back; the service manager ends the process when that has lasted for the watchdog's time. Changes are logged.
func (n *Notifier) Attend(ctx context.Context, look func() (string, error), log *slog.Logger) {
	if n == nil {
		return
	}
	tick := time.NewTicker(n.Every())
	defer tick.Stop()
	var shown, trouble string
	for ctx.Err() == nil {
		text, stuck := look()
		var err error
		if text != shown {
			err = n.Status(text)
			shown = text
		}
		if stuck == nil && n.Watchdog() > 0 {
			err = errors.Join(err, n.Alive())
		}
		trouble = changed(log, trouble, errors.Join(stuck, err))
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// changed logs err if it says something else than before, and returns what it says.
func changed(log *slog.Logger, before string, err error) string {
	now := ""
	if err != nil {
		now = err.Error()
	}
	switch {
	case now == before:
	case now == "":
		log.Info("watchdog: going on")
	default:
		log.Error("watchdog", "err", err)
	}
	return now
}
