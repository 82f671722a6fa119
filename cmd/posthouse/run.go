package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/posthouse/posthouse/internal/failpoint"
	"github.com/posthouse/posthouse/internal/systemd"
	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/repeater/admin"
	"github.com/posthouse/posthouse/repeater/console"
	"github.com/posthouse/posthouse/routes"
)

func runCommand() *cobra.Command {
	var opts repeater.Options
	var how daemonFile
	c := &cobra.Command{
		Use: "run", Short: "Run the routes of a topology file until SIGTERM or Ctrl-C", Args: cobra.NoArgs,
		Long: `Runs the routes of a topology file. A broker that is away does not stop it: the routes concerned are retried for
ever and say why. SIGTERM or Ctrl-C stops receiving, settles what is confirmed, returns the rest to the sources and
exits within the grace period; a second signal exits at once, without loss. Logs go to stderr; /livez, /readyz,
/metrics and /version are served on admin.listen (default 127.0.0.1:7421).
A file for several repeaters needs --repeater NAME: which of them this daemon is.
Exit 2 for a mistake in the file, 3 for a secret that is not there, an address in use, or a spool that cannot be opened
(in use, not writable, of a newer program, copied from another host): no message has been moved then. --accept-epoch
takes a spool that was copied or restored from a backup, when the original is gone for good: what is in it is sent,
perhaps a second time.
SIGHUP or posthouse reload takes the file anew, as a whole or not at all: only routes that changed are restarted, without
loss. --watch does so by itself. --last-good starts the configuration that was accepted last, kept beside the spool, when
the file is refused; status says then that the file differs.`,
		Example: `  posthouse run -c topology.yaml
  POSTHOUSE_CONFIG=topology.yaml posthouse run --grace 20s
  posthouse run -c topology.yaml --accept-epoch    # once, after a restore
  curl 'http://127.0.0.1:7421/readyz?verbose'`,
	}
	file := configFlag(c)
	name := repeaterFlag(c, "name of this daemon: which part of the file it runs; in consumer groups, message paths and metrics")
	c.Flags().DurationVar(&opts.Grace, "grace", 0, "how long a stop may wait for messages in flight (default 1m)")
	c.Flags().BoolVar(&opts.AcceptEpoch, "accept-epoch", false, "take a spool that comes from another host or a backup")
	c.Flags().BoolVar(&how.watch, "watch", false, "reload when the file has changed and is left alone for a second")
	c.Flags().BoolVar(&how.lastGood, "last-good", false, "if the file is refused, start with the last one that was accepted")
	c.RunE = func(c *cobra.Command, _ []string) error {
		opts.Name = *name
		if err := checkRun(opts); err != nil {
			return fail(exitConfig, err)
		}
		ks := kinds()
		table, text, err := loadRunning(*file, *name, how.lastGood, ks, c.ErrOrStderr())
		if err != nil {
			return err
		}
		how.text = text
		opts.Name = table.Repeater
		how.file, how.name = *file, *name
		return run(c.Context(), table, ks, opts, how, c.ErrOrStderr())
	}
	return c
}

// daemonFile says how the file of a daemon is read, at the start and later.
type daemonFile struct {
	file, name      string
	text            []byte
	watch, lastGood bool
}

