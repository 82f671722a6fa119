package routes

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// RepliesName stands in the place of a target in the name of the lane that keeps a bridge's outstanding requests:
// NAME.request/replies.
const RepliesName = "replies"

// A Bridge is a request route and a reply route that belong together. It is shared by both and immutable.
type Bridge struct {
	Name    string
	Request string // name of the route that carries the requests
	Reply   string // name of the route that carries the replies

	ReplyFrom adapters.Addr // where the responders send replies: what a request names there
	Fixed     adapters.Addr // where replies go whose request names nothing; the zero value: nowhere
	Allow     []string      // names that a request may ask its reply to be sent to; a * at the end makes a prefix
	Temporary bool          // temporary destinations may be asked for too
	Makes     string        // kind and dialect of the requesters' broker: what its temporary destinations look like

	Correlate      Correlate
	Mode           ReplyTo
	Timeout        time.Duration // from the reception of a request until its reply is late
	Late           LateReply
	MaxOutstanding int  // requests without a reply; more wait at their source
	Many           bool // several replies to one request

	Line int // where it stands in the file
}

// Correlate is which id of its request a requester expects as the correlation id of the reply.
type Correlate string

// The habits.
const (
	CorrelateAuto        Correlate = "auto"           // what the responder took over, its counterpart
	CorrelateMessage     Correlate = "message-id"     // the message id, whatever the responder took over
	CorrelateCorrelation Correlate = "correlation-id" // the correlation id where the request had one
)

// ReplyTo is what becomes of the reply address of a request.
type ReplyTo string

// The modes.
const (
	ReplyRewrite ReplyTo = "rewrite" // the bridge's own; ids too, and a table keeps what they were
	ReplyMap     ReplyTo = "map"     // the bridge's own; ids stay, all replies go to one place, nothing is kept
	ReplyKeep    ReplyTo = "keep"    // unchanged, where both ends share one name space; nothing is kept
)

// LateReply is what becomes of a reply that comes after Bridge.Timeout.
type LateReply string

// The fates of late replies.
const (
	LateDeadLetter LateReply = "dead-letter"
	LateDeliver    LateReply = "deliver"
	LateDrop       LateReply = "drop"
)

// Table reports whether the bridge has to remember its requests.
func (b *Bridge) Table() bool { return b.Mode == ReplyRewrite }

// Open reports whether replies go to addresses that only the requests name.
func (b *Bridge) Open() bool { return len(b.Allow) > 0 || b.Temporary }

// Why a reply address is refused.
var (
	errNoReplyTo  = errors.New("the request names no reply address, and the bridge's reply.to has no place for its reply")
	errScope      = errors.New("the reply address names another broker")
	errNotAllowed = errors.New("the bridge does not allow it (reply.to.allow)")
)

// Destination is where the reply to a request goes that names the address a: an address of the requesters' own broker
// that the file allows. The error says why it is refused.
func (b *Bridge) Destination(a adapters.Addr) (adapters.Addr, error) {
	a.Name = plainName(a.Name)
	switch {
	case a.Name == "" && b.Fixed == (adapters.Addr{}):
		return a, errNoReplyTo
	case a.Name == "":
		return b.Fixed, nil
	case a.Scope != "" && b.allowedElsewhere(a):
		return a, nil
	case a.Scope != "":
		return a, fmt.Errorf("reply address %q: %w", clip(a.Name+"@"+a.Scope), errScope)
	case a.Name == b.Fixed.Name && sameKind(a.Form, b.Fixed.Form):
		return b.Fixed, nil
	case b.Temporary && temporary(b.Makes, a.Name):
		return a, nil
	}
	if a.Form != adapters.AddrTempQueue && a.Form != adapters.AddrTempTopic {
		for _, p := range b.Allow {
			if prefix, ok := strings.CutSuffix(p, "*"); a.Name == p || ok && strings.HasPrefix(a.Name, prefix) && tame(a.Name) {
				return a, nil
			}
		}
	}
	return a, fmt.Errorf("reply address %q: %w", clip(a.Name), errNotAllowed)
}

// allowedElsewhere reports whether the file allows a queue of another queue manager, as NAME@MANAGER.
func (b *Bridge) allowedElsewhere(a adapters.Addr) bool {
	return slices.Contains(b.Allow, a.Name+"@"+a.Scope)
}

// plainName is the name of a queue in an address as RabbitMQ 4 spells it.
func plainName(s string) string {
	if name, ok := strings.CutPrefix(s, "/queues/"); ok {
		if plain, err := url.PathUnescape(name); err == nil {
			return plain
		}
	}
	return s
}

// tame reports whether a name that begins with an allowed prefix is a name and nothing more: no queue of another address
// (ADDRESS::QUEUE of Artemis), no wildcards, no options.
func tame(name string) bool {
	return len(name) <= 200 && !strings.Contains(name, "::") && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:$@") == ""
}

// sameKind reports whether two forms may mean one place: an unknown one means any.
func sameKind(a, b adapters.AddrForm) bool {
	return a == b || a == adapters.AddrUnknown || b == adapters.AddrUnknown
}

// temporary reports whether a name is one that only the broker itself gives, to a destination that dies with its
// connection: what a message says of itself is not believed. Artemis names them by UUIDs, Qpid and NATS by a prefix.
func temporary(makes, name string) bool {
	switch makes {
	case "amqp/artemis":
		return uuidName(name)
	case "amqp/qpid":
		return strings.HasPrefix(name, "TempQueue") || uuidName(name)
	case "nats":
		return strings.HasPrefix(name, "_INBOX.") && !strings.ContainsAny(name, "*> \t\r\n")
	case "mem":
		return strings.HasPrefix(name, "tmp-")
	}
	return false
}

// uuidName reports whether a name is 8-4-4-4-12 hexadecimal digits.
func uuidName(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'f' || s[i] >= 'A' && s[i] <= 'F'
		if dash != (s[i] == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
