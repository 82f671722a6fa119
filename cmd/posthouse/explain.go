package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
)

func explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "explain CODE | ROUTE | BRIDGE", Short: "Explain a code, or what a route or bridge of the file does", Args: cobra.ExactArgs(1),
		Long: `Explains the code of a finding or an error, the fields of expressions (fields), or with -c FILE what a route or bridge does:
its way, its limits and its spool, defaults included.`,
		Example: "  posthouse explain F002\n  posthouse explain fields\n  posthouse explain -c topology.yaml orders",
	}
	file := configFlag(c)
	repeater := c.Flags().String("repeater", "posthouse", "name of the daemon: its spool is DIR/REPEATER")
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := explain(c, *file, *repeater, args[0])
		if err == nil {
			_, err = fmt.Fprintln(c.OutOrStdout(), strings.TrimSuffix(text, "\n"))
		}
		return err
	}
	return c
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
