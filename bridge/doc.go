// Package bridge is what happens to a message between two ends: the conversion rules that all protocols share. All of
// it is pure: no clock, no network, no log, no state.
//
// An adapter's decode and encode move native fields only. Around them stand two functions of this package. Restore,
// after decode, takes Posthouse's own headers (posthouse-*) out of the properties and gives back the values that the
// last protocol could not hold. Fit, before encode, brings a message into the shape that adapters.Headers says the
// target's protocol can hold, and writes the rest into Posthouse's own headers.
//
// # What is promised
//
// Content is never refused: what cannot be understood stays as it is. Nothing is lost in silence: a value has its exact
// native place, or a lossy one and a header, or a header only, or it is dropped with a Note. A header is written exactly
// when the native form alone would not give back the same value, so a message without odd values carries three:
// posthouse-id, posthouse-origin and posthouse-path. A header is believed only where it agrees with the native value
// that was found; where somebody on the way has changed that, the native value wins.
//
// # What is not
//
// Lost are delivery annotations, redelivery counters as native fields, footers as native sections (a digest of them
// cannot be right any more), and the order of properties where the protocol keeps none. A protocol without FieldDurable
// keeps every message, so an unset durability comes back as Yes. A record without a creation time gets one from Kafka.
package bridge

import (
	"errors"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Options are what a route, or the broker at one of its ends, says about conversion. The zero value is the careful one.
type Options struct {
	Trusted     bool // for Restore: posthouse-* of this source is believed; else it is stripped
	TrustValues bool // for Restore: believed too, but never id, origin, path and user-id

	Key adapters.Secret // seals id, origin and path in Fit; for Restore: they are believed only if sealed; zero = there is none

	Skew time.Duration // how far an absolute expiry may be from arrival plus lifetime, 0 = 60 s

	KeepTo      bool // for Fit: the destination at the source travels in posthouse-to, as information
	PassUserID  bool // for Fit: user-id goes into the native field, where there is one
	ConvertText bool // for Restore: text from IBM MQ in another code page becomes UTF-8

	ConvertBody bool // for Fit: a body shape that an AMQP target cannot take travels as opaque bytes; else Permanent
	NoShed      bool // for Fit: too many headers are an error at once; else droppable ones are dropped first

	Dead *Dead // for Fit: the message is a dead letter

	ReplyTo adapters.Addr // for Fit: where the target's applications send replies to; the zero value: to nobody
}

// Dead says why a message is a dead letter. It travels in headers posthouse-dead-*, beside the message as it was.
type Dead struct {
	Reason   string `json:"reason"` // a word from a closed list
	Text     string `json:"text"`   // what the target said, or what is wrong; a header holds its first 1,000 bytes
	Route    string `json:"route"`
	Lane     string `json:"lane"`
	Source   string `json:"source"`   // BROKER/NAME and, where there is one, the source's own id of the delivery
	Attempts int    `json:"attempts"` // times the target has refused it
	First    int64  `json:"first"`    // refusal, ms since 1970 UTC
	Last     int64  `json:"last"`
}

func (o Options) skew() int64 {
	if o.Skew == 0 {
		return 60_000
	}
	return o.Skew.Milliseconds()
}

// ErrExpired is Fit's answer to a message whose time is over.
var ErrExpired = errors.New("the message has expired")

// A Note tells of one drop, escape or clamp. Both words come from closed lists, so they can be metric labels.
type Note struct {
	Field string // the name of Posthouse's own header for it, without prefix: "expires", "props", "ma"; or "trace", "own"
	What  string // one of the constants below
}

// What a Note can say.
const (
	Dropped   = "dropped"   // gone: no place for it, or metadata of the hop
	Escaped   = "escaped"   // the name was spelled in a way that the protocol allows
	Carried   = "carried"   // no native place: it travels in posthouse-props
	Clamped   = "clamped"   // the native value is the nearest one; the header has the true one
	Flattened = "flattened" // the value is text now
	Stale     = "stale"     // the header did not agree with the native value, which won
	Malformed = "malformed" // the header could not be read
	Untrusted = "untrusted" // the source's posthouse-* headers were stripped
	Skewed    = "skewed"    // absolute expiry and lifetime contradict each other: the lifetime won
	Shed      = "shed"      // dropped to keep the header block within its budget
)

// permanent makes the only kind of error that Fit returns, ErrExpired apart.
func permanent(err error) error {
	return &adapters.Error{Op: "convert", Kind: adapters.Permanent, Err: err}
}
