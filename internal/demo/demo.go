// Package demo is `posthouse demo`: the main job on embedded brokers, measured from outside.
//
// Two real JetStream servers run inside the process, "paris" and "berlin". A repeater with a route between them is
// wired from a YAML file exactly as `posthouse run` would do it. Messages go in at paris and are counted at berlin by
// an ordinary NATS client: by the sequence number and checksum that each carries, never by the repeater's own metrics.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// Options say how much to send. The zero value is useful.
type Options struct {
	Messages int       // 0 = 20,000
	Size     int       // bytes of each body, 0 = 1024, at least 64
	Keep     bool      // leave the directory with the topology and the streams
	Out      io.Writer // progress and file names; nil = nowhere
	Kinds    routes.Kinds
}

// A Report is what was measured. Nothing in it is written in advance.
type Report struct {
	Sent       int           `json:"sent"`      // confirmed by the first site
	Delivered  int           `json:"delivered"` // different messages that arrived at the second
	Lost       int           `json:"lost"`
	Duplicated int           `json:"duplicated"`
	OutOfOrder int           `json:"out_of_order"` // first arrivals whose number is below one that came before
	Corrupted  int           `json:"corrupted"`
	Elapsed    time.Duration `json:"elapsed_ns"` // first send to last arrival
	Rate       float64       `json:"messages_per_second"`
	Dir        string        `json:"dir,omitempty"` // with Keep
}

// OK reports whether everything that was sent arrived whole.
func (r Report) OK() bool { return r.Lost == 0 && r.Corrupted == 0 && r.Sent > 0 }

// stall is how long nothing may arrive before what is missing counts as lost.
const stall = 20 * time.Second

// Run plays the demo and returns what it measured. It returns early, with an error, when ctx ends.
func Run(ctx context.Context, o Options) (rep Report, err error) {
	o = o.withDefaults()
	dir, err := os.MkdirTemp("", "posthouse-demo-")
	if err != nil {
		return rep, fmt.Errorf("make a directory for the demo: %w", err)
	}
	if o.Keep {
		rep.Dir = dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	paris, berlin, err := startSites(dir)
	if err != nil {
		return rep, err
	}
	defer paris.stop()
	defer berlin.stop()
	file := filepath.Join(dir, "topology.yaml")
	if err := os.WriteFile(file, topology(paris, berlin), 0o600); err != nil {
		return rep, err
	}
	fmt.Fprintf(o.Out, "two sites, each a JetStream server with its own disk: paris %s, berlin %s\n", paris.url(), berlin.url())
	fmt.Fprintf(o.Out, "topology: %s\n\n%s\n", file, topology(paris, berlin))
	stop, err := startRepeater(ctx, file, o.Kinds)
	if err != nil {
		return rep, err
	}
	return measure(ctx, o, paris, berlin, stop, rep)
}

func (o Options) withDefaults() Options {
	if o.Messages <= 0 {
		o.Messages = 20_000
	}
	if o.Size <= 0 {
		o.Size = 1024
	}
	o.Size = max(o.Size, minSize)
	if o.Out == nil {
		o.Out = io.Discard
	}
	return o
}

func topology(paris, berlin *site) []byte {
	return fmt.Appendf(nil, `version: 1
brokers:
  paris:  { type: nats, site: paris, addresses: [%q] }
  berlin: { type: nats, site: berlin, addresses: [%q] }
routes:
  - name: orders
    from: { broker: paris, stream: ORDERS }
    to: { broker: berlin, subject: orders }
`, paris.url(), berlin.url())
}

// startRepeater reads the file and runs it as `posthouse run` does; stop waits for its orderly end.
func startRepeater(ctx context.Context, file string, kinds routes.Kinds) (stop func() error, err error) {
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	table, findings := routes.Load(file, src, routes.Options{Kinds: kinds})
	if findings.HasErrors() {
		return nil, fmt.Errorf("the demo's own topology is refused: %v", findings)
	}
	rep, err := repeater.New(table, kinds, repeater.Options{Name: "demo", Grace: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- rep.Run(ctx) }()
	return func() error { cancel(); return <-done }, nil
}

// Text writes r as people read it.
func (r Report) Text(w io.Writer) {
	for _, row := range []struct {
		name  string
		value any
	}{
		{"sent", r.Sent}, {"delivered", r.Delivered}, {"lost", r.Lost}, {"duplicated", r.Duplicated},
		{"out of order", r.OutOfOrder}, {"corrupted", r.Corrupted},
		{"time", r.Elapsed.Round(time.Millisecond)}, {"rate", fmt.Sprintf("%.0f messages/s", r.Rate)},
	} {
		fmt.Fprintf(w, "%-14s %v\n", row.name, row.value)
	}
}
