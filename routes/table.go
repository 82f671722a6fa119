package routes

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
)

// A Table is a file that has been checked and compiled. It is immutable and safe for concurrent use.
type Table struct {
	File    string // its name, as given to Load
	Hash    string // the first 12 hexadecimal digits of the file's SHA-256
	Brokers map[string]*Broker
	Routes  []*Route // in file order, those that are not enabled too; then those of the bridges
	Bridges []*Bridge
	Spool   *Spool // nil when the file has no spool section
	Admin   Admin

	Topology  *Topology   // nil when the file has none
	PathKey   *SecretRef  // of the topology: seals and proves paths; nil = they are believed by where they come from
	Repeaters []*Repeater // in file order; none = one daemon serves everything
	Repeater  string      // whose Part it is; "" = the whole file

	whole   []*Route // of the file, where Routes are a part of them
	homes   homes    // of Brokers
	traffic traffic  // of Routes
}

// A Broker is a message system that the daemon connects to.
type Broker struct {
	Name, Kind, Site string
	Config           adapters.Config // without the values of secrets; Client, Limits, Dial, Now and Log are the engine's
	Secrets          []SecretRef
	Reconnect        Reconnect
	Failback         time.Duration // how long the first of several addresses must be healthy before all ends go back to it; 0 = never
	Tries            int           // of one address before the next, with the pause between them; 0 = 1
	Trusted          bool          // some enabled route of the file also writes to it: id, origin and path of its messages are believed
	TrustValues      bool          // trusted_headers: values that posthouse-* headers carry are believed, but never id, origin and path
	Line             int           // where it stands in the file

	Fit bridge.Options // what the file says of the conversion of messages that go to it
}

// Reconnect is the pause between two attempts to connect: it doubles from Delay to MaxDelay, and Jitter (0 to 1) of it
// is left to chance.
type Reconnect struct {
	Delay, MaxDelay time.Duration
	Jitter          float64
}

// A Route takes messages from one source to one or more targets.
type Route struct {
	Name    string
	From    adapters.Address
	To      []Target // one or more
	Sharing Sharing  // which of several get a message
	Filter  *Filter  // nil = every message
	Match   Match    // "" = all
	Edits   []Edit   // of headers, on the way to the targets
	Enabled bool

	Prefetch       int   // messages received and not yet settled, per source
	PrefetchSize   int64 // bytes of them
	InFlight       int   // messages sent and not yet confirmed, per lane
	Batch          Batch
	Retry          Retry
	ConfirmTimeout time.Duration
	MaxMessageSize int64 // bytes, headers included
	MaxHops        int
	MaxRate        int // messages a second, per lane; 0 = as fast as the target takes them
	DrainRate      int // messages a second out of the spool, per lane; 0 = as MaxRate

	Delivery  Delivery
	Identity  adapters.Identity // how a redelivery of the source can be told from a new message
	MaxOutage time.Duration     // how long a target that remembers ids for a time may be away under ExactlyOnce; 0 = not stated

	Order         Order
	Key           *Expr // computes the key that order per-key goes by; nil = the message's own
	MaxAttempts   int   // refusals by a target after which a message is poison; at least 1
	OnPoison      OnPoison
	OnFilterError OnFilterError
	Unrouted      Unrouted // what becomes of messages that no route of the source takes; "" = FateUnrouted decides
	Expired       Expired
	DeadLetter    *Target // where messages are set aside; nil = in the directory of the spool, or nowhere if there is none

	AcceptLosses bool // losses: accept

	Asks    *Bridge // it carries the requests of a bridge; nil = of none
	Answers *Bridge // it carries the replies

	Spool       RouteSpool
	RenamedFrom string // the name it had before, whose spool it takes along

	Repeat    *Repeat  // nil: it is written, and stands in nobody's place
	Repeaters []string // that serve it; nil when the file says nothing about repeaters
	Share     bool     // several repeaters or readers may share its source
	LoopOK    bool     // it may close a circle
	InCircle  bool     // it is on one that a route with LoopOK closes

	Line int // where it stands in the file
}

// A Target is one end to which a route sends.
type Target struct {
	Name string // unique within the route
	Addr adapters.Address
	Key  *Expr // computes the message's key; nil = keep the one it has

	InFlight      int  // on this lane alone, in place of Route.InFlight; 0 = as the route says. Route.Window has both
	PassesRefused bool // takes later messages of a window after it has refused one

	Dynamic *Dynamic // computes where each message goes: Addr has only how the names begin; nil: Addr is all

	Weight   int // its share of the messages, where each goes to one of several; 0 = none
	Priority int // its group: only the lowest of which a target is up gets messages

	Class  adapters.Class // what it does with a message that is sent again; not looked up for a DeadLetter
	Memory Memory         // how long it knows an id again, for class T-window

	Arrives bridge.Comparison // what becomes of the source's messages there; not looked up for a DeadLetter
}

// Batch bounds what is sent together: messages, and bytes. What is there goes; nothing waits for more.
type Batch struct {
	Count int
	Size  int64
}

// Retry is the pause before a message is sent again: it grows from Delay to MaxDelay.
type Retry struct {
	Delay, MaxDelay time.Duration
	Factor          float64 // by which the pause grows, at least 1; 0 = 2
}

// Log is what is written to standard error, and how.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // auto, text or json
}

// Flows groups the enabled routes by equal source (broker, form, name and the end's own options): each group has one
// reader. Groups and routes are in file order.
func (t *Table) Flows() [][]*Route {
	var out [][]*Route
	at := map[string]int{}
	for _, r := range t.Routes {
		if !r.Enabled {
			continue
		}
		key := r.reader()
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key], out = i, append(out, nil)
		}
		out[i] = append(out[i], r)
	}
	return out
}

// Summary is the line that check prints for a file without findings.
func (t *Table) Summary() string {
	return fmt.Sprintf("%s: ok (%s, %s)", t.File, plural(len(t.Brokers), "broker"), plural(len(t.Routes), "route"))
}

// sorted returns the brokers in the order of their names.
func (t *Table) sorted() []*Broker {
	var out []*Broker
	for _, n := range slices.Sorted(maps.Keys(t.Brokers)) {
		out = append(out, t.Brokers[n])
	}
	return out
}

var errEmpty = errors.New("empty")

// readFile reads at most maxSecret bytes.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err == nil && len(b) > maxSecret {
		err = fmt.Errorf("%s has more than %d bytes: that is no secret", name, maxSecret)
	}
	return b, err
}
