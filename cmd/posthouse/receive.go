package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/nats"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/repeater"
)

// receiveFlags say what to receive and what to do with it.
type receiveFlags struct {
	form, output, client string
	count                int
	timeout              time.Duration
	keep                 bool
}

func receiveCommand() *cobra.Command {
	var f receiveFlags
	c := &cobra.Command{
		Use: "receive BROKER/NAME", Short: "Receive messages from any broker of the file", Args: cobra.ExactArgs(1),
		Long: `Receives messages, prints them, and settles them: they are taken from the source for good unless --keep gives them
back. NAME is a queue (amqp), a topic (kafka) or a stream (nats). Of a Kafka topic or of a stream that keeps its
messages nothing is removed: only the position of --client moves; without --client a stream is read from its beginning.
Exit 1 if fewer came than --count within --timeout, or on Ctrl-C; what was not printed goes back.`,
		Example: `  posthouse receive -c topology.yaml berlin/orders
  posthouse receive -c topology.yaml paris/orders -n 10 --keep -o json
  posthouse receive -c topology.yaml kafka/trades --client audit --timeout 1m`,
	}
	file := configFlag(c)
	f.register(c)
	c.ValidArgsFunction = completeBrokers(file)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := f.check(); err != nil {
			return fail(exitConfig, err)
		}
		p, err := findPlace(c.Context(), *file, args[0], f.form, true, c.ErrOrStderr())
		if err != nil {
			return err
		}
		defer p.close()
		f.prepare(p)
		n, err := p.receive(c.Context(), f, func(d adapters.Delivery) error { return p.print(c.OutOrStdout(), d, f.output) })
		if err != nil {
			return fail(exitRuntime, fmt.Errorf("%d of %d messages received: %w", n, f.count, err))
		}
		return nil
	}
	return c
}

const (
	defaultClient = "posthouse.receive"
	mostKept      = 65535 // what --keep may hold unsettled: the largest prefetch of a route
)

func (f *receiveFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.form, "form", "", "queue, topic or stream (default: the broker's usual one)")
	fl.IntVarP(&f.count, "count", "n", 1, "how many messages")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to wait for them")
	fl.BoolVar(&f.keep, "keep", false, "give them back to the source")
	fl.StringVar(&f.client, "client", "", "name of the subscription, consumer group or durable consumer (default "+defaultClient+
		"; nats: a consumer that is removed afterwards)")
	outputFlag(c, &f.output)
}

func (f *receiveFlags) check() error {
	switch {
	case f.count < 1:
		return fmt.Errorf("--count %d: at least 1", f.count)
	case f.keep && f.count > mostKept:
		return fmt.Errorf("--count %d: at most %d with --keep, for they are all held until the end", f.count, mostKept)
	case f.timeout <= 0:
		return fmt.Errorf("--timeout %v: write a duration such as 10s", f.timeout)
	}
	return nil
}

// prepare sets what p reads as. On NATS a durable consumer would keep its claim on a work queue stream after this
// command, and lock out the route that wants it: without a name given it is a temporary one, of this process only.
func (f *receiveFlags) prepare(p *place) {
	p.cfg.Client, p.cfg.Limits.Prefetch = cmp.Or(f.client, defaultClient), min(f.count, mostKept)
	if f.client == "" && p.addr.Form == adapters.Stream {
		p.cfg.Client = fmt.Sprintf("%s.%d", defaultClient, os.Getpid())
		p.addr.Options = maps.Clone(p.addr.Options)
		if p.addr.Options == nil {
			p.addr.Options = adapters.Options{}
		}
		p.addr.Options[nats.KeyTemporary] = true
	}
}

