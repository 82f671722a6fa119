package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/routes"
)

// requestFlags are what is asked, and where the reply is awaited.
type requestFlags struct {
	sendFlags
	output  string
	timeout time.Duration
}

func requestCommand() *cobra.Command {
	var f requestFlags
	c := &cobra.Command{
		Use: "request BRIDGE | BROKER/NAME [BODY]", Short: "Send a request and print its reply and the round trip", Args: cobra.RangeArgs(1, 2),
		Long: `Sends a request as an application would, through a bridge of the file or to BROKER/NAME, waits for the reply and prints
it with the time that the round trip took. The reply is awaited at --reply-to, a name at the same broker; left out, at the
one place of the bridge's reply.to. Other replies that are read there meanwhile go back when the command ends: with
requesters that read the same queue, give it one of its own that the bridge allows. Brokers of type amqp and kafka.
Exit 1 if no reply came within --timeout.`,
		Example: `  posthouse request -c topology.yaml pricing '{"isin": "DE0007164600"}'
  posthouse request -c topology.yaml paris/SQ1 hello --reply-to REPLIES.me -o json`,
	}
	file := configFlag(c)
	f.register(c)
	c.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long to wait for the reply")
	outputFlag(c, &f.output)
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := f.message(args[1:], c.InOrStdin())
		if err == nil && (f.timeout <= 0 || f.count != 1) {
			err = fmt.Errorf("--timeout must be positive, and --count 1")
		}
		if err != nil {
			return fail(exitConfig, err)
		}
		to, back, err := f.ends(c.Context(), *file, args[0], c.ErrOrStderr())
		if err != nil {
			return err
		}
		defer to.close()
		took, d, err := f.ask(c.Context(), to, back, m)
		if err != nil {
			return fail(exitRuntime, why(c.Context(), err))
		}
		if err := back.print(c.OutOrStdout(), d, f.output); err != nil {
			return err
		}
		fmt.Fprintf(c.ErrOrStderr(), "reply from %s after %v\n", args[0], took.Round(10*time.Microsecond))
		return nil
	}
	return c
}

// ends are where the request is sent and where its reply is read.
func (f *requestFlags) ends(ctx context.Context, file, arg string, errs io.Writer) (to, back *place, err error) {
	table, err := quietly(file, errs)
	if err != nil {
		return nil, nil, err
	}
	if i := slices.IndexFunc(table.Bridges, func(b *routes.Bridge) bool { return b.Name == arg }); i >= 0 {
		if arg, err = f.throughBridge(table, table.Bridges[i]); err != nil {
			return nil, nil, fail(exitConfig, err)
		}
	} else if !strings.Contains(arg, "/") {
		return nil, nil, fail(exitConfig, fmt.Errorf("%q is neither a bridge of the file nor BROKER/NAME", clean(arg)))
	}
	broker, _, _ := strings.Cut(arg, "/")
	switch {
	case f.replyTo == "":
		return nil, nil, fail(exitConfig, errors.New("no --reply-to: where at the same broker is the reply awaited?"))
	case table.Brokers[broker] != nil && table.Brokers[broker].Kind == "nats":
		return nil, nil, fail(exitConfig, fmt.Errorf("broker %s is of type nats: a stream has no place for one reader's replies; publish with nats, and the header posthouse-reply-to", broker))
	}
	if to, err = findPlace(ctx, file, arg, f.form, false, errs); err != nil {
		return nil, nil, err
	}
	back, err = findPlace(ctx, file, broker+"/"+f.replyTo, f.form, true, io.Discard)
	return to, back, err
}

// throughBridge is where the requesters of a bridge send to; it fills in where they read.
func (f *requestFlags) throughBridge(t *routes.Table, b *routes.Bridge) (string, error) {
	i := slices.IndexFunc(t.Routes, func(r *routes.Route) bool { return r.Asks == b })
	from := t.Routes[i].From
	if f.replyTo == "" {
		f.replyTo = b.Fixed.Name
	}
	if _, err := b.Destination(adapters.Addr{Name: f.replyTo}); err != nil && b.Table() {
		return "", err
	}
	return from.Broker + "/" + from.Name, nil
}

var errNoReply = errors.New("no reply in time")

// ask sends m and waits for its reply.
func (f *requestFlags) ask(parent context.Context, to, back *place, m *adapters.Message) (time.Duration, adapters.Delivery, error) {
	id := rand.Text()
	if m.ID.IsZero() {
		m.ID = adapters.StringID("request-" + id)
	}
	if m.Corr.IsZero() {
		m.Corr = adapters.StringID("ask-" + id)
	}
	m.ReplyTo.Form = map[adapters.Form]adapters.AddrForm{adapters.Queue: adapters.AddrQueue, adapters.Topic: adapters.AddrTopic}[back.addr.Form]
	if m.Expires == 0 {
		m.Expires = time.Now().Add(f.timeout).UnixMilli()
	}
	ctx, cancel := context.WithTimeoutCause(parent, f.timeout, errNoReply)
	defer cancel()
	back.cfg.Client = "posthouse.request-" + strings.ToLower(id[:8])
	if back.addr.Form == adapters.Topic { // a group of its own: what is there already is nobody's reply
		back.addr.Options = maps.Clone(back.addr.Options)
		if back.addr.Options == nil {
			back.addr.Options = adapters.Options{}
		}
		back.addr.Options["start_at"] = "newest"
	}
	src, err := back.adapter.OpenSource(ctx, back.cfg, back.addr)
	if err != nil {
		return 0, adapters.Delivery{}, why(ctx, err)
	}
	defer src.Close()
	begin := time.Now()
	if _, err := to.send(ctx, m, 1); err != nil {
		return 0, adapters.Delivery{}, why(ctx, err)
	}
	d, err := back.find(ctx, src, m)
	return time.Since(begin), d, err
}

// find reads until the reply to m comes, and gives everything else back.
func (p *place) find(ctx context.Context, src adapters.Source, m *adapters.Message) (found adapters.Delivery, err error) {
	var others []adapters.Delivery
	defer func() {
		if len(others) > 0 {
			err = errors.Join(err, settle(src, adapters.Released, others))
		}
	}()
	caps := p.adapter.Capabilities(p.cfg)
	for {
		ds, err := src.Receive(ctx, 16)
		if err != nil && len(ds) == 0 {
			return found, why(ctx, err)
		}
		for _, d := range ds {
			r, _ := bridge.Restore(d.Message, caps.Headers, bridge.Options{TrustValues: true})
			if found.Message != nil || !r.Corr.Equal(m.ID) && !r.Corr.Equal(m.Corr) {
				others = append(others, d)
				continue
			}
			if found = d; settle(src, adapters.Accepted, []adapters.Delivery{d}) != nil {
				err = errors.New("the reply came, but could not be settled: it comes again")
			}
		}
		if found.Message != nil {
			return found, err
		}
	}
}
