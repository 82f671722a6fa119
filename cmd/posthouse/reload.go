package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/routes"
)

// reloadTimeout is how long a reload may take: a route that is restarted may need the grace period.
const reloadTimeout = 10 * time.Minute

func reloadCommand() *cobra.Command {
	var output string
	var dry bool
	c := &cobra.Command{
		Use: "reload", Short: "Let the running daemon take its file anew, as a whole or not at all", Args: cobra.NoArgs,
		Long: `Lets the running daemon read its file again. Only the routes that changed are restarted, each without losing or doubling
a message: what is in flight is finished or spooled first, which may take the daemon's grace period. If anything is
wrong with the file it is refused as a whole, with the findings of posthouse check, and what ran before goes on.
--dry-run says what would be done. Exit 1 if the daemon cannot do it now, 2 if it refuses the file, 3 if none answers.`,
		Example: `  posthouse reload -c topology.yaml --dry-run
  posthouse reload -c topology.yaml`,
	}
	file, address, name := configFlag(c), adminFlag(c), repeaterFlag(c, "whose daemon to ask, in a file for several")
	wordFlag(c, &output, "output", "o", "what to print", "text", "json")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	c.RunE = func(c *cobra.Command, _ []string) error {
		r, err := changeConfig(c, *file, *address, *name, "/api/v1/config/reload", dry, struct{}{})
		return finish(c, output, r, err)
	}
	return c
}

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Show the configuration of the running daemon and those before it, and go back to one",
		Example: "  posthouse config show\n  posthouse config history\n  posthouse config rollback 6"}
	return group(c, configShowCommand(), configHistoryCommand(), configRollbackCommand())
}

// A configView is what runs.
type configView struct {
	Generation uint64    `json:"generation"`
	Hash       string    `json:"hash"`
	File       string    `json:"file"`
	Since      time.Time `json:"since"`
	Differs    bool      `json:"file_differs"`
	Text       string    `json:"text"`
	Last       *struct {
		At    time.Time `json:"at"`
		OK    bool      `json:"ok"`
		Error string    `json:"error"`
	} `json:"last_reload"`
}

func configShowCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "show [GENERATION]", Short: "Print the file that runs, or that of a generation, with secrets masked", Args: cobra.MaximumNArgs(1),
		Example: "  posthouse config show\n  posthouse config show 6",
	}
	file, address, name := configFlag(c), adminFlag(c), repeaterFlag(c, "whose daemon to ask, in a file for several")
	wordFlag(c, &output, "output", "o", "what to print", "text", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		var v configView
		path := "/api/v1/config"
		if len(args) > 0 {
			path += "/history/" + args[0]
		}
		addr, err := lookAt(*file, *address, *name, c.ErrOrStderr())
		if err == nil {
			err = ask(c.Context(), addr, path, &v)
		}
		if err != nil {
			return finish(c, output, reply{}, err)
		}
		return finish(c, output, reply{summary: fmt.Sprintf("generation %d", v.Generation), result: v,
			text: func(w io.Writer) error { _, err := io.WriteString(w, v.Text); return err }}, nil)
	}
	return c
}

type generationView struct {
	Generation uint64    `json:"generation"`
	Hash       string    `json:"hash"`
	How        string    `json:"how"`
	At         time.Time `json:"accepted_at"`
}

func configHistoryCommand() *cobra.Command {
	var output string
	c := &cobra.Command{Use: "history", Short: "List the configurations that were accepted, oldest first", Args: cobra.NoArgs, Example: "  posthouse config history -o json"}
	file, address, name := configFlag(c), adminFlag(c), repeaterFlag(c, "whose daemon to ask, in a file for several")
	wordFlag(c, &output, "output", "o", "what to print", "text", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		gs := []generationView{}
		addr, err := lookAt(*file, *address, *name, c.ErrOrStderr())
		if err == nil {
			err = ask(c.Context(), addr, "/api/v1/config/history", &gs)
		}
		r := reply{summary: fmt.Sprintf("%d generations", len(gs)), result: gs, text: func(w io.Writer) error {
			var b strings.Builder
			for _, g := range gs {
				fmt.Fprintf(&b, "%6d  %s  %-8s  %s\n", g.Generation, g.Hash, g.How, g.At.Local().Format(time.DateTime))
			}
			_, err := io.WriteString(w, b.String())
			return err
		}}
		if err != nil {
			r = reply{}
		}
		return finish(c, output, r, err)
	}
	return c
}

