package main

import (
	"os"
	"runtime/debug"
)

// garbage is how much garbage the daemon lets grow beside what it needs, in percent of that. The default of Go, 100, would
// make it take twice the memory of the messages that it holds.
const garbage = 50

// boundGarbage sets it, unless the environment says otherwise (GOGC, GOMEMLIMIT).
func boundGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}
