package main

import (
	"os"
	"runtime/debug"
)

// How much garbage the daemon lets grow beside what it needs, in percent of that. The default of Go, 100, would make it take
// twice the memory of the messages that it holds. Of many routes most of what it needs is there for as long as they are, and is
// no measure for the garbage of messages.
const (
	garbage     = 50
	garbageMany = 25
	manyRoutes  = 2000
)

// boundGarbage sets it for so many routes, unless the environment says otherwise (GOGC, GOMEMLIMIT).
func boundGarbage(routes int) {
	percent := garbage
	if routes > manyRoutes {
		percent = garbageMany
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
