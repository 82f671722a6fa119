//go:build unix

package nats

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// lockName is the file in the store directory that says who uses it.
const lockName = "posthouse.lock"

// lockDir takes the directory for this process until unlock. The lock is the kernel's (flock), so it ends with the
// process however that ends; the text in the file is for people.
func lockDir(dir string, now time.Time) (unlock func(), err error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		who, _ := os.ReadFile(name)
		_ = f.Close()
		return nil, fmt.Errorf("%s is in use by another server (%s): a store directory has one server", dir, strings.TrimSpace(string(who)))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(f, "pid %d since %s\n", os.Getpid(), now.UTC().Format(time.RFC3339))
	return func() { _ = f.Close() }, nil
}