// receive gives up to count messages to each, and settles each of them after that returned.
func (p *place) receive(parent context.Context, f receiveFlags, each func(adapters.Delivery) error) (n int, err error) {
	ctx, cancel := context.WithTimeoutCause(parent, f.timeout, errLate)
	defer cancel()
	src, err := p.adapter.OpenSource(ctx, p.cfg, p.addr)
	if err != nil {
		return 0, p.whyNot(parent, err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	var held []adapters.Delivery // kept ones go back at the end, or they would come again at once
	defer func() {
		if len(held) > 0 {
			err = errors.Join(err, settle(src, adapters.Released, held))
		}
	}()
	for n < f.count {
		ds, err := src.Receive(ctx, f.count-n)
		if err != nil && len(ds) == 0 {
			return n, why(ctx, err)
		}
		for _, d := range ds {
			if err := each(d); err != nil {
				return n, err
			}
			n++
		}
		if f.keep {
			held = append(held, ds...)
		} else if err := settle(src, adapters.Accepted, ds); err != nil {
			return n, err
		}
	}
	return n, nil
}

// whyNot says more about a source that could not be opened.
func (p *place) whyNot(ctx context.Context, err error) error {
	if p.addr.Form == adapters.Stream && adapters.KindOf(err) == adapters.Denied && strings.Contains(err.Error(), "work queue") {
		return fmt.Errorf("%w; such a stream has one reader: stop the route that reads it, or look at the route's target instead", err)
	}
	return why(ctx, err)
}

var (
	errLate        = errors.New("no more came in time")
	errInterrupted = errors.New("interrupted")
)

// why replaces the words of an error that only says that ctx has ended.
func why(ctx context.Context, err error) error {
	switch context.Cause(ctx) {
	case nil:
		return err
	case errLate:
		return errLate
	}
	return errInterrupted
}

func settle(src adapters.Source, o adapters.Outcome, ds []adapters.Delivery) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return src.Settle(ctx, o, ds...)
}

// shown is a message as JSON.
type shown struct {
	ID          string      `json:"id,omitempty"`
	Corr        string      `json:"correlation_id,omitempty"`
	ReplyTo     string      `json:"reply_to,omitempty"`
	ContentType string      `json:"content_type,omitempty"`
	Key         string      `json:"key,omitempty"`
	Priority    *uint8      `json:"priority,omitempty"`
	Durable     bool        `json:"durable,omitempty"`
	Expires     int64       `json:"expires_ms,omitempty"`
	Attempt     int         `json:"attempt"`
	PosthouseID string      `json:"posthouse_id,omitempty"`
	Path        []string    `json:"path,omitempty"`
	Headers     [][2]string `json:"headers,omitempty"`
	Body        string      `json:"body,omitempty"`
	Base64      string      `json:"body_base64,omitempty"` // where the body is no text
}

func (p *place) show(d adapters.Delivery) shown {
	m, _ := bridge.Restore(d.Message, p.adapter.Capabilities(p.cfg).Headers, bridge.Options{Trusted: true})
	s := shown{
		ID: repeater.ShowID(m.ID), Corr: repeater.ShowID(m.Corr), ReplyTo: m.ReplyTo.Name, ContentType: m.ContentType,
		Key: string(m.Key), Durable: m.Durable == adapters.Yes, Expires: m.Expires, Attempt: d.Attempt,
		PosthouseID: m.Track.ID, Path: m.Track.Path,
	}
	if m.Priority.Set {
		s.Priority = &m.Priority.Value
	}
	for _, h := range m.Props {
		s.Headers = append(s.Headers, [2]string{h.Name, h.V.Text()})
	}
	if utf8.Valid(m.Body.Data) {
		s.Body = string(m.Body.Data)
	} else {
		s.Base64 = base64.StdEncoding.EncodeToString(m.Body.Data)
	}
	return s
}

func (p *place) print(w io.Writer, d adapters.Delivery, output string) error {
	s := p.show(d)
	if output == "json" {
		return printJSON(w, s)
	}
	for _, f := range [][2]string{{"id", s.ID}, {"correlation-id", s.Corr}, {"reply-to", s.ReplyTo},
		{"content-type", s.ContentType}, {"key", s.Key}, {"posthouse-id", s.PosthouseID}} {
		if f[1] != "" {
			fmt.Fprintf(w, "%s: %q\n", f[0], f[1])
		}
	}
	for _, h := range s.Headers {
		fmt.Fprintf(w, "header %s: %q\n", h[0], h[1])
	}
	_, err := fmt.Fprintf(w, "\n%s%s\n---\n", s.Body, s.Base64)
	return err
}
