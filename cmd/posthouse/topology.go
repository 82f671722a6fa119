package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/routes/picture"
)

func topologyCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "topology", Short: "Show the routes of a file, the generated ones too, or draw them", Args: cobra.NoArgs,
		Long: `Shows all routes of a file: those that topology generates, then those that are written, and which repeater serves each.
Offline: it opens no socket. With --repeater it shows what that one runs. -o dot, mermaid and svg draw the brokers and
what goes between them; -o yaml prints the generated routes as one could write them, with override: true.`,
		Example: `  posthouse topology -c topology.yaml
  posthouse topology -c topology.yaml -o svg > topology.svg
  posthouse topology -c topology.yaml -o dot | dot -Tpng > topology.png
  posthouse topology -c topology.yaml --repeater paris -o json`,
	}
	file, name := configFlag(c), c.Flags().String("repeater", "", "only what this repeater runs")
	wordFlag(c, &output, "output", "o", "what to print", "table", "dot", "mermaid", "svg", "json", "yaml")
	c.RunE = func(c *cobra.Command, _ []string) error {
		t, err := loadTool(*file, kinds(), c.ErrOrStderr())
		if err == nil && *name != "" {
			t, err = part(t, *name)
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(c.OutOrStdout(), drawn(t, output)); err != nil {
			return fail(exitEnvironment, err)
		}
		return nil
	}
	return c
}

// drawn is the table in one of the forms.
func drawn(t *routes.Table, form string) string {
	var b strings.Builder
	switch form {
	case "dot":
		b.WriteString(picture.Of(t).Dot())
	case "mermaid":
		b.WriteString(picture.Of(t).Mermaid())
	case "svg":
		b.WriteString(picture.Of(t).SVG(nil))
	case "yaml":
		b.WriteString(t.Written())
	case "json":
		g := picture.Of(t)
		_ = printJSON(&b, answer{Command: "topology", OK: true, Result: g, // to memory: cannot fail
			Summary: fmt.Sprintf("%s, %s", plural(int64(len(g.Brokers)), "broker"), plural(int64(len(g.Routes)), "route"))})
	default:
		routeTable(picture.Of(t)).text(&b)
	}
	return b.String()
}

// routeTable lists the routes as people read them.
func routeTable(g picture.Graph) *table {
	t := &table{head: []string{"ROUTE", "FROM", "TO", "KIND", "SERVED BY"}}
	for _, r := range g.Routes {
		kind := r.Kind
		if !r.Enabled {
			kind += ", off"
		}
		t.rows = append(t.rows, []string{r.Name, clean(r.From), clean(r.Text), kind, strings.Join(r.ServedBy, ", ")})
	}
	return t
}
