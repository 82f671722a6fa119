package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/internal/demo"
)

func demoCommand() *cobra.Command {
	o := demo.Options{}
	var output string
	c := &cobra.Command{
		Use: "demo", Short: "Move real messages between two embedded brokers and measure it", Args: cobra.NoArgs,
		Long: `Starts two real JetStream servers inside this process ("two sites") and a repeater with a route between them,
sends messages in at one site, counts them at the other by number and checksum, and prints what was measured.
It needs no broker, no network and no rights. A loss makes it exit 1; Ctrl-C ends it and removes what it made.`,
		Example: "  posthouse demo\n  posthouse demo --messages 100000 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Messages < 1 || o.Size < 64 {
				return fail(exitConfig, errors.New("--messages is at least 1 and --size at least 64"))
			}
			o.Kinds, o.Out = kinds(), c.OutOrStdout()
			if output == "json" {
				o.Out = io.Discard
			}
			rep, err := demo.Run(c.Context(), o)
			if err != nil {
				return fail(exitRuntime, why(c.Context(), err))
			}
			if output == "json" {
				err = printJSON(c.OutOrStdout(), rep)
			} else {
				rep.Text(c.OutOrStdout())
				fmt.Fprintln(c.OutOrStdout(), "\nnext: posthouse check FILE, posthouse check --connect FILE, posthouse run -c FILE (see examples/)")
			}
			if err == nil && !rep.OK() {
				err = errors.New("messages were lost or damaged")
			}
			if err != nil {
				return fail(exitRuntime, err)
			}
			return nil
		},
	}
	c.Flags().IntVar(&o.Messages, "messages", 20_000, "how many messages to send")
	c.Flags().IntVar(&o.Size, "size", 1024, "bytes of each message, at least 64")
	c.Flags().BoolVar(&o.Keep, "keep", false, "keep the directory with the topology and the streams")
	outputFlag(c, &output)
	return c
}

func outputFlag(c *cobra.Command, output *string) {
	wordFlag(c, output, "output", "o", "what to print", "text", "json")
}
