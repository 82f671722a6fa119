package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/posthouse/posthouse/repeater"
	"github.com/posthouse/posthouse/routes"
)

// loadRunning is loadPart for a daemon: it also returns the text, and with lastGood takes the file that was accepted last when
// this one is refused.
func loadRunning(file, name string, lastGood bool, ks routes.Kinds, w io.Writer) (*routes.Table, []byte, error) {
	t, err := loadPart(file, name, ks, w)
	if err == nil || !lastGood || file == "" {
		if err != nil {
			return nil, nil, err
		}
		text, err := textOf(file, t)
		return t, text, err
	}
	src, rerr := readBounded(file)
	if rerr != nil {
		return nil, nil, err
	}
	text, number, gerr := repeater.LastGood(routes.Spooled(file, src), name)
	if gerr != nil {
		fmt.Fprintln(w, "posthouse: --last-good: no configuration that was accepted before can be found:", gerr)
		return nil, nil, err
	}
	t, _, gerr = again(daemonFile{file: file, name: name}, text, ks)
	if gerr != nil || t == nil {
		return nil, nil, err
	}
	fmt.Fprintf(w, "posthouse: the file is refused; starting generation %d, which was accepted last\n", number)
	return t, text, nil
}

// textOf is the text that t was made of; an exit 3 when the file has changed meanwhile.
func textOf(file string, t *routes.Table) ([]byte, error) {
	if t == nil {
		return nil, nil
	}
	text, err := readBounded(file)
	if sum := sha256.Sum256(text); err == nil && hex.EncodeToString(sum[:6]) != t.Hash {
		err = fmt.Errorf("%s changes while it is read", file)
	}
	if err != nil {
		return nil, fail(exitEnvironment, err)
	}
	return text, nil
}

// again reads a file as the daemon has read it at its start.
func again(how daemonFile, text []byte, ks routes.Kinds) (*routes.Table, routes.Findings, error) {
	t, fs := routes.Load(how.file, text, routes.Options{Kinds: ks, Repeater: how.name})
	if t == nil {
		return nil, fs, nil
	}
	fs = append(fs, t.Exposed()...)
	p, err := part(t, how.name)
	return p, fs, err
}

// keep tells boss when the daemon is ready, and serves the wishes for another configuration that come by signal, or with
// watch from the file itself, until ctx ends.
func keep(ctx context.Context, k *repeater.Keeper, boss manager, hup <-chan os.Signal, watch bool) {
	if k.Begin(ctx) != nil {
		return
	}
	boss.tell(boss.to.Ready())
	var wg sync.WaitGroup
	wg.Go(func() { k.Watch(ctx, watch) })
	for ctx.Err() == nil {
		select {
		case <-hup:
			_, _ = k.Apply(repeater.Ask{}) // logged, and in the status
		case <-ctx.Done():
		}
	}
	wg.Wait()
}
