package adapters

import (
	"context"
	"fmt"
	"strings"
)

// A Position is how far one lane has come at a target, kept by the target's broker together with the messages: what is
// in a transaction and the position that says so are there both or not at all (class T-tx, delivery.md, section 5).
type Position struct {
	Last  uint64   `json:"last"`            // every record of the lane up to here is with the target, but for Holes
	Holes []uint64 `json:"holes,omitempty"` // ascending, below Last: set aside, and not with the target
}

// Has reports whether record seq is with the target.
func (p Position) Has(seq uint64) bool {
	if seq > p.Last {
		return false
	}
	for _, h := range p.Holes {
		if h == seq {
			return false
		}
	}
	return true
}

// A TxAdapter is an Adapter some of whose targets have class T-tx.
type TxAdapter interface {
	Adapter

	// OpenTx is OpenTarget for a target whose sends are transactions that carry the sender's position. lane names the
	// sender for good: at most 64 characters of [a-z0-9.], never used for another lane. Whoever opens it fences the one
	// before and ends what that one has left open, before Position is read. What the position needs at the broker is
	// made if it is not there; what is there and does not fit is an *Error of Kind Denied that says what to mend.
	OpenTx(ctx context.Context, c Config, a Address, lane string) (TxTarget, error)
}

// A TxTarget is a Target with transactions. Of the methods that send only SendTx is used; it must not be called twice at
// once.
type TxTarget interface {
	Target

	// Position is what was read back when the target was opened; the zero Position if the broker has none.
	Position() Position

	// SendTx hands ms over in order and stores p, which replaces the last one: in one transaction, all or nothing. After
	// nil all of it is durable, and seen by readers of committed records. An error of Kind Permanent, Full, Denied or
	// NotFound says that nothing of ms and p is there, and that the target can be used again; where it is about some of
	// several messages, a *RefusedError says which of them, if the target knows. Any other error has Kind Lost: the outcome is unknown and the target spent; the
	// Position of its successor tells. With ErrFenced (Kind Denied) another sender has the lane: to open it again would
	// only take it away from that one. SendTx keeps neither ms nor its messages.
	SendTx(ctx context.Context, ms []*Message, p Position) error
}

// A RefusedError says which messages of a transaction the target has refused before it began one: nothing of the others is
// there either. Its Kind is Permanent.
type RefusedError struct {
	// Errs has one entry for each message of the call, in order: nil means that nothing is known against it. At least one is
	// not nil, and those have Kind Permanent.
	Errs []error
}

// Error is the text of the first refusal and how many there are.
func (r *RefusedError) Error() string {
	n := 0
	for _, err := range r.Errs {
		if err != nil {
			n++
		}
	}
	return fmt.Sprintf("%d of %d messages refused, and none sent; the first: %v", n, len(r.Errs), r.Unwrap())
}

// Unwrap returns the first refusal.
func (r *RefusedError) Unwrap() error { return firstError(r.Errs) }

// Refusal is the error of a transaction of which errs were refused, an entry for each of its messages: nil if none was, the
// refusal itself where there is one message, else a *RefusedError.
func Refusal(errs []error) error {
	switch first := firstError(errs); {
	case first == nil || len(errs) == 1:
		return first
	}
	return &RefusedError{Errs: errs}
}

// CheckLane refuses what cannot name a sender for OpenTx; the error has Kind Permanent.
func CheckLane(lane string) error {
	odd := func(r rune) bool { return r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }
	if lane == "" || len(lane) > 64 || strings.ContainsFunc(lane, odd) {
		return &Error{Op: "attach", Kind: Permanent, Err: fmt.Errorf("%q cannot name a lane: 1 to 64 characters of a to z, 0 to 9 and the dot", lane)}
	}
	return nil
}