func configRollbackCommand() *cobra.Command {
	var output string
	var dry, yes bool
	c := &cobra.Command{
		Use: "rollback GENERATION", Short: "Let the running daemon go back to a configuration that was accepted before", Args: cobra.ExactArgs(1),
		Long: `Lets the running daemon run the file of an earlier generation again, like a reload: as a whole or not at all. The file
itself is not touched: status says that it differs from what runs, and a restart loads the file. It first says what
would be done, and needs --yes or an answer on a terminal.`,
		Example: "  posthouse config rollback 6 --dry-run\n  posthouse config rollback 6 --yes",
	}
	file, address, name := configFlag(c), adminFlag(c), repeaterFlag(c, "whose daemon to ask, in a file for several")
	wordFlag(c, &output, "output", "o", "what to print", "text", "json")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		n, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil || n == 0 {
			return fail(exitConfig, fmt.Errorf("GENERATION %q: write a number of posthouse config history", args[0]))
		}
		body := map[string]uint64{"generation": n}
		const path = "/api/v1/config/rollback"
		r, err := changeConfig(c, *file, *address, *name, path, true, body)
		if err != nil || dry {
			return finish(c, output, r, err)
		}
		switch asks := terminal(c.InOrStdin()) && output != "json"; {
		case yes:
		case !asks:
			return finish(c, output, r, advise(exitConfig, "", "nothing was changed", "say --yes", nil))
		default:
			if err := errors.Join(r.text(c.ErrOrStderr()), agreed(c, yes, output, fmt.Sprintf("the daemon will run generation %d again", n))); err != nil {
				return err
			}
		}
		r, err = changeConfig(c, *file, *address, *name, path, false, body)
		return finish(c, output, r, err)
	}
	return c
}

// An outcomeView is the answer to a change of the configuration.
type outcomeView struct {
	Config   configView      `json:"config"`
	DryRun   bool            `json:"dry_run"`
	Findings routes.Findings `json:"findings"`
	Orphans  []orphanView    `json:"orphans"`
	routes.Diff
}

// changeConfig asks the daemon for another configuration than the one it has now.
func changeConfig(c *cobra.Command, file, address, name, path string, dry bool, body any) (reply, error) {
	addr, err := lookAt(file, address, name, io.Discard) // the daemon says what is wrong with its file
	if err != nil && address == "" {
		src, _ := readBounded(file) // the file may be wrong: that is what the daemon has to say
		addr, err = cmp.Or(routes.Peek(src, "admin", "listen"), defaultAdmin), nil
	}
	if err != nil {
		return reply{}, err
	}
	match, err := runningNow(c.Context(), addr)
	if err != nil {
		return reply{}, err
	}
	path += dryQuery(dry)
	var out outcomeView
	if err := post(c.Context(), addr, path, match, body, &out); err != nil {
		return reply{}, err
	}
	what := fmt.Sprintf("generation %d runs", out.Config.Generation)
	if dry {
		what = "dry run: nothing was changed"
	}
	return reply{summary: what, result: out, text: func(w io.Writer) error {
		_, err := io.WriteString(w, diffText(&out.Diff, out.Orphans)+what+"\n")
		return err
	}}, nil
}

// runningNow is the ETag of the configuration that the daemon has now.
func runningNow(ctx context.Context, addr string) (etag string, err error) {
	const path = "/api/v1/config"
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, baseURL(addr)+path, nil)
	if err == nil {
		if resp, _, err := answerTo(req, addr); err == nil && resp.StatusCode == http.StatusOK {
			return resp.Header.Get("ETag"), nil
		}
	}
	var now configView // or an error that says more
	if err := ask(ctx, addr, path, &now); err != nil {
		return "", err
	}
	return fmt.Sprintf(`"%d-%s"`, now.Generation, now.Hash), nil
}

// post makes one request that changes the configuration.
func post(ctx context.Context, addr, path, match string, say, v any) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	b, err := json.Marshal(say)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, baseURL(addr)+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("If-Match", match)
	resp, body, err := answerTo(req, addr)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusUnprocessableEntity {
		return refusedBy(body)
	}
	return decodeAnswer(resp, addr, path, body, v)
}

// refusedBy is the exit 2 for a file that the daemon has refused.
func refusedBy(body []byte) error {
	var p struct {
		Code, Detail, Help string
		Findings           routes.Findings
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return fail(exitRuntime, errors.New("the daemon refuses, and its answer cannot be read"))
	}
	lines := []string{p.Detail}
	for _, f := range p.Findings {
		lines = append(lines, fmt.Sprintf("%s:%d:%d: %s: %s [%s]", f.File, f.Line, f.Col, f.Severity, f.Message, f.Code))
		if h := strings.TrimSpace(f.Suggestion + " " + f.Help); h != "" {
			lines = append(lines, "  = help: "+h)
		}
	}
	return advise(exitConfig, p.Code, strings.Join(lines, "\n"), p.Help, nil)
}
