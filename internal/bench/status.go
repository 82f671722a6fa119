package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// A laneStatus is what the benchmark needs of a lane in the daemon's status.
type laneStatus struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	Spooled int    `json:"spooled_messages"`
	Total   int    `json:"spooled_total"`
}

func (d *daemon) lanes(ctx context.Context) (map[string]laneStatus, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.admin+"/api/v1/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var st struct {
		Routes []struct {
			Lanes []laneStatus `json:"lanes"`
		} `json:"routes"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		return nil, fmt.Errorf("status of the daemon: %w", err)
	}
	lanes := map[string]laneStatus{}
	for _, r := range st.Routes {
		for _, l := range r.Lanes {
			lanes[l.Name] = l
		}
	}
	return lanes, nil
}

// stall is how long the daemon may make no progress.
const stall = time.Minute

// until waits until a lane is as ok says. It fails when nothing of the lane has changed for too long.
func (d *daemon) until(ctx context.Context, lane, what string, ok func(laneStatus) bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last laneStatus
	changed := time.Now()
	for {
		ls, err := d.lanes(ctx)
		if err != nil {
			return err
		}
		l := ls[lane]
		if ok(l) {
			return nil
		}
		if l != last {
			last, changed = l, time.Now()
		}
		if time.Since(changed) > stall {
			return fmt.Errorf("wait until lane %s %s: nothing has changed for %v: %+v", lane, what, stall, l)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passes and holds are what to wait for.
func passes(l laneStatus) bool { return l.State == "pass-through" && l.Spooled == 0 }

func holds(n int) func(laneStatus) bool {
	return func(l laneStatus) bool { return l.State == "spooling" && l.Spooled >= n }
}

// forgetPeak makes the peak of the resident memory begin at what it is now.
func (d *daemon) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", d.cmd.Process.Pid), []byte("5"), 0)
}

// peak returns the peak in MiB since the last call, and makes it begin anew.
func (d *daemon) peak() (float64, error) {
	mib, err := peakMiB(d.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	return mib, d.forgetPeak()
}

// cpu returns the seconds of processor time that the daemon has used.
func (d *daemon) cpu() (float64, error) {
	u, err := d.usage()
	return u.cpu, err
}

// arrivals counts n messages at the target, by a client of its own, and returns how many arrived per second from the
// first to the last.
func arrivals(ctx context.Context, dst side, n int) (float64, error) {
	return arrivalsIn(ctx, dst, n, func(int) {})
}

// arrivalsIn is arrivals, and calls each with the number of those that have arrived.
func arrivalsIn(ctx context.Context, dst side, n int, each func(count int)) (float64, error) {
	var first, last time.Time
	count := 0
	err := dst.watch(ctx, n, func([]byte) {
		last = time.Now()
		if count++; count == 1 {
			first = last
		}
		each(count)
	})
	if err != nil {
		return 0, fmt.Errorf("%d of %d messages arrived: %w", count, n, err)
	}
	return float64(n-1) / last.Sub(first).Seconds(), nil
}

// plainKiB is a body of 1 KiB, always the same one.
func plainKiB(int) []byte { return body }

var body = bytes.Repeat([]byte("posthouse "), 103)[:1024]
