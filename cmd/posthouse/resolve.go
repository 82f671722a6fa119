package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
)

func resolveCommand() *cobra.Command {
	var f daemonFlags
	var reason string
	c := &cobra.Command{
		Use: "resolve ROUTE/TARGET ACTION --reason TEXT", Short: "Decide about what a lane of the running daemon holds", Args: cobra.ExactArgs(2),
		Long: `Decides about the messages that a lane of the running daemon holds; posthouse status shows which, and why. ACTION is

  retry        the cause is mended: try them now, not after the pause
  dead-letter  set them aside, with the reason, and go on with those behind them
  sent         they may have arrived, and they have: forget them
  resend       they may have arrived, and they have not: send them

retry also lets a lane go on that an alarm has paused.
retry and dead-letter are for messages that the target refuses; sent and resend for those of a route with delivery:
exactly-once that nobody can find out about. The decision, with its reason, goes into the daemon's log, at level warn.
It is taken at once and carried out in the lane's own time: status shows what came of it.
Exit 1 if the daemon refuses (no such lane, nothing held), 2 for usage, 3 if no daemon answers.`,
		Example: `  posthouse resolve orders/kafka retry --reason "quota raised, ticket 4711"
  posthouse resolve -c topology.yaml orders/kafka dead-letter --reason "asked the sender: a test message"
  posthouse resolve --admin 127.0.0.1:7421 orders/kafka retry --reason "mended" -o json`,
	}
	f.register(c, "text", "json")
	c.Flags().StringVar(&reason, "reason", "", "why, for the log and the dead letter; required")
	lanes := f.complete(laneNames)
	c.ValidArgsFunction = func(c *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return actionWords(), cobra.ShellCompDirectiveNoFileComp
		}
		return lanes(c, args, start)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		path, err := resolvePath(args[0], args[1], reason)
		if err != nil {
			return finish(c, f.output, reply{}, err)
		}
		return f.answers(c, func(ctx context.Context, addr string) (reply, error) {
			return resolve(ctx, addr, path, admin.Decision{Action: repeater.Action(args[1]), Reason: reason})
		})
	}
	return c
}

func actionWords() (words []string) {
	for _, a := range repeater.Actions() {
		words = append(words, string(a))
	}
	return words
}

// resolvePath checks what is asked for and is where it is posted to.
func resolvePath(lane, action, reason string) (string, error) {
	route, target, ok := strings.Cut(lane, "/")
	switch {
	case !ok || route == "" || target == "" || strings.Contains(target, "/"):
		return "", advise(exitConfig, "", fmt.Sprintf("%q is no lane", clean(lane)), "write ROUTE/TARGET, as posthouse status shows it", nil)
	case !slices.Contains(actionWords(), action):
		return "", advise(exitConfig, "", fmt.Sprintf("%q is no action", clean(action)), "write one of "+strings.Join(actionWords(), ", "), nil)
	case strings.TrimSpace(reason) == "":
		return "", advise(exitConfig, "", "a reason is missing", "add --reason TEXT: it stays in the log when nobody remembers", nil)
	}
	return "/api/v1/lanes/" + url.PathEscape(route) + "/" + url.PathEscape(target) + "/resolve", nil
}

func resolve(ctx context.Context, addr, path string, d admin.Decision) (reply, error) {
	var done admin.Resolved
	if err := converse(ctx, askTimeout, http.MethodPost, addr, path, d, &done); err != nil {
		return reply{}, err
	}
	return reply{summary: fmt.Sprintf("lane %s: %s, %s", clean(done.Lane), done.Action, messages(int64(done.Messages))), result: done}, nil
}

// lookAt is where a daemon answers; the file is needed only where --admin is not given.
func lookAt(file, address, repeater string, errs io.Writer) (string, error) {
	if address != "" || file == "" {
		return adminAddress(address, nil)
	}
	t, err := quietly(file, errs)
	if err == nil {
		t, err = part(t, repeater)
	}
	if err != nil {
		return "", err
	}
	return adminAddress("", t)
}
