package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/internal/demo"
)

func demoCommand() *cobra.Command {
	o := demo.Options{}
	var output string
	var noPause bool
	c := &cobra.Command{
		Use: "demo", Short: "Show an outage and a crash between three embedded brokers, and measure them", Args: cobra.NoArgs,
		Long: `Starts three real JetStream servers inside this process, a hub and two spokes, and a repeater with a spool as a process
of its own. Numbered messages go in at one spoke and come to the hub and, through it, to the other spoke; meanwhile requests
go from the hub to a spoke and their replies come back. It cuts the line to the other spoke while messages keep coming,
restores it, cuts it again, kills the repeater with SIGKILL while the backlog drains, and starts it again. The messages are
counted at both sites by number and checksum. It needs no broker, no network and no rights, and takes about half a minute.
A lost or damaged message, or a request without a reply, makes it exit 1; duplicates are shown. Ctrl-C ends it and removes
what it made. On a terminal it waits two seconds before each outage, to be read; --no-pause leaves that out.
It does not show what a power cut does: the system's page cache survives the death of a process.`,
		Example: "  posthouse demo\n  posthouse demo --rate 3000 --outage 20s --keep\n  posthouse demo --no-kill -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkDemo(o); err != nil {
				return fail(exitConfig, err)
			}
			if !noPause && output != "json" && terminal(c.OutOrStdout()) {
				o.Pause = 2 * time.Second
			}
			return runDemo(c, o, output)
		},
	}
	c.Flags().IntVar(&o.Rate, "rate", 1000, "messages per second, 1 to 20000")
	c.Flags().IntVar(&o.Size, "size", 1024, "bytes of each message, 64 to 524288")
	c.Flags().DurationVar(&o.Duration, "duration", 24*time.Second, "how long messages are sent; longer if what happens meanwhile takes longer")
	c.Flags().DurationVar(&o.Outage, "outage", 6*time.Second, "how long the line is cut, at least 100ms; half as long the second time")
	c.Flags().BoolVar(&o.NoKill, "no-kill", false, "leave out the second outage and the kill")
	c.Flags().BoolVar(&noPause, "no-pause", false, "do not wait before the outages, on a terminal either")
	c.Flags().BoolVar(&o.Keep, "keep", false, "keep the directory with the topology, the spool, the log and the streams")
	outputFlag(c, &output)
	return c
}

func checkDemo(o demo.Options) error {
	switch {
	case o.Rate < 1 || o.Rate > 20_000:
		return fmt.Errorf("--rate %d: write 1 to 20000 messages per second", o.Rate)
	case o.Size < 64 || o.Size > 512<<10:
		return fmt.Errorf("--size %d: write 64 to 524288 bytes", o.Size)
	case o.Duration < time.Second || o.Duration > time.Hour:
		return fmt.Errorf("--duration %v: write 1s to 1h", o.Duration)
	case o.Outage < 100*time.Millisecond || o.Outage > time.Hour:
		return fmt.Errorf("--outage %v: write 100ms to 1h", o.Outage)
	}
	return nil
}

func runDemo(c *cobra.Command, o demo.Options, output string) error {
	o.Out = c.OutOrStdout()
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
		fmt.Fprintln(c.OutOrStdout())
		rep.Text(c.OutOrStdout())
		if o.Keep {
			fmt.Fprintf(c.OutOrStdout(), "\nkept: %s with topology.yaml, spool, posthouse.log and the streams\n", rep.Dir)
		}
		fmt.Fprintln(c.OutOrStdout(), demoEnd)
	}
	if err == nil && !rep.OK() {
		err = errors.New("messages were lost or damaged, or requests not answered")
	}
	if err != nil {
		return fail(exitRuntime, err)
	}
	return nil
}

const demoEnd = `
A kill shows what a crash of the process does. It cannot show a power cut, which also takes the system's page cache.

next: posthouse check FILE             every mistake in a topology of yours, offline (see examples/)
      posthouse check --connect FILE   and sign in to every broker
      posthouse run -c FILE            run it
      posthouse status -c FILE         its lanes, and what they have spooled`

func outputFlag(c *cobra.Command, output *string) {
	wordFlag(c, output, "output", "o", "what to print", "text", "json")
}
