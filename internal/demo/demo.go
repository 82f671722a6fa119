// Package demo is `posthouse demo`: the main job on embedded brokers, with an outage and a crash, measured from outside.
//
// Two real JetStream servers run inside this process, "paris" and "berlin", each behind a relay that can be cut. The
// repeater between them is a process of its own, started with a topology file as an operator would start it, so that a
// kill is a real one and the brokers survive it. Messages go in at paris and are counted at berlin by an ordinary NATS
// client: by the number and the checksum that each carries, never by the repeater's own figures. Those are only shown.
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
	p := &play{o: o, dir: dir, tally: newTally(), out: screen{w: o.Out, begin: time.Now()}}
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
		p.out.remark("interrupted: %s sent, %s of them arrived so far", thousands(p.rep.Sent), thousands(p.rep.Delivered))
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

// segment is the size of the spool's files: small, so that some are used up and reclaimed, but a message must fit into a
// quarter of one.
func (o Options) segment() string { return fmt.Sprintf("%dMiB", 1+8*o.Size>>20) }

// topology is the file that the repeater reads.
func topology(paris, berlin, admin, dir, segment string) []byte {
	return fmt.Appendf(nil, `version: 1
admin: { listen: %q }
spool: { dir: %q, segment_size: %s }
brokers:
  paris:  { type: nats, site: paris, addresses: [%q] }
  berlin: { type: nats, site: berlin, addresses: [%q], reconnect: { delay: 200ms, max_delay: 1s } }
routes:
  - name: orders
    from: { broker: paris, stream: %s }
    to: { broker: berlin, subject: %s }
`, admin, filepath.Join(dir, "spool"), segment, paris, berlin, streamName, subject)
}
