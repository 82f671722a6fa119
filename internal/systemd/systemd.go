// Package systemd tells a service manager how the daemon is, as sd_notify(3) lays down: each message is one datagram of
// NAME=VALUE lines to the unix socket that NOTIFY_SOCKET names. Nothing comes back, so nothing here waits.
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Notifier is the way to the service manager. The nil one, of a daemon that nobody manages, tells nobody. It is safe for
// concurrent use.
type Notifier struct {
	conn     *net.UnixConn
	watchdog time.Duration
}

// Open makes the notifier of the environment: NOTIFY_SOCKET, a path or @NAME of the abstract namespace, and WATCHDOG_USEC,
// which counts where WATCHDOG_PID is absent or this process. It returns nil, nil where there is no NOTIFY_SOCKET. The
// caller closes it.
func Open(getenv func(string) string) (*Notifier, error) {
	name := getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("service manager: %w", err)
	}
	n := &Notifier{conn: conn}
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	if pid := getenv("WATCHDOG_PID"); err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	return n, nil
}

// Close ends the notifier.
func (n *Notifier) Close() error {
	if n == nil {
		return nil
	}
	return n.conn.Close()
}

// Watchdog is how long the service manager waits for Alive before it ends the process; 0 = it does not.
func (n *Notifier) Watchdog() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog
}

// Ready says that the daemon serves, or that a reload is over, however it ended.
func (n *Notifier) Ready() error { return n.tell("READY=1") }

// Reloading says that the daemon takes another configuration; Ready ends that. The time lets the service manager tell this
// reload from an earlier one.
func (n *Notifier) Reloading() error {
	return n.tell("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(monotonic().Microseconds(), 10))
}

// Stopping says that the daemon has begun to end.
func (n *Notifier) Stopping() error { return n.tell("STOPPING=1") }

// Alive feeds the watchdog.
func (n *Notifier) Alive() error { return n.tell("WATCHDOG=1") }

// Status is what systemctl status shows, one line.
func (n *Notifier) Status(text string) error {
	return n.tell("STATUS=" + strings.ReplaceAll(text, "\n", " "))
}

func (n *Notifier) tell(lines ...string) error {
	if n == nil {
		return nil
	}
	if _, err := n.conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("tell the service manager %s: %w", lines[0], err)
	}
	return nil
}
