package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// downGrace is how long a broker may take to end in order when down ends it.
const downGrace = 20 * time.Second

// state is what up left running, kept in the cache directory.
type state struct {
	Dir     string             `json:"dir"` // data of all brokers; in the system's temporary directory
	Brokers map[string]running `json:"brokers"`
}

// running is one broker that up left running.
type running struct {
	broker.Identity
	Version string            `json:"version"`
	Log     string            `json:"log"`
	Env     map[string]string `json:"env"`
}

// stateFile is a state that this process has locked.
type stateFile struct {
	state
	path   string
	unlock func()
}

// openState locks and reads the state; none is an empty one.
func openState(ctx context.Context, log io.Writer) (*stateFile, error) {
	cache, err := broker.CacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache directory: %w (set %s to a writable directory)", err, broker.EnvCache)
	}
	path := filepath.Join(cache, "up.json")
	unlock, err := broker.Lock(ctx, path+".lock", log)
	if err != nil {
		return nil, err
	}
	s := &stateFile{path: path, unlock: unlock}
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &s.state)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		unlock()
		return nil, fmt.Errorf("read %s: %w (remove it once no broker of it runs)", path, err)
	}
	if s.Brokers == nil {
		s.Brokers = map[string]running{}
	}
	return s, nil
}

