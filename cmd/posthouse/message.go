package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// messageFlags say which message an operator asks about.
type messageFlags struct {
	file    string
	headers []string
	body    string
}

func (f *messageFlags) register(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVarP(&f.file, "message", "m", "", "a message in YAML or JSON, - for standard input")
	fl.StringArrayVarP(&f.headers, "header", "H", nil, "NAME=VALUE: a header of the message, may be repeated")
	fl.StringVar(&f.body, "body", "", "the body of the message")
}

// given reports whether there is a message.
func (f *messageFlags) given(c *cobra.Command) bool {
	return f.file != "" || len(f.headers) > 0 || c.Flags().Changed("body")
}

// messageHelp says how a message is written.
const messageHelp = `A message is written in YAML or JSON; its keys are the names of the fields of msg (posthouse explain fields), and header,
a map from names to values, and one of text, json and base64 for the body:

  { id: m-1, priority: 7, header: { region: EU }, json: { order: { total: 12.5 } } }

--header and --body add to it.`

// message reads the message; an empty one if there is none. Its error is an exit 2, or 3 if the file cannot be read.
func (f *messageFlags) message(c *cobra.Command) (*adapters.Message, error) {
	m := &adapters.Message{Received: 1}
	if f.file != "" {
		src, err := f.source(c.InOrStdin())
		if err != nil {
			return nil, fail(exitEnvironment, fmt.Errorf("message: %w", err))
		}
		name := f.file
		if name == "-" {
			name = "standard input"
		}
		var findings routes.Findings
		if m, findings = routes.LoadMessage(name, src); m == nil {
			_ = findings.Text(c.ErrOrStderr())
			return nil, fail(exitConfig, errShown)
		}
	}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return nil, fail(exitConfig, fmt.Errorf("--header %q: write NAME=VALUE", h))
		}
		m.Props = append(m.Props, adapters.Prop{Name: name, V: adapters.String(value)})
	}
	if c.Flags().Changed("body") {
		if m.Body.Form != adapters.BodyNone {
			return nil, fail(exitConfig, errors.New("the message has a body: give it in the file or with --body, not both"))
		}
		m.Body = adapters.Body{Form: adapters.BodyText, Data: []byte(f.body)}
	}
	return m, nil
}

func (f *messageFlags) source(in io.Reader) ([]byte, error) {
	if f.file == "-" {
		return io.ReadAll(io.LimitReader(in, mostMessage))
	}
	return readBounded(f.file)
}

// mostMessage is more than a message in a file may have: the rest is not read.
const mostMessage = 8 << 20
