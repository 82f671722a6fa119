// Command posthouse is the daemon and its tools. This folder holds flags and wiring; the work is in the packages.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/adapters/all"
	"github.com/posthouse/posthouse/routes"
	"github.com/posthouse/posthouse/routes/yamltree"
)

// Exit codes (docs/operating: 0 ok, 1 run time, 2 configuration or usage, 3 environment).
const (
	exitRuntime     = 1
	exitConfig      = 2
	exitEnvironment = 3
)

// An exitError carries its exit code to main.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// errShown is the cause of an exit whose reason was already printed.
var errShown = errors.New("see above")

func fail(code int, err error) error { return &exitError{code, err} }

func main() {
	os.Exit(execute(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit code.
func execute(args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := untilSignal()
	defer stop()
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errShown) {
		fmt.Fprintln(errs, "posthouse:", err)
	}
	var e *exitError
	if errors.As(err, &e) {
		return e.code
	}
	return exitConfig // cobra's own errors are about usage
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. A second one ends the process at once:
// nothing is lost by that, for whatever was not settled comes back.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-c:
			case <-done:
				return
			}
			if n > 0 {
				os.Exit(exitRuntime)
			}
			cancel()
		}
	}()
	return ctx, func() { signal.Stop(c); close(done); cancel() }
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "posthouse",
		Short:         "Store-and-forward repeater and bridge gateway for message brokers",
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Example: `  posthouse demo                                   the main job on embedded brokers
  posthouse check topology.yaml                    find every mistake, offline
  posthouse run -c topology.yaml                   run the routes of a file`,
	}
	root.AddCommand(runCommand(), checkCommand(), adaptersCommand(), schemaCommand(), explainCommand(), topologyCommand(), evalCommand(), testCommand(), sendCommand(), receiveCommand(), requestCommand(),
		demoCommand(), statusCommand(), routeCommand(), dlqCommand(), linkCommand(), resolveCommand(), reloadCommand(), configCommand(), diffCommand(), spoolCommand(), versionCommand(), completionCommand())
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

func kinds() routes.Kinds {
	ks := routes.Kinds{}
	for _, a := range all.Adapters() {
		ks[a.Kind()] = a
	}
	return ks
}

// configFlag adds -c, whose default is POSTHOUSE_CONFIG.
func configFlag(c *cobra.Command) *string {
	return c.Flags().StringP("config", "c", os.Getenv("POSTHOUSE_CONFIG"), "the topology file (default $POSTHOUSE_CONFIG)")
}

// load reads file and prints what is wrong with it to w. Its error is an exit 2, or 3 if there is no such file.
func load(file string, ks routes.Kinds, w io.Writer) (*routes.Table, error) {
	return loadBut(file, "", ks, w, func(routes.Finding) bool { return false })
}

// loadTool is load for a command that runs no route: it leaves out advice about the spool.
func loadTool(file string, ks routes.Kinds, w io.Writer) (*routes.Table, error) {
	return loadBut(file, "", ks, w, func(f routes.Finding) bool { return strings.HasPrefix(f.Code, "P") && f.Severity == routes.Warning })
}

func loadBut(file, repeater string, ks routes.Kinds, w io.Writer, leaveOut func(routes.Finding) bool) (*routes.Table, error) {
	if file == "" {
		return nil, fail(exitConfig, errors.New("no topology file: use -c FILE or set POSTHOUSE_CONFIG"))
	}
	table, findings, err := read(file, repeater, ks)
	if err != nil {
		return nil, err
	}
	findings = slices.DeleteFunc(findings, leaveOut)
	if err := findings.Text(w); err != nil {
		return nil, fail(exitEnvironment, err)
	}
	if findings.HasErrors() {
		return nil, fail(exitConfig, errShown)
	}
	return table, nil
}

// loadPart is load for the part of one repeater. Which one need not be said where the file leaves no choice.
func loadPart(file, repeater string, ks routes.Kinds, w io.Writer) (*routes.Table, error) {
	t, err := loadBut(file, repeater, ks, w, func(routes.Finding) bool { return false })
	if err != nil {
		return nil, err
	}
	return part(t, repeater)
}

// part is the part of one repeater; its error is an exit 2.
func part(t *routes.Table, repeater string) (*routes.Table, error) {
	p, err := t.Part(repeater)
	if err != nil {
		return nil, fail(exitConfig, err)
	}
	return p, nil
}

// repeaterFlag adds --repeater, whose default is POSTHOUSE_REPEATER.
func repeaterFlag(c *cobra.Command, usage string) *string {
	return c.Flags().String("repeater", os.Getenv("POSTHOUSE_REPEATER"), usage+" (default $POSTHOUSE_REPEATER, then the only one of the file)")
}

// read checks file, and the permissions of the secret files that it names. Its error is an exit 3: the file cannot be
// read.
func read(file, repeater string, ks routes.Kinds) (*routes.Table, routes.Findings, error) {
	src, err := readBounded(file)
	if err != nil {
		return nil, nil, fail(exitEnvironment, err)
	}
	table, findings := routes.Load(file, src, routes.Options{Kinds: ks, Repeater: repeater})
	if table != nil {
		findings = append(findings, table.Exposed()...)
	}
	return table, findings, nil
}

// readBounded reads a file, but never more than one byte beyond what Load accepts: a wrong path to something huge must
// not fill the memory.
func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, yamltree.MaxBytes+1))
}

// printJSON writes v as one object.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print the completion script for bash, zsh, fish or powershell",
		Args: cobra.ExactArgs(1), ValidArgs: shells,
		Example: `  posthouse completion bash > /etc/bash_completion.d/posthouse
  posthouse completion zsh > "${fpath[1]}/_posthouse"
  posthouse completion fish > ~/.config/fish/completions/posthouse.fish
  posthouse completion powershell | Out-String | Invoke-Expression`,
		RunE: func(c *cobra.Command, args []string) error {
			root, w := c.Root(), c.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(w)
			}
			return fail(exitConfig, fmt.Errorf("no completion for %q: write one of %s", args[0], strings.Join(shells, ", ")))
		},
	}
}
