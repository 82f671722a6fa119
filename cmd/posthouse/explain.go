package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// explainFlags are what explain is asked for.
type explainFlags struct {
	file, repeater, output string
	message                messageFlags
}

func explainCommand() *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use: "explain CODE | ROUTE | BRIDGE | [BROKER/NAME] --message FILE", Short: "Explain a code, what a route or bridge of the file does, or where a message goes",
		Long: `Explains the code of a finding or an error, the fields of expressions (fields), or with -c FILE what a route or bridge
does: its way, its limits and its spool, defaults included.

With a message it says which routes of the file take it, which term of a filter says no, what each looked at, which
headers are changed, where it is sent, and on from there its whole way over the brokers of the file: from one source
(BROKER/NAME, or that of ROUTE), or from every one. Nothing is connected: it is what the file says.

` + messageHelp,
		Example: `  posthouse explain F002
  posthouse explain fields
  posthouse explain -c topology.yaml orders
  posthouse explain -c topology.yaml paris/orders --message order.yaml
  posthouse explain -c topology.yaml -H region=EU --body '{"total": 10}'`,
	}
	file := configFlag(c)
	repeater := repeaterFlag(c, "name of the daemon: its spool is DIR/REPEATER")
	f.message.register(c)
	wordFlag(c, &f.output, "output", "o", "what to print for a message", "text", "json")
	c.Args = func(c *cobra.Command, args []string) error {
		if f.message.given(c) {
			return cobra.MaximumNArgs(1)(c, args)
		}
		return cobra.ExactArgs(1)(c, args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		f.file, f.repeater = *file, *repeater
		if f.message.given(c) {
			r, err := f.trace(c, append(args, "")[0])
			return finish(c, f.output, r, err)
		}
		text, err := explain(c, f.file, f.repeater, args[0])
		if err == nil {
			_, err = fmt.Fprintln(c.OutOrStdout(), strings.TrimSuffix(text, "\n"))
		}
		return err
	}
	return c
}

// trace says where a message goes: from a route's source, from BROKER/NAME, or from every source of the file.
func (f *explainFlags) trace(c *cobra.Command, name string) (reply, error) {
	m, err := f.message.message(c)
	if err != nil {
		return reply{}, err
	}
	t, err := quietly(f.file, c.ErrOrStderr())
	if err != nil {
		return reply{}, err
	}
	from := func(a adapters.Address, rs []*routes.Route) bool {
		return name == "" || a.String() == name || slices.ContainsFunc(rs, func(r *routes.Route) bool { return r.Name == name })
	}
	trace := t.Trace(m, from, routes.TraceOptions{Kinds: kinds(), Repeater: f.repeater, Now: time.Now()})
	if len(trace.Sources) == 0 {
		return reply{}, fail(exitConfig, fmt.Errorf("there is no enabled route %q, nor one that reads from there; sources of the file: %s", clean(name), strings.Join(t.Sources(), ", ")))
	}
	return reply{summary: trace.Summary(), result: trace, text: func(w io.Writer) error {
		_, err := io.WriteString(w, trace.Text())
		return err
	}}, nil
}

func explain(c *cobra.Command, file, repeater, name string) (string, error) {
	for _, look := range []func(string) (string, bool){routes.Explain, explainEnvironment} {
		if text, ok := look(name); ok {
			return text, nil
		}
	}
	if file == "" {
		return "", fail(exitConfig, fmt.Errorf("there is no code %q: codes look like F002 and stand in brackets at the end of a finding; a route needs -c FILE", name))
	}
	t, err := quietly(file, c.ErrOrStderr())
	if err != nil {
		return "", err
	}
	if text, ok := t.ExplainRoute(name, repeater); ok {
		return text, nil
	}
	if text, ok := t.ExplainBridge(name); ok {
		return text, nil
	}
	var names []string
	for _, r := range t.Routes {
		names = append(names, r.Name)
	}
	return "", fail(exitConfig, errors.New("there is no code or route \""+clean(name)+"\"; routes of the file: "+strings.Join(names, ", ")))
}
