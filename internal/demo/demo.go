// Package demo is `posthouse demo`: the main job on embedded brokers, with an outage and a crash, measured from outside.
//
// Three real JetStream servers run inside this process: the hub "paris" and the spokes "berlin" and "madrid", each behind a
// relay that can be cut. The repeater between them is a process of its own, started with a topology file as an operator
// would start it, so that a kill is a real one and the brokers survive it. Messages go in at berlin and are counted at paris
// and, through the hub, at madrid by ordinary NATS clients: by the number and the checksum that each carries, never by the
// repeater's own figures. Those are only shown. Meanwhile a client in paris asks, over a bridge, and one in berlin answers.
//
// What it cannot show is a missing sync: the page cache of the system survives the death of a process. It says nothing
// about a power cut.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Options say how much to send and what to do meanwhile. The zero value is useful.
type Options struct {
	Rate     int           // messages per second, 0 = 1000
	Size     int           // bytes of each body, 0 = 1024, at least 64
	Duration time.Duration // how long messages are sent at least, 0 = 24 s
	Outage   time.Duration // the first outage, 0 = 6 s; the second is half as long
	NoKill   bool          // leave out the second outage and the kill
	Pause    time.Duration // before each act, to read what it is; 0 = none
	Keep     bool          // leave the directory with the topology, the spool, the log and the streams
	Command  []string      // runs the repeater when "-c FILE" follows; nil = this program's run
	Out      io.Writer     // what happens, while it happens; nil = nowhere
}

// Run plays the demo and returns what it measured. It returns early, with an error and what is certain until then, when
// ctx ends; when the repeater ends by itself; and when a broker does not do its part. The process, the servers and,
// without Keep, the directory are gone when it returns.
func Run(ctx context.Context, o Options) (rep Report, err error) {
	o, err = o.withDefaults()
	if err != nil {
		return rep, err
	}
	dir, err := os.MkdirTemp("", "posthouse-demo-")
	if err != nil {
		return rep, fmt.Errorf("make a directory for the demo: %w", err)
	}
	p := &play{o: o, dir: dir, out: screen{w: o.Out, begin: time.Now()}}
	if o.Keep {
		p.rep.Dir = dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	defer func() { err = errors.Join(err, p.strike()) }() // before the directory goes
	if err := p.stage(ctx); err != nil {
		return p.rep, err
	}
	err = p.perform(ctx)
	if ctx.Err() != nil {
		p.out.remark("interrupted: %s sent, %s of them arrived everywhere so far", thousands(p.rep.Sent), thousands(p.rep.Delivered()))
	}
	return p.rep, err
}

func (o Options) withDefaults() (Options, error) {
	o.Rate, o.Size = positive(o.Rate, 1000), max(positive(o.Size, 1024), minSize)
	o.Duration, o.Outage = positive(o.Duration, 24*time.Second), positive(o.Outage, 6*time.Second)
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Command == nil {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find this program, to start it as the repeater: %w", err)
		}
		o.Command = []string{self, "run"}
	}
	return o, nil
}

func positive[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// lineSpeed is that of each site's line in bytes per second: three times what the messages need, so that a backlog
// drains, but not in no time.
func (o Options) lineSpeed() int {
	const headers = 512 // about; those of Posthouse and of the protocol
	return max(3*o.Rate*(o.Size+headers), 256<<10)
}

// asking is how many requests are made in a second.
func (o Options) asking() int { return max(5, o.Rate/50) }

// segment is the size of the spool's files: small, so that some are used up and reclaimed, but a message must fit into a
// quarter of one.
func (o Options) segment() string { return fmt.Sprintf("%dMiB", 1+8*o.Size>>20) }

// cutRoute is the route whose target is cut off.
const cutRoute = "prices.paris.madrid"

// topology is the file that the repeater reads.
func topology(paris, berlin, madrid, admin, dir, segment string) []byte {
	return fmt.Appendf(nil, `version: 1
admin: { listen: %q }
spool: { dir: %q, segment_size: %s }
brokers:
  paris:  { type: nats, site: paris, addresses: [%q] }
  berlin: { type: nats, site: berlin, addresses: [%q] }
  madrid: { type: nats, site: madrid, addresses: [%q], reconnect: { delay: 200ms, max_delay: 1s } }
topology:
  kind: hub-and-spoke
  hub: paris
  spokes: [berlin, madrid]
  path_key: { file: %q }
  repeat:
    - name: prices             # published at one of the three, it comes to all of them
      direction: both
      at:
        paris:  { stream: PRICES, subject: prices }
        berlin: { stream: PRICES, subject: prices }
        madrid: { stream: PRICES, subject: prices }
bridges:
  - name: quotes               # asked in paris, answered in berlin
    request: { from: { broker: paris, stream: SQ1 }, to: { broker: berlin, subject: tq1 } }
    reply: { from: { broker: berlin, stream: SQ2, subject: sq2 }, to: { broker: paris, subject: tq2 } }
    timeout: 5m
`, admin, filepath.Join(dir, "spool"), segment, paris, berlin, madrid, keyFile(dir))
}

// keyFile holds the secret with which repeaters seal the path of a message.
func keyFile(dir string) string { return filepath.Join(dir, "path-key") }
