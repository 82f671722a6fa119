package repeater

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// Errors of a Keeper, besides *Refused.
var (
	ErrNoGeneration = errors.New("there is no such generation of the configuration")
	ErrMatch        = errors.New("the configuration is not the one that was looked at")
	ErrNotYet       = errors.New("the repeater is still starting")
)

// A Refused says why a file was not taken. What runs goes on as before.
type Refused struct {
	Findings routes.Findings // as of check; nil when Err says it
	Err      error
}

func (e *Refused) Error() string {
	if e.Err != nil {
		return "the configuration is refused: " + e.Err.Error()
	}
	n := 0
	for _, f := range e.Findings {
		if f.Severity == routes.Error {
			n++
		}
	}
	first := e.Findings[slices.IndexFunc(e.Findings, func(f routes.Finding) bool { return f.Severity == routes.Error })]
	s := fmt.Sprintf("the configuration is refused: %s:%d: %s [%s]", first.File, first.Line, first.Message, first.Code)
	if n > 1 {
		s += fmt.Sprintf(" and %d more", n-1)
	}
	return s
}

func (e *Refused) Unwrap() error { return e.Err }

// ConfigStatus is which configuration runs.
type ConfigStatus struct {
	Generation uint64      `json:"generation"` // 0: still starting
	Hash       string      `json:"hash"`
	File       string      `json:"file"`
	Since      time.Time   `json:"since"`
	Differs    bool        `json:"file_differs"` // the file is not what runs
	Last       *LastReload `json:"last_reload,omitempty"`
}

// ETag names the configuration in the headers ETag and If-Match.
func (c ConfigStatus) ETag() string { return fmt.Sprintf(`"%d-%s"`, c.Generation, c.Hash) }

// LastReload is how the last reload ended.
type LastReload struct {
	At       time.Time       `json:"at"`
	OK       bool            `json:"ok"`
	Error    string          `json:"error,omitempty"`
	Findings routes.Findings `json:"findings,omitempty"`
}

// An Ask is a wish for another configuration.
type Ask struct {
	Generation uint64 // of the history; 0 = the file as it is now
	Match      string // ETag that must be the current one; "" = any
	DryRun     bool
}

// An Outcome is what became of it.
type Outcome struct {
	Config   ConfigStatus    `json:"config"` // what runs now
	DryRun   bool            `json:"dry_run"`
	Findings routes.Findings `json:"findings"` // warnings
	Reloading
}

// KeeperOptions are what a Keeper needs beside its Repeater.
type KeeperOptions struct {
	File string                                                    // the topology
	Text []byte                                                    // of it, as the repeater was made of
	Load func(text []byte) (*routes.Table, routes.Findings, error) // as the daemon reads its file
	Took func(*routes.Table)                                       // called with each table that runs from now on; nil = nobody wants to know
	Log  *slog.Logger                                              // nil = discard

	Trying func() (over func()) // called when another configuration is about to be tried, over when that has ended; nil = nobody wants to know
}

// A Keeper changes the configuration of a Repeater: as a whole, or not at all. It is safe for concurrent use.
type Keeper struct {
	rep  *Repeater
	opts KeeperOptions

	mu      sync.Mutex // held while a configuration changes
	history *history   // nil while the repeater is starting
	text    []byte     // what runs
}

// NewKeeper makes the keeper of r, which has been made and does not run yet.
func NewKeeper(r *Repeater, o KeeperOptions) *Keeper {
	if o.Log == nil {
		o.Log = r.opts.Log
	}
	t := r.Table()
	r.config.Store(&ConfigStatus{Hash: t.Hash, File: o.File, Since: r.started})
	return &Keeper{rep: r, opts: o, text: o.Text}
}

// Begin waits until the repeater serves, which has its spool then, and gives what runs its number. Its error is that of ctx.
func (k *Keeper) Begin(ctx context.Context) error {
	select {
	case <-k.rep.serving:
	case <-k.rep.over:
		return ErrOver
	case <-ctx.Done():
		return ctx.Err()
	}
	dir := ""
	if j := k.rep.journal; j != nil && k.rep.opts.SpoolFS == nil {
		dir = filepath.Join(j.dir, generationsDir)
	}
	h, err := openHistory(dir)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.opts.Log.Error(msgHistory, "err", err)
	}
	k.history = h
	if g := h.last(); g.Hash == hashOf(k.text) {
		k.runs(g)
		return nil
	}
	k.adds(byStart, k.text)
	return nil
}

// adds makes text the newest generation. mu is held.
func (k *Keeper) adds(how string, text []byte) {
	g, err := k.history.add(hashOf(text), how, text, time.Now())
	if err != nil {
		k.opts.Log.Error(msgHistory, "err", err)
	}
	k.text = text
	k.runs(g)
}

// runs notes that g runs. mu is held.
func (k *Keeper) runs(g Generation) {
	k.change(func(c *ConfigStatus) { c.Generation, c.Hash, c.Since = g.Number, g.Hash, time.Now() })
	k.Look()
}

