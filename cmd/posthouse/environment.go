package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/posthouse/posthouse/repeater/admin"
	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/vfs"
)

// The codes of what is wrong outside of the file. explain tells more about each.
const (
	codeMatch     = "C002"
	codeOrphan    = "C003"
	codeNoGen     = "C004"
	codePosition  = "C005"
	codeInUse     = "E101"
	codeNoRight   = "E103"
	codeNotBuilt  = "E104"
	codeNoDaemon  = "E105"
	codeDiskFull  = "E106"
	codeNewer     = "E107"
	codeOwner     = "E108"
	codeNoJournal = "E109"
	codeNoRoute   = "R011"
)

// environmentCodes are the explanations of codes that no finding of a file has.
func environmentCodes() map[string]string {
	return map[string]string{
		codeMatch:     "The configuration is not the one that was looked at.\nSomebody else has changed it meanwhile. posthouse config show tells what runs now; look at it and try again. Requests to the API need the header If-Match with the ETag of GET /api/v1/config.",
		codeOrphan:    "A lane that has messages in the spool would lose its route.\nThey stay in the spool as an orphan, and nothing sends them. Give the route that takes the place renamed_from: OLD, or let the old one drain first; posthouse spool orphans lists what is there.",
		codeNoGen:     "There is no such generation of the configuration.\nposthouse config history lists those that are kept, the last 50.",
		codePosition:  "A source is read under another name than before, so not from where the reading was.\nAt Kafka and NATS the place in a source belongs to a consumer, and that has the name of the first route on the source. Renamed, or with another route before it, that is a new consumer: it reads from start_at (Kafka), or all that the stream keeps (NATS), and the targets get again what they have. renamed_from takes the spool along and no place. To go on from the old place at Kafka write the old group into from, group: PREFIX.OLD-ROUTE (PREFIX is the broker's group, posthouse where it has none); at NATS keep the name of the first route.",
		codeInUse:     "The spool is in use.\nOne process at a time may open a journal. While the daemon runs, ask it: posthouse status, posthouse spool ls. Commands that read or change the journal itself (verify, dump, export, purge, acknowledge, salvage) need it stopped.",
		codeNoRight:   "The spool's directory cannot be used.\nIt must belong to the user of the daemon, be writable by that user, and by nobody else. Its parent must exist.",
		codeNotBuilt:  "This program was built without the adapter for a type of broker.\nIBM MQ needs a build with the tag ibmmq (make build, or the package posthouse-mq), for it uses IBM's client library, which must be installed beside it. posthouse adapters lists the types that this program has, and whether the library was found.",
		codeNoDaemon:  "No daemon answers.\nThe command looked at --admin, else at admin.listen of the file, else at 127.0.0.1:7421. The daemon serves loopback only: run the command on its machine.",
		codeDiskFull:  "The disk of the spool is full.\nThe journal could not make its first segments. Free some space, or give it another disk. A journal that is there already opens on a full disk and drains.",
		codeNewer:     "The journal was written by a newer program.\nUse that program, or a newer one. To go back for good, let the newer one drain the spool first.",
		codeOwner:     "The journal belongs to another host or repeater.\nIt may be a copy or a restored backup, whose messages the original has sent or will send. If the original is gone for good: posthouse run --accept-epoch, once. The messages in it are then sent, perhaps a second time.",
		codeNoJournal: "There is no journal in the directory.\nEach repeater has its own below spool.dir: DIR/REPEATER. With --dir give that directory itself.",
		codeNoRoute:   "There is no route or lane of that name.\nposthouse status lists the routes and lanes of the daemon, posthouse spool ls the lanes of the spool.",
	}
}

// explainEnvironment is Explain for those codes.
func explainEnvironment(code string) (string, bool) {
	code = strings.ToUpper(code)
	if text, ok := admin.Explain(code); ok {
		return text, true
	}
	text, ok := environmentCodes()[code]
	return code + ": " + text, ok
}

// spoolError makes an exit 3 that says what to do of an error of opening the journal in dir; nil if it is another kind of error.
func spoolError(err error, dir string) error {
	var held *vfs.HeldError
	switch {
	case errors.As(err, &held):
		by, pid := holder(held.Holder)
		return advise(exitEnvironment, codeInUse, "spool in use by "+by, "ask that process: posthouse status, or posthouse spool ls; or end it first"+pid, err)
	case errors.Is(err, spool.ErrVersion):
		return advise(exitEnvironment, codeNewer, fmt.Sprintf("spool %s: %v", dir, err), "use the version of posthouse that wrote it, or a newer one", err)
	case errors.Is(err, spool.ErrOwner):
		return advise(exitEnvironment, codeOwner, fmt.Sprintf("spool %s belongs to another host or repeater: it may be a copy or a restored backup", dir),
			"if the original is gone for good, start once with --accept-epoch: what is in it is then sent, perhaps a second time", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return advise(exitEnvironment, codeDiskFull, fmt.Sprintf("spool %s: the disk is full: %v", dir, err), "free some space there, or set spool.dir to another disk", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return advise(exitEnvironment, codeNoRight, fmt.Sprintf("spool %s is not writable for this user: %v", dir, err),
			"run as the user whose directory it is, or give it to this user: chown USER "+dir, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return advise(exitEnvironment, codeNoRight, fmt.Sprintf("spool %s cannot be made: %v", dir, err), "make the directory above it: mkdir -p "+dir, err)
	}
	return nil
}

// holder reads what a lock file says: "process PID since TIME". It returns how people say it, and how to end the process.
func holder(s string) (who, end string) {
	var pid int
	var at string
	if n, _ := fmt.Sscanf(s, "process %d since %s", &pid, &at); n != 2 {
		return "another process", ""
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return fmt.Sprintf("pid %d", pid), fmt.Sprintf(" (kill %d)", pid)
	}
	return fmt.Sprintf("pid %d (since %s)", pid, clock(t.Local(), time.Now())), fmt.Sprintf(" (kill %d)", pid)
}

// clock is a time of today as hours and minutes, an older one with its date.
func clock(t, now time.Time) string {
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}
