package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// sendFlags are the fields of a message on the command line.
type sendFlags struct {
	form, file                          string
	id, corr, replyTo, contentType, key string
	headers                             []string
	priority                            int
	ttl                                 time.Duration
	count                               int
	transient                           bool
}

func sendCommand() *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use: "send BROKER/NAME [BODY]", Short: "Send messages to any broker of the file", Args: cobra.RangeArgs(1, 2),
		Long: `Sends a message and returns when the broker has confirmed it. The body is the second argument, or a file with
--file (- for standard input). NAME is a queue (amqp), a topic (kafka) or a subject (nats). The message is durable
unless --transient is given. Exit 1 if not all were confirmed, or on Ctrl-C: the figure printed is what is certain.`,
		Example: `  posthouse send -c topology.yaml paris/orders '{"id": 1}' --header region=EU
  posthouse send -c topology.yaml berlin/orders --file order.json --key 4711 --count 10`,
	}
	file := configFlag(c)
	f.register(c)
	c.ValidArgsFunction = completeBrokers(file)
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := f.message(args[1:], c.InOrStdin())
		var absent *fs.PathError
		if errors.As(err, &absent) {
			return fail(exitEnvironment, fmt.Errorf("body: %w", err))
		}
		if err != nil {
			return fail(exitConfig, err)
		}
		p, err := findPlace(c.Context(), *file, args[0], f.form, false, c.ErrOrStderr())
		if err != nil {
			return err
		}
		defer p.close()
		n, err := p.send(c.Context(), m, f.count)
		fmt.Fprintf(c.OutOrStdout(), "%d of %d messages confirmed by %s\n", n, f.count, p.addr)
		if err != nil {
			return fail(exitRuntime, why(c.Context(), err))
		}
		return nil
	}
	return c
}

func (f *sendFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.form, "form", "", "queue, topic or subject (default: the broker's usual one)")
	fl.StringVar(&f.file, "file", "", "read the body from this file, - for standard input")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "NAME=VALUE, may be repeated")
	fl.StringVar(&f.id, "id", "", "message id")
	fl.StringVar(&f.corr, "correlation-id", "", "correlation id")
	fl.StringVar(&f.replyTo, "reply-to", "", "where the reply is expected")
	fl.StringVar(&f.contentType, "content-type", "", "MIME type of the body")
	fl.StringVar(&f.key, "key", "", "ordering key (Kafka: record key)")
	fl.IntVar(&f.priority, "priority", -1, "0 to 255, -1 = not stated")
	fl.DurationVar(&f.ttl, "ttl", 0, "lifetime, 0 = for ever")
	fl.IntVarP(&f.count, "count", "n", 1, "how many times")
	fl.BoolVar(&f.transient, "transient", false, "not durable")
}

// message builds the canonical message.
func (f *sendFlags) message(args []string, in io.Reader) (*adapters.Message, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	body, err := f.body(args, in)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixMilli()
	m := &adapters.Message{
		ID: adapters.StringID(f.id), Corr: adapters.StringID(f.corr), ReplyTo: adapters.Addr{Name: f.replyTo},
		ContentType: f.contentType, Created: now, Durable: adapters.Yes,
		Body: adapters.Body{Form: adapters.BodyBytes, Data: body},
	}
	if f.transient {
		m.Durable = adapters.No
	}
	if f.key != "" {
		m.Key = []byte(f.key)
	}
	if f.priority >= 0 {
		m.Priority = adapters.Priority{Set: true, Value: uint8(f.priority)}
	}
	if f.ttl > 0 {
		m.Expires = now + f.ttl.Milliseconds()
	}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--header %q: write NAME=VALUE", h)
		}
		m.Props = append(m.Props, adapters.Prop{Name: name, V: adapters.String(value)})
	}
	return m, nil
}

func (f *sendFlags) check() error {
	switch {
	case f.priority < -1 || f.priority > 255:
		return fmt.Errorf("--priority %d: 0 to 255", f.priority)
	case f.count < 1:
		return fmt.Errorf("--count %d: at least 1", f.count)
	case f.ttl < 0:
		return fmt.Errorf("--ttl %v: write a duration such as 10m", f.ttl)
	}
	return nil
}

func (f *sendFlags) body(args []string, in io.Reader) ([]byte, error) {
	switch {
	case f.file != "" && len(args) > 0:
		return nil, fmt.Errorf("give the body as an argument or with --file, not both")
	case f.file == "-":
		return io.ReadAll(in)
	case f.file != "":
		return os.ReadFile(f.file)
	case len(args) > 0:
		return []byte(args[0]), nil
	}
	return nil, fmt.Errorf("no body: give it as the second argument, or with --file FILE (- for standard input)")
}

// send sends m count times and returns how many the broker confirmed.
func (p *place) send(ctx context.Context, m *adapters.Message, count int) (int, error) {
	p.cfg.Client = "posthouse.send"
	fitted, _, err := bridge.Fit(m, p.adapter.Capabilities(p.cfg).Headers, bridge.Options{ReplyTo: m.ReplyTo}, time.Now())
	if err != nil {
		return 0, err
	}
	octx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	t, err := p.adapter.OpenTarget(octx, p.cfg, p.addr)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	sent := 0
	for sent < count {
		batch := make([]*adapters.Message, min(100, count-sent))
		for i := range batch {
			batch[i] = fitted
		}
		n, err := t.Send(ctx, batch)
		if sent += n; err != nil {
			return sent, err
		}
	}
	return sent, nil
}
