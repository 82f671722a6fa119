package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options say how to start a broker. The zero value serves.
type Options struct {
	Name     string    // in the variables of Env; default the kind: Artemis, Kafka, RabbitMQ4, RabbitMQ3
	TLSDir   string    // written by WriteTLS; default: one is made below the data directory
	Cache    string    // where downloads are kept; default CacheDir
	Log      io.Writer // progress of long steps, one line each; default none
	Detached bool      // the broker outlives this process; someone else must end it

	// Via, if set, is called by Kafka with HOST:PORT of one more listener, and returns the HOST:PORT that the broker
	// tells the clients of that listener: a fault proxy, which they would otherwise go round. The address to begin
	// with is then in the variable with the suffix _VIA.
	Via func(addr string) (string, error)
}

// Broker is a real broker that runs as a process of its own. Its methods may be called from several
// goroutines; they take turns.
type Broker struct {
	name    string
	version string
	env     map[string]string
	launch  launch
	ready   probe

	mu   sync.Mutex
	proc *Child
}

// Name is one of Artemis, Artemis2, Kafka, RabbitMQ4, RabbitMQ3, or Options.Name.
func (b *Broker) Name() string { return b.name }

// Version is the broker's version, such as "4.1.1".
func (b *Broker) Version() string { return b.version }

// Env returns the variables by which tests find this broker, for a new caller each time.
func (b *Broker) Env() map[string]string { return maps.Clone(b.env) }

// LogFile is the file with the broker's own output.
func (b *Broker) LogFile() string { return b.launch.log }

// Identity names the broker's process; after Restart it is another.
func (b *Broker) Identity() Identity {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.proc.id
}

// Kill ends the broker at once by SIGKILL, as a crash does, and returns when it is gone. What the
// broker had written reaches the disk all the same, as the machine lives on.
func (b *Broker) Kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proc.kill()
}

// Stop ends the broker in order, or by SIGKILL after 20 s or when ctx ends, and returns when it is
// gone. Stopping it again is harmless. Its files stay.
func (b *Broker) Stop(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proc.stop(ctx, stopGrace)
}

// Restart starts the broker again on the same ports with the same data and waits until it serves
// clients. A broker that runs is stopped first.
func (b *Broker) Restart(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.proc != nil && b.proc.alive() {
		b.proc.stop(ctx, stopGrace)
	}
	return b.start(ctx)
}

// Alive says whether the process runs.
func (b *Broker) Alive() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.proc.alive()
}

// start starts the process and waits until it serves; a process that does not is killed.
func (b *Broker) start(ctx context.Context) error {
	p, err := b.launch.start()
	if err != nil {
		return fmt.Errorf("start %s: %w", b.name, err)
	}
	b.proc = p
	if err := await(ctx, p, b.ready); err != nil {
		p.kill()
		return fmt.Errorf("start %s: %w\n--- end of %s\n%s", b.name, err, b.launch.log, logTail(b.launch.log))
	}
	return nil
}

// withDefaults fills in what o leaves open and prepares the data directory.
func (o Options) withDefaults(dir, name string) (Options, string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return o, "", err
	}
	if o, err = o.withCache(name); err != nil {
		return o, "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return o, "", fmt.Errorf("make the data directory: %w", err)
	}
	if o.TLSDir == "" {
		o.TLSDir = filepath.Join(dir, "tls")
		if err := WriteTLS(o.TLSDir, time.Now()); err != nil {
			return o, "", err
		}
	}
	return o, dir, nil
}

// withCache fills in what a download needs.
func (o Options) withCache(name string) (Options, error) {
	if o.Name == "" {
		o.Name = name
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Cache != "" {
		return o, nil
	}
	var err error
	o.Cache, err = CacheDir()
	return o, err
}

// writeFiles writes small configuration files below dir; names may contain directories.
func writeFiles(dir string, files map[string]string) error {
	var errs []error
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.WriteFile(path, []byte(text), 0o644))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write the broker's configuration: %w", err)
	}
	return nil
}
