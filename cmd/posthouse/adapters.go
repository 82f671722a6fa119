package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/all"
)

// A listed is one type of broker, as JSON.
type listed struct {
	Type    string          `json:"type"`
	Built   bool            `json:"built"` // the program has it
	Sources []adapters.Form `json:"sources"`
	Targets []adapters.Form `json:"targets"`
	Class   string          `json:"class"`             // of a target
	Library string          `json:"library,omitempty"` // where the client library of another vendor was loaded from
	Missing string          `json:"missing,omitempty"` // why it cannot be used, and what to do
}

// A librarian is an adapter that loads a client library of another vendor.
type librarian interface{ Library() (string, error) }

func adaptersCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "adapters", Short: "List the types of brokers that this program can connect to", Args: cobra.NoArgs,
		Long: `Lists the types of brokers: what a route can read and write there, and the class of targets (T-tx, T-window or T-none).
A type that this program was built without is listed and marked. For IBM MQ it also looks for IBM's client library, as the
daemon will, and says where it was found or what to install.`,
		Example: `  posthouse adapters
  posthouse adapters -o json`,
	}
	wordFlag(c, &output, "output", "o", "what to print", "text", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		err := printListed(c.OutOrStdout(), output, listedOf(all.Adapters()))
		if err != nil {
			return fail(exitEnvironment, err)
		}
		return nil
	}
	return c
}

func listedOf(as []adapters.Adapter) (out []listed) {
	for _, a := range as {
		caps := a.Capabilities(adapters.Config{})
		l := listed{Type: a.Kind(), Built: true, Sources: caps.Sources, Targets: caps.Targets, Class: caps.Target.String()}
		if o, ok := a.(adapters.Optional); ok && o.Missing() != nil {
			l.Built, l.Missing = false, o.Missing().Error()
		} else if lib, ok := a.(librarian); ok {
			path, err := lib.Library()
			if l.Library = path; err != nil {
				l.Missing = err.Error()
			}
		}
		out = append(out, l)
	}
	return out
}

func printListed(w io.Writer, output string, ls []listed) error {
	if output == "json" {
		return printJSON(w, answer{Command: "adapters", OK: true, Summary: plural(int64(len(ls)), "type"), Result: ls})
	}
	t := &table{head: []string{"TYPE", "READS", "WRITES", "CLASS", "STATE"}}
	for _, l := range ls {
		t.rows = append(t.rows, []string{l.Type, forms(l.Sources), forms(l.Targets), l.Class, l.state()})
	}
	var b strings.Builder
	t.text(&b)
	for _, l := range ls {
		if l.Missing != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", l.Type, clean(l.Missing))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func forms(fs []adapters.Form) string {
	words := make([]string, len(fs))
	for i, f := range fs {
		words[i] = string(f)
	}
	return strings.Join(words, ", ")
}

func (l listed) state() string {
	switch {
	case !l.Built:
		return "not in this program"
	case l.Missing != "":
		return "client library not found"
	case l.Library != "":
		return "ready, client library " + l.Library
	}
	return "ready"
}