// checkRun looks at the flags. The name becomes one part of consumer groups and of the path in message headers, where
// "/" and "," separate.
func checkRun(o repeater.Options) error {
	if o.Name != "" && !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`).MatchString(o.Name) {
		return fmt.Errorf("--repeater %q: write 1 to 63 of a-z, 0-9 and -, not beginning with -", o.Name)
	}
	if o.Grace < 0 {
		return fmt.Errorf("--grace %v: write a duration such as 30s", o.Grace)
	}
	return nil
}

func run(ctx context.Context, table *routes.Table, ks routes.Kinds, o repeater.Options, how daemonFile, errs io.Writer) error {
	reg, bulk := prometheus.NewRegistry(), prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	level := new(slog.LevelVar)
	o.Log, o.Metrics, o.Families, o.Version, o.Getenv, o.Now = newLog(table.Admin, level, errs), reg, bulk, version, os.Getenv, failpoint.Now
	var flush func()
	var err error
	if o.Tracer, flush, err = newTracer(ctx, table.Admin.Tracing, cmp.Or(o.Name, "posthouse"), o.Log); err != nil {
		return fail(exitEnvironment, err)
	}
	defer flush()
	rep, err := repeater.New(table, ks, o)
	if err != nil {
		return environment(err)
	}
	to, err := systemd.Open(os.Getenv)
	if err != nil {
		return fail(exitEnvironment, err)
	}
	boss := manager{to, o.Log}
	defer boss.attend(ctx, rep.Status)()
	boundGarbage(len(table.Routes)) // reading the file leaves more garbage than anything later
	keeper := repeater.NewKeeper(rep, repeater.KeeperOptions{
		File: how.file, Text: how.text, Load: func(text []byte) (*routes.Table, routes.Findings, error) { return again(how, text, ks) },
		Took:   func(t *routes.Table) { setLevel(level, t.Admin); boundGarbage(len(t.Routes)) },
		Trying: boss.reloading,
	})
	pages := console.New(console.Options{Status: rep.Status, Table: rep.Table, Keeper: keeper, Actions: rep, Version: version, Log: o.Log})
	srv, err := admin.Listen(table.Admin.Listen, admin.Options{
		Status: rep.Status, Repeater: rep, Metrics: reg, Bulk: bulk, Families: rep.WriteFamilies, Requests: rep.Requests(),
		Version: version, Resolve: rep.Resolve, Keeper: keeper, Access: access(table, o.Name), Console: pages.Handler(), Log: o.Log,
	})
	if err != nil {
		return fail(exitEnvironment, err)
	}
	o.Log.Info("running", "repeater", o.Name, "version", version, "routes", len(table.Routes), "admin", srv.Addr(), "hash", table.Hash)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	kctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { keep(kctx, keeper, boss, hup, how.watch) })
	wg.Go(func() { pages.Run(kctx) })
	err = spoolAdvice(runBoth(ctx, rep, srv), table, o.Name)
	stop()
	wg.Wait()
	return err
}

// access says who may use the API.
func access(t *routes.Table, name string) admin.Access {
	a := admin.Access{Admin: t.Admin, Getenv: os.Getenv}
	if t.Spool != nil {
		a.AuditBeside = filepath.Join(t.Spool.Dir, name, auditFile)
	}
	return a
}

// spoolAdvice says what to do when the spool could not be opened, the only thing that stops a start and can be told by
// its cause.
func spoolAdvice(err error, t *routes.Table, name string) error {
	if err == nil || t.Spool == nil {
		return err
	}
	dir := filepath.Join(t.Spool.Dir, name)
	if !strings.HasPrefix(err.Error(), "spool "+dir+": ") {
		return err
	}
	return cmp.Or(spoolError(err, dir), err)
}

// runBoth runs the repeater and its admin server, and ends both when one of them fails or ctx ends.
func runBoth(ctx context.Context, rep *repeater.Repeater, srv *admin.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	sctx, stop := context.WithCancel(context.WithoutCancel(ctx)) // status stays visible while the routes finish
	defer cancel()
	var wg sync.WaitGroup
	var serr error
	wg.Go(func() {
		if serr = srv.Run(sctx); serr != nil {
			cancel()
		}
	})
	err := rep.Run(ctx)
	stop()
	wg.Wait()
	switch {
	case errors.Is(err, context.Canceled) && serr == nil: // stopped while it was starting: nothing is wrong
		return nil
	case err != nil: // an embedded broker could not be started: its port or directory is in use
		return fail(exitEnvironment, errors.Join(err, serr))
	case serr != nil:
		return fail(exitRuntime, serr)
	}
	return nil
}

// environment turns a missing secret into exit 3.
func environment(err error) error {
	var s *routes.SecretError
	if errors.As(err, &s) {
		return fail(exitEnvironment, err)
	}
	return fail(exitRuntime, fmt.Errorf("start: %w", err))
}

// setLevel sets the level that the file names.
func setLevel(l *slog.LevelVar, a routes.Admin) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(a.Log.Level)) // checked when the file was read
	l.Set(level)
}

// newLog writes text to a terminal and JSON elsewhere, unless the file says which.
func newLog(a routes.Admin, level *slog.LevelVar, w io.Writer) *slog.Logger {
	setLevel(level, a)
	o := &slog.HandlerOptions{Level: level}
	if a.Log.Format == "json" || a.Log.Format != "text" && !terminal(w) {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func terminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