// change makes another status. Nobody changes it but under mu, or looking at the file.
func (k *Keeper) change(f func(*ConfigStatus)) {
	for {
		old := k.rep.config.Load()
		c := *old
		f(&c)
		if k.rep.config.CompareAndSwap(old, &c) {
			return
		}
	}
}

// hashOf is the hash that Table.Hash has.
func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// Look compares the file with what runs, and notes in the status whether it differs. It returns the file's hash, "" if it
// cannot be read.
func (k *Keeper) Look() string {
	text, err := readTopology(k.opts.File)
	hash := ""
	if err == nil {
		hash = hashOf(text)
	}
	k.change(func(c *ConfigStatus) { c.Differs = hash != c.Hash })
	return hash
}

// mostRead is more than any file that is accepted.
const mostRead = 5 << 20

func readTopology(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was read only
	return io.ReadAll(io.LimitReader(f, mostRead))
}

// Status is which configuration runs.
func (k *Keeper) Status() ConfigStatus { return *k.rep.config.Load() }

// History lists the generations that are kept, oldest first.
func (k *Keeper) History() []Generation {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.history == nil {
		return []Generation{}
	}
	return append([]Generation{}, k.history.list...)
}

// Text returns the file of a generation as it may be shown; 0 is what runs.
func (k *Keeper) Text(generation uint64) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	text := k.text
	if generation != 0 {
		if k.history == nil {
			return "", ErrNotYet
		}
		var err error
		if text, err = k.history.read(generation); err != nil {
			return "", err
		}
	}
	return routes.Redact(text), nil
}

// Apply makes another configuration run, or says what that would do. Its errors refuse it as a whole: *Refused, ErrMatch,
// ErrNoGeneration, ErrNotYet. Once begun it goes on, whatever happens to the one who asked.
func (k *Keeper) Apply(a Ask) (Outcome, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.history == nil {
		return Outcome{}, ErrNotYet
	}
	if a.Match != "" && a.Match != k.Status().ETag() {
		return Outcome{Config: k.Status()}, fmt.Errorf("%w: it is %s by now", ErrMatch, k.Status().ETag())
	}
	if k.opts.Trying != nil && !a.DryRun {
		defer k.opts.Trying()()
	}
	how, text, err := byReload, []byte(nil), error(nil)
	if a.Generation != 0 {
		if text, err = k.history.read(a.Generation); errors.Is(err, ErrNoGeneration) {
			return Outcome{}, err
		}
		how = byRollback
	} else {
		text, err = readTopology(k.opts.File)
	}
	out := Outcome{DryRun: a.DryRun, Findings: routes.Findings{}}
	if err == nil {
		err = k.take(a, how, text, &out)
	}
	var r *Refused
	if err != nil && !errors.As(err, &r) {
		err = &Refused{Err: err}
	}
	if !a.DryRun {
		k.noted(err)
	}
	k.Look()
	out.Config = k.Status()
	return out, err
}

// take checks text and makes it run. mu is held.
func (k *Keeper) take(a Ask, how string, text []byte, out *Outcome) error {
	t, fs, err := k.opts.Load(text)
	switch {
	case err != nil:
		return err
	case t == nil || fs.HasErrors():
		return &Refused{Findings: fs}
	}
	out.Findings = append(out.Findings, fs...)
	out.Reloading, err = k.rep.Reload(context.Background(), t, a.DryRun)
	var p *ProcessError
	if errors.As(err, &p) {
		return &Refused{Findings: routes.Unchangeable(k.opts.File, text, p.Keys)}
	}
	if err != nil || a.DryRun {
		return err
	}
	if hashOf(text) != hashOf(k.text) {
		k.adds(how, text)
	}
	if k.opts.Took != nil {
		k.opts.Took(t)
	}
	d := out.Reloading
	k.opts.Log.Info(msgReloaded, "how", how, "hash", t.Hash, "added", len(d.Added), "changed", len(d.Changed), "removed", len(d.Removed), "restarted", len(d.Restarted))
	for _, c := range d.Positions {
		k.opts.Log.Warn(msgPosition, "route", c.Name, "before", c.Was)
	}
	return nil
}

// noted keeps and logs how a reload has ended. mu is held.
func (k *Keeper) noted(err error) {
	l := &LastReload{At: time.Now(), OK: err == nil}
	var r *Refused
	if errors.As(err, &r) {
		l.Error, l.Findings = err.Error(), r.Findings
		k.opts.Log.Error(msgReloadRefused, "err", err)
		for _, f := range r.Findings {
			k.opts.Log.Error(msgFinding, "file", f.File, "line", f.Line, "col", f.Col, "severity", string(f.Severity), "code", f.Code, "err", f.Message)
		}
	}
	k.change(func(c *ConfigStatus) { c.Last = l })
}
