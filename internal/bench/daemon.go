package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A daemon is a `posthouse run` in a process of its own, so that its memory and CPU are its own.
type daemon struct {
	cmd   *exec.Cmd
	admin string
}

// A usage is what a daemon has used so far.
type usage struct {
	forwarded, mallocs float64
	cpu                float64 // seconds, user and system
	peak               float64 // MiB, resident
}

func (b *bench) daemon(ctx context.Context, topology string) (*daemon, error) {
	file := filepath.Join(b.dir, "topology.yaml")
	if err := os.WriteFile(file, []byte(topology+"\nadmin: { listen: 127.0.0.1:0 }\n"), 0o600); err != nil {
		return nil, err
	}
	d := &daemon{cmd: exec.CommandContext(ctx, b.binary, "run", "-c", file)}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	sc := bufio.NewScanner(stderr)
	var log bytes.Buffer
	for d.admin == "" && sc.Scan() {
		fmt.Fprintln(&log, sc.Text())
		var line struct{ Admin string }
		_ = json.Unmarshal(sc.Bytes(), &line) // other lines have no admin
		d.admin = line.Admin
	}
	if d.admin == "" {
		return nil, fmt.Errorf("the daemon did not start:\n%s", &log)
	}
	go func() {
		for sc.Scan() {
			if strings.Contains(sc.Text(), `"WARN"`) && !b.spool || strings.Contains(sc.Text(), `"ERROR"`) { // outages are what a spool is for
				fmt.Fprintln(os.Stderr, sc.Text())
			}
		}
	}()
	return d, nil
}

func (d *daemon) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return d.cmd.Wait()
}

// usage reads /metrics and /proc.
func (d *daemon) usage() (u usage, err error) {
	resp, err := http.Get("http://" + d.admin + "/metrics")
	if err != nil {
		return u, err
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		name, value, _ := strings.Cut(sc.Text(), " ")
		v, _ := strconv.ParseFloat(value, 64)
		switch {
		case strings.HasPrefix(name, "posthouse_route_forwarded_messages_total"):
			u.forwarded += v
		case name == "go_memstats_mallocs_total":
			u.mallocs = v
		case name == "process_cpu_seconds_total":
			u.cpu = v
		}
	}
	u.peak, err = peakMiB(d.cmd.Process.Pid)
	return u, errors.Join(err, sc.Err())
}

func peakMiB(pid int) (float64, error) {
	src, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(src)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmHWM")
}

// A figure is what one throughput run gave.
type figure struct {
	rate, cpu, allocs, peak float64
}

// forward waits until n messages are forwarded and measures from the first sight of one to the last.
func (d *daemon) forward(ctx context.Context, n int) (figure, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(5 * time.Minute)
	var first usage
	var begin time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return figure{}, ctx.Err()
		case <-limit:
			return figure{}, fmt.Errorf("only %v of %d messages in five minutes", first.forwarded, n)
		}
		u, err := d.usage()
		if err != nil {
			return figure{}, err
		}
		if begin.IsZero() && u.forwarded > 0 {
			begin, first = time.Now(), u
		}
		if u.forwarded >= float64(n) {
			k := u.forwarded - first.forwarded
			return figure{
				rate: k / time.Since(begin).Seconds(), cpu: (u.cpu - first.cpu) / k * 1e6,
				allocs: (u.mallocs - first.mallocs) / k, peak: u.peak,
			}, nil
		}
	}
}
