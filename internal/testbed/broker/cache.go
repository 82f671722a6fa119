package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// CacheDir is where downloads are kept between runs: $POSTHOUSE_TESTBED_CACHE, or the directory
// posthouse-testbed in the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv(EnvCache); dir != "" {
		return filepath.Abs(dir)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w (set %s to a directory)", err, EnvCache)
	}
	return filepath.Join(base, "posthouse-testbed"), nil
}

// cached returns the directory name below root, and makes it first if it is not there: fill gets
// an empty directory beside it, which takes the final name only after fill succeeded. A lock file
// keeps two processes from doing this at once, so a directory that exists is whole.
func cached(ctx context.Context, root, name string, log io.Writer, fill func(dir string) error) (string, error) {
	final := filepath.Join(root, name)
	if isDir(final) {
		return final, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("make the cache directory: %w (set %s to a writable directory)", err, EnvCache)
	}
	unlock, err := Lock(ctx, final+".lock", log)
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(final) { // someone else was faster
		return final, nil
	}
	removeStale(final + ".part-*") // of a fetch that was killed; the lock says that none is running
	work, err := os.MkdirTemp(root, name+".part-")
	if err != nil {
		return "", fmt.Errorf("prepare %s: %w", name, err)
	}
	defer os.RemoveAll(work)
	if err := fill(work); err != nil {
		return "", err
	}
	if err := os.Chmod(work, 0o755); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	if err := os.Rename(work, final); err != nil {
		return "", fmt.Errorf("keep %s: %w", name, err)
	}
	return final, nil
}

func removeStale(pattern string) {
	old, _ := filepath.Glob(pattern) // the only error is a bad pattern
	for _, dir := range old {
		os.RemoveAll(dir)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Lock takes an exclusive lock on the file path, which it creates, and waits for it until ctx ends.
// The kernel drops the lock when this process ends, in whatever way. A line to log says that it waits.
func Lock(ctx context.Context, path string, log io.Writer) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for said := false; ; {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !said {
			fmt.Fprintf(log, "waiting for another process that holds %s\n", path)
			said = true
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for %s: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
