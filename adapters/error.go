package adapters

import (
	"context"
	"errors"
	"fmt"
)

// Kind says what an error means for the message in hand and for its route. An adapter classifies once, at the edge;
// the repeater decides the fate once, in the middle.
type Kind uint8

// The kinds. Permanent, Full, Denied and NotFound are definite answers: the message was not taken. Transient and Lost
// leave it unknown whether it was.
const (
	Other     Kind = iota // not classified: treated as Transient and counted, a bug of the adapter
	Transient             // try again here: the answer is unknown or asks for patience
	Permanent             // this message will never be taken: too big, not expressible, refused
	Full                  // no room now: hold and wait
	Denied                // credentials or rights: an operator has to act
	NotFound              // no such queue, topic or stream: an operator has to act
	Lost                  // the connection is gone: reopen, then send the unknown rest again
)

var kindNames = [...]string{"other", "transient", "permanent", "full", "denied", "not-found", "lost"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", k)
}

// Definite reports whether an error of kind k proves that the message was not taken.
func (k Kind) Definite() bool { return k == Permanent || k == Full || k == Denied || k == NotFound }

// ErrGone is in the chain of an Error of Kind Permanent when the destination of one message (Message.Dest) is not there, or
// nobody may send to it.
var ErrGone = errors.New("its destination is gone, or nobody may send to it")

// ErrTooLarge is in the chain of an Error of Kind Permanent when the message is larger than its target takes.
var ErrTooLarge = errors.New("message is larger than the target takes")

// ErrFenced is in the chain of an Error of Kind Denied when another sender has taken the lane over (TxAdapter).
var ErrFenced = errors.New("another sender has taken this lane over")

// An Error says which operation failed, on what, and what that means for the message in hand. Err is the cause in the
// broker's or client's own words; it never holds a secret.
type Error struct {
	Op   string  // "connect", "attach", "send", "receive", "settle"
	Addr Address // the zero Address where the error is about the connection
	Kind Kind
	Err  error
}

// Error is "OP ADDRESS: CAUSE"; the kind is for code, not for people.
func (e *Error) Error() string {
	at := e.Addr.Broker
	if e.Addr.Name != "" {
		at = e.Addr.String()
	}
	if at == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, at, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's chain. A context that ended is Transient: nobody knows what
// became of the message. Everything else is Other.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Transient
	}
	return Other
}

// A PartialError tells the fate of each message of a Send, where the broker answered for several and not all of them
// were taken. Without it one refusal would make the accepted ones behind it unknown, and sending them again would
// duplicate them with no fault at all.
type PartialError struct {
	// Errs has one entry for each message of the call, in order: nil means durably taken. At least one is not nil.
	Errs []error
}

// Error is the text of the first failure and how many there are.
func (p *PartialError) Error() string {
	failed := 0
	for _, err := range p.Errs {
		if err != nil {
			failed++
		}
	}
	return fmt.Sprintf("%d of %d messages not taken; the first: %v", failed, len(p.Errs), p.Unwrap())
}

// Unwrap returns the failure of the first message that was not taken.
func (p *PartialError) Unwrap() error { return firstError(p.Errs) }

func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Result turns the fates of one batch, nil or an error for each message, into what Send returns: the durable prefix,
// and nil, the plain error, or a *PartialError where something behind the first failure was answered too.
func Result(errs []error) (n int, err error) {
	for n < len(errs) && errs[n] == nil {
		n++
	}
	if n == len(errs) {
		return n, nil
	}
	for _, e := range errs[n+1:] {
		if e == nil || KindOf(e).Definite() {
			return n, &PartialError{Errs: errs}
		}
	}
	return n, errs[n]
}

// Fates is the reverse of Result: one entry for each of total messages. Messages behind the failure that the error
// says nothing about get Kind Lost: unknown.
func Fates(total, n int, err error) []error {
	var p *PartialError
	if errors.As(err, &p) && len(p.Errs) == total {
		return p.Errs
	}
	errs := make([]error, total)
	if err == nil {
		return errs
	}
	for i := n; i < total; i++ {
		if errs[i] = err; i > n && KindOf(err) != Lost {
			errs[i] = &Error{Op: "send", Kind: Lost, Err: fmt.Errorf("not answered: %w", err)}
		}
	}
	return errs
}
