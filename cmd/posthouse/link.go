package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/repeater/admin"
)

func linkCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "link", Short: "Look at the connections of the running daemon, and make them anew",
		Long:    "Looks at what the running daemon is connected to: ls by lane, brokers by broker. reconnect begins the routes of a broker\nagain.",
		Example: "  posthouse link ls\n  posthouse link brokers\n  posthouse link reconnect paris --reason \"certificate renewed\"",
	}
	return group(c, linkLsCommand(), linkBrokersCommand(), linkReconnectCommand())
}

// A linkDoc is the connection of a lane to its target.
type linkDoc struct {
	Lane string `json:"lane"`
	endView
}

func linkLsCommand() *cobra.Command {
	var f daemonFlags
	c := &cobra.Command{Use: "ls", Short: "List the connections of all lanes to their targets", Args: cobra.NoArgs,
		Long: "Lists the connections of lanes, each with its last error, kept after recovery.", Example: "  posthouse link ls\n  posthouse link ls -c topology.yaml -o json"}
	f.register(c, "text", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			return passed(ctx, addr, "/api/v1/links", linksSummary, func(ls *[]linkDoc) string { return linksText(*ls, time.Now()) })
		})
	}
	return c
}

func linksSummary(ls *[]linkDoc) string {
	up := 0
	for _, l := range *ls {
		if l.State == "up" {
			up++
		}
	}
	return fmt.Sprintf("%d of %s up", up, plural(int64(len(*ls)), "link"))
}

func linksText(ls []linkDoc, now time.Time) string {
	t := &table{head: []string{"ROUTE/TARGET", "STATE", "SINCE", "ADDRESS", "LAST ERROR"}, numbers: map[int]bool{2: true}}
	for _, l := range ls {
		t.rows = append(t.rows, []string{clean(l.Lane), l.State, ageText(l.Since, now), cut(clean(l.Address), addressWidth), clean(l.Error)})
	}
	t.fit(screenWidth)
	var b strings.Builder
	t.text(&b)
	return b.String()
}

// addressWidth is what an address gets at most in a table of 80 characters.
const addressWidth = 24

func linkBrokersCommand() *cobra.Command {
	var f daemonFlags
	c := &cobra.Command{Use: "brokers", Short: "List the brokers of the file, and which ends at them are up", Args: cobra.NoArgs,
		Long:    "Lists the brokers with the worst state of their ends, and how many of their sources and targets are up.",
		Example: "  posthouse link brokers\n  posthouse link brokers -c topology.yaml -o json"}
	f.register(c, "text", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			return passed(ctx, addr, "/api/v1/brokers", func(bs *[]admin.Broker) string { return plural(int64(len(*bs)), "broker") }, brokersText)
		})
	}
	return c
}

func brokersText(bs *[]admin.Broker) string {
	t := &table{head: []string{"BROKER", "TYPE", "SITE", "STATE", "SOURCES", "TARGETS", "LAST ERROR"}, numbers: map[int]bool{4: true, 5: true}}
	for _, x := range *bs {
		site := "-"
		if x.Site != "" {
			site = cut(clean(x.Site), nameWidth)
		}
		t.rows = append(t.rows, []string{clean(x.Name), clean(x.Kind), site, x.State, fmt.Sprintf("%d/%d", x.SourcesUp, x.Sources), fmt.Sprintf("%d/%d", x.TargetsUp, x.Targets), clean(x.Error)})
	}
	t.fit(screenWidth)
	var b strings.Builder
	t.text(&b)
	return b.String()
}

func linkReconnectCommand() *cobra.Command {
	var f steerFlags
	c := &cobra.Command{
		Use: "reconnect BROKER", Short: "End all routes that have an end at a broker, as at a stop, and begin them again", Args: cobra.ExactArgs(1),
		Long: `Ends all routes that have an end at a broker, as at a stop, and begins them again: over new connections, with secrets
and certificates read anew. Nothing is lost or doubled by it. It may take the daemon's grace period.
Exit 1 if the daemon refuses, 2 for usage, 3 if none answers.`,
		Example: "  posthouse link reconnect paris --dry-run\n  posthouse link reconnect paris --reason \"certificate renewed\"",
	}
	f.register(c)
	c.ValidArgsFunction = f.complete(endNames)
	c.RunE = func(c *cobra.Command, args []string) error {
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			var done admin.Reconnected
			if err := f.tell(ctx, addr, "/api/v1/brokers/"+url.PathEscape(args[0])+"/reconnect", &done); err != nil {
				return reply{}, err
			}
			return reply{summary: reconnectedText(&done), result: done}, nil
		})
	}
	return c
}

func reconnectedText(d *admin.Reconnected) string {
	names := clean(strings.Join(d.Begun, ", "))
	switch {
	case len(d.Begun) == 0:
		return fmt.Sprintf("no route has an end at %s", clean(d.Broker))
	case d.DryRun:
		return "dry run: would end and begin again " + names
	}
	return "ended and begun again: " + names
}