// save writes the state so that a reader sees the old one or the new one.
func (s *stateFile) save() error {
	raw, err := json.MarshalIndent(s.state, "", "  ")
	if err == nil {
		err = replaceFile(s.path, append(raw, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return nil
}

// replaceFile leaves the old content or the new one, whatever happens meanwhile.
func replaceFile(path string, content []byte) error {
	part := path + ".part"
	if err := os.WriteFile(part, content, 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// dropDead forgets brokers that have ended.
func (s *stateFile) dropDead() {
	maps.DeleteFunc(s.Brokers, func(_ string, r running) bool { return !r.Alive() })
}

// prepare makes the data directory and the TLS files unless brokers use them already.
func (s *stateFile) prepare() error {
	if _, err := os.Stat(s.tlsDir()); s.Dir != "" && err == nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "posthouse-testbed-")
	if err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	s.Dir = dir
	return broker.WriteTLS(s.tlsDir(), time.Now())
}

func (s *stateFile) tlsDir() string { return filepath.Join(s.Dir, "tls") }

// up starts what is asked for and does not run yet, and prints how to reach all that runs.
func up(ctx context.Context, args []string, out, log io.Writer) (int, error) {
	wanted, err := names(args)
	if err != nil {
		return exitUsage, err
	}
	must, err := required(os.Getenv(broker.EnvRequire))
	if err != nil {
		return exitUsage, err
	}
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	s, err := openState(ctx, log)
	if err != nil {
		return exitFailed, err
	}
	defer s.unlock()
	s.dropDead()
	if err := s.prepare(); err != nil {
		return exitFailed, err
	}
	all, err := s.startMissing(ctx, wanted, log)
	if err != nil {
		return exitFailed, err
	}
	s.print(out)
	var errs []error
	for _, o := range all {
		if o.err == nil {
			continue
		}
		report(log, []outcome{o}, nil)
		if slices.Contains(args, o.name) || slices.Contains(must, o.name) { // else it was only welcome
			errs = append(errs, fmt.Errorf("%s could not be started", o.name))
		}
	}
	return exitOK, errors.Join(errs...)
}

// startMissing starts those of wanted that do not run and records them. Should recording fail, it
// ends them again: nobody could later.
func (s *stateFile) startMissing(ctx context.Context, wanted []string, log io.Writer) ([]outcome, error) {
	var start []string
	for _, name := range wanted {
		if _, runs := s.Brokers[name]; !runs {
			start = append(start, name)
			if err := os.RemoveAll(filepath.Join(s.Dir, name)); err != nil {
				return nil, fmt.Errorf("remove old data: %w", err)
			}
		}
	}
	all := startAll(ctx, s.Dir, start, broker.Options{TLSDir: s.tlsDir(), Log: log, Detached: true})
	for _, o := range all {
		if o.b != nil {
			s.Brokers[o.name] = running{o.b.Identity(), o.b.Version(), o.b.LogFile(), o.b.Env()}
		}
	}
	err := ctx.Err()
	if err == nil {
		err = s.save()
	}
	if err != nil {
		killAll(all)
		return nil, err
	}
	return all, nil
}

// print writes lines that a shell can read: assignments, and a table as comments.
func (s *stateFile) print(w io.Writer) {
	for _, line := range assignments(s.env()) {
		fmt.Fprintf(w, "export %s\n", line)
	}
	s.table(w, "# ")
}

// env is what tests read to find the brokers that run.
func (s *stateFile) env() map[string]string {
	env := map[string]string{
		broker.EnvTLSDir: s.tlsDir(), broker.EnvUser: broker.User, broker.EnvPassword: broker.Password,
	}
	for _, r := range s.Brokers {
		maps.Copy(env, r.Env)
	}
	return env
}

// table prints one line per broker and says whether all of them run.
func (s *stateFile) table(w io.Writer, prefix string) bool {
	all := true
	fmt.Fprintf(w, "%s%-10s %-8s %-8s %-6s %s\n", prefix, "BROKER", "VERSION", "PROCESS", "STATE", "LOG")
	for _, name := range slices.Sorted(maps.Keys(s.Brokers)) {
		r, word := s.Brokers[name], "up"
		if !r.Alive() {
			word, all = "dead", false
		}
		fmt.Fprintf(w, "%s%-10s %-8s %-8d %-6s %s\n", prefix, name, r.Version, r.Pid, word, r.Log)
	}
	return all
}

// down ends the named brokers, or all, that up left running; with the last one goes the data.
func down(ctx context.Context, args []string, _, log io.Writer) (int, error) {
	wanted, err := names(args)
	if err != nil {
		return exitUsage, err
	}
	s, err := openState(ctx, log)
	if err != nil {
		return exitFailed, err
	}
	defer s.unlock()
	if err := s.end(ctx, wanted, log); err != nil {
		return exitFailed, err
	}
	if len(s.Brokers) > 0 {
		return exitOK, s.save()
	}
	if s.Dir != "" {
		if err := os.RemoveAll(s.Dir); err != nil {
			return exitFailed, fmt.Errorf("remove the data: %w", err)
		}
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return exitFailed, fmt.Errorf("remove the state: %w", err)
	}
	return exitOK, nil
}

// end ends those of wanted that run, side by side, and forgets them.
func (s *stateFile) end(ctx context.Context, wanted []string, log io.Writer) error {
	ended := make(chan error)
	count := 0
	for _, name := range wanted {
		r, runs := s.Brokers[name]
		if !runs {
			continue
		}
		count++
		delete(s.Brokers, name)
		go func() { ended <- r.End(ctx, downGrace) }()
	}
	var errs []error
	for range count {
		errs = append(errs, <-ended)
	}
	fmt.Fprintf(log, "ended %d brokers\n", count)
	return errors.Join(errs...)
}

// status prints what up left running; it fails if one has ended by itself.
func status(ctx context.Context, _ []string, out, log io.Writer) (int, error) {
	s, err := openState(ctx, log)
	if err != nil {
		return exitFailed, err
	}
	defer s.unlock()
	if len(s.Brokers) == 0 {
		fmt.Fprintln(out, "no broker is up; start some with: testbed up")
		return exitOK, nil
	}
	if !s.table(out, "") {
		return exitFailed, errors.New("a broker has ended by itself; its log says why")
	}
	return exitOK, nil
}

// fetch downloads what the named brokers need.
func fetch(ctx context.Context, args []string, _, log io.Writer) (int, error) {
	wanted, err := names(args)
	if err != nil {
		return exitUsage, err
	}
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	var errs []error
	for _, name := range wanted {
		if err := broker.Fetch(ctx, name, broker.Options{Log: log}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		fmt.Fprintf(log, "%s is in the cache\n", name)
	}
	if len(args) == 0 {
		_, perr := broker.FetchPromtool(ctx, broker.Options{Log: log})
		_, cerr := broker.FetchChromium(ctx, broker.Options{Log: log})
		errs = append(errs, perr, cerr)
	}
	return exitOK, errors.Join(errs...)
}
