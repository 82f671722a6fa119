package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// A place is an address on the command line, BROKER/NAME, with the broker's adapter and configuration. close stops
// what had to be started for it.
type place struct {
	adapter adapters.Adapter
	cfg     adapters.Config
	addr    adapters.Address
	close   func()
}

// findPlace looks up BROKER/NAME in the file. form is what --form says, or "" for the broker's usual one.
func findPlace(ctx context.Context, file, arg, form string, source bool, errs io.Writer) (*place, error) {
	ks := kinds()
	table, err := loadTool(file, ks, errs)
	if err != nil {
		return nil, err
	}
	name, rest, ok := strings.Cut(arg, "/")
	b := table.Brokers[name]
	if !ok || rest == "" || b == nil {
		return nil, fail(exitConfig, fmt.Errorf("address %q: write BROKER/NAME with a broker of the file: %s", arg, brokerNames(table)))
	}
	cfg, err := b.Resolve(os.Getenv)
	if err != nil {
		return nil, environment(err)
	}
	p := &place{adapter: ks[b.Kind], cfg: cfg.WithDefaults(), close: func() {}}
	if p.addr, err = p.address(name, rest, form, source); err != nil {
		return nil, err
	}
	return p, p.host(ctx)
}

func brokerNames(t *routes.Table) string {
	var names []string
	for n := range t.Brokers {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (p *place) address(broker, name, form string, source bool) (adapters.Address, error) {
	caps := p.adapter.Capabilities(p.cfg)
	forms := caps.Targets
	if source {
		forms = caps.Sources
	}
	a := adapters.Address{Broker: broker, Form: forms[0], Name: name}
	if form != "" {
		a.Form = adapters.Form(form)
	}
	if !slices.Contains(forms, a.Form) {
		return a, fail(exitConfig, fmt.Errorf("--form %q: broker %s takes %v here", form, broker, forms))
	}
	return a, nil
}

// host starts an embedded broker, if the file has one under this name. One that listens is the daemon's: it is used
// over its port, for its directory belongs to one process.
func (p *place) host(ctx context.Context) error {
	h, ok := p.adapter.(adapters.Host)
	if !ok {
		return nil
	}
	if listen := p.cfg.Options.Sub("embedded").String("listen", ""); listen != "" {
		p.cfg.Addresses = []string{"nats://" + listen}
		p.cfg.Options = maps.Clone(p.cfg.Options)
		delete(p.cfg.Options, "embedded")
		return nil
	}
	c, err := h.Start(ctx, p.cfg)
	if err != nil {
		return fail(exitEnvironment, err)
	}
	if c != nil {
		p.close = func() { _ = c.Close() }
	}
	return nil
}

// completeBrokers offers BROKER/ for every broker of the file.
func completeBrokers(file *string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		table, err := load(*file, kinds(), io.Discard)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for n := range table.Brokers {
			out = append(out, n+"/")
		}
		slices.Sort(out)
		return out, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
}
