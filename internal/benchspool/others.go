//go:build linux

package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tidwall/wal"
)

// A front gathers what callers of one moment append to a log that knows only one writer, as anybody would who used such
// a library: one batch and one sync for all that wait.
type front struct {
	log  *wal.Log
	next uint64
	in   chan request
	done chan struct{}
	err  error // of closing; valid when done is closed
}

type request struct {
	body   []byte
	answer chan error
}

func openFront(dir string) (*front, error) {
	log, err := wal.Open(filepath.Join(dir, "tidwall"), nil) // synced after every batch
	if err != nil {
		return nil, err
	}
	f := &front{log: log, next: 1, in: make(chan request, 4096), done: make(chan struct{})}
	go f.write()
	return f, nil
}

func (f *front) append(ctx context.Context, body []byte) error {
	r := request{body, make(chan error, 1)}
	select {
	case f.in <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-r.answer
}

func (f *front) write() {
	defer close(f.done)
	for r := range f.in {
		batch, waiting := &wal.Batch{}, []request{r}
		for len(f.in) > 0 && len(waiting) < cap(f.in) {
			waiting = append(waiting, <-f.in)
		}
		for _, w := range waiting {
			batch.Write(f.next, w.body)
			f.next++
		}
		err := f.log.WriteBatch(batch)
		for _, w := range waiting {
			w.answer <- err
		}
	}
	f.err = f.log.Close()
}

func (f *front) close() error {
	close(f.in)
	<-f.done
	return f.err
}

// library is the rate of the log library behind its front.
func (b *bench) library(ctx context.Context, dir string, writers, size int) (result, error) {
	f, err := openFront(dir)
	if err != nil {
		return result{}, err
	}
	body := aligned(size)
	r, err := load{writers, size, func(ctx context.Context, _ int) error { return f.append(ctx, body) }}.run(ctx, b.span)
	return r, errors.Join(err, f.close())
}

// stream is the rate of a JetStream stream on disk that syncs each message before it confirms it.
func (b *bench) stream(ctx context.Context, dir string, writers, size int) (r result, err error) {
	s, err := server.NewServer(&server.Options{
		DontListen: true, NoLog: true, NoSigs: true, JetStream: true, StoreDir: filepath.Join(dir, "jetstream"), SyncAlways: true,
	})
	if err != nil {
		return r, err
	}
	s.Start()
	defer func() {
		s.Shutdown()
		s.WaitForShutdown()
	}()
	if !s.ReadyForConnections(10 * time.Second) {
		return r, errors.New("the NATS server does not start")
	}
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return r, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return r, err
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "bench", Subjects: []string{"bench"}}); err != nil {
		return r, err
	}
	body := aligned(size)
	return load{writers, size, func(ctx context.Context, _ int) error {
		_, err := js.Publish(ctx, "bench", body)
		return err
	}}.run(ctx, b.span)
}
