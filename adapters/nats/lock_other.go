//go:build !unix

package nats

import (
	"errors"
	"time"
)

// lockDir refuses: without a lock two servers could write one directory.
func lockDir(string, time.Time) (func(), error) {
	return nil, errors.New("an embedded server needs a Unix system; run a nats-server and write its address")
}
