package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
)

func evalCommand() *cobra.Command {
	var f messageFlags
	var output, route, repeater string
	c := &cobra.Command{
		Use: "eval EXPR", Short: "Evaluate an expression over a message", Args: cobra.ExactArgs(1),
		Long: `Evaluates an expression, as a filter, a key or a set of the topology would be, and prints its value as JSON. Under an
expression that is true or false stands what each of its terms says, and what it looked at. Without a message it is
evaluated over an empty one.

` + messageHelp + `

Exit 2 if the expression or the message is wrong, 1 if the expression has no answer for the message.`,
		Example: `  posthouse eval 'msg.header.region in ["EU", "UK"] and msg.priority >= 4' --message order.yaml
  posthouse eval 'float(msg.json.total) * 1.2' --body '{"total": 10}'`,
	}
	f.register(c)
	wordFlag(c, &output, "output", "o", "what to print", "text", "json")
	c.Flags().StringVar(&route, "route", "", "value of route in the expression")
	c.Flags().StringVar(&repeater, "repeater", "posthouse", "value of repeater in the expression")
	c.RunE = func(c *cobra.Command, args []string) error {
		m, err := f.message(c)
		if err != nil {
			return err
		}
		e, findings, err := routes.Eval(args[0], m, route, repeater)
		switch {
		case len(findings) > 0:
			_ = findings.Text(c.ErrOrStderr())
			return finish(c, output, reply{}, fail(exitConfig, errShown))
		case err != nil:
			return finish(c, output, reply{}, fail(exitRuntime, err))
		}
		return finish(c, output, reply{summary: e.Value, result: e, text: func(w io.Writer) error { return evaluated(w, e) }}, nil)
	}
	return c
}

func evaluated(w io.Writer, e routes.Evaluation) error {
	var b strings.Builder
	b.WriteString(e.Value + "\n")
	if e.Terms != nil {
		b.WriteString(e.Terms.Text())
	}
	_, err := fmt.Fprint(w, b.String())
	return err
}
