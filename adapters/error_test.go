package adapters

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func fail(k Kind) error { return &Error{Op: "send", Kind: k, Err: errors.New(k.String())} }

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{nil, Other},
		{io.EOF, Other},
		{fail(Full), Full},
		{fmt.Errorf("wrapped: %w", fail(Denied)), Denied},
		{&PartialError{Errs: []error{nil, fail(Permanent), fail(Lost)}}, Permanent},
		{context.Canceled, Transient},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), Transient},
		{&Error{Kind: Lost, Err: context.Canceled}, Lost}, // the adapter knows better than the context
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("KindOf(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestOnlyExplicitAnswersAreDefinite(t *testing.T) {
	definite := map[Kind]bool{Permanent: true, Full: true, Denied: true, NotFound: true}
	for k := Other; k <= Lost; k++ {
		if k.Definite() != definite[k] {
			t.Errorf("%v: Definite() = %v", k, k.Definite())
		}
	}
	if s := Kind(99).String(); s != "kind(99)" {
		t.Errorf("unknown kind prints %q", s)
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("no such queue")
	for _, c := range []struct {
		e    Error
		want string
	}{
		{Error{Op: "attach", Addr: Address{Broker: "paris", Name: "orders"}, Err: cause}, "attach paris/orders: no such queue"},
		{Error{Op: "connect", Addr: Address{Broker: "paris"}, Err: cause}, "connect paris: no such queue"},
		{Error{Op: "send", Err: cause}, "send: no such queue"},
	} {
		if got := c.e.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if !errors.Is(&c.e, cause) {
			t.Error("the cause is not in the chain")
		}
	}
}

func TestResult(t *testing.T) {
	lost, no := fail(Lost), fail(Permanent)
	for _, c := range []struct {
		errs    []error
		n       int
		partial bool
		kind    Kind
	}{
		{nil, 0, false, Other},
		{[]error{nil, nil}, 2, false, Other},
		{[]error{nil, lost, lost}, 1, false, Lost},
		{[]error{no}, 0, false, Permanent},
		{[]error{nil, no, nil}, 1, true, Permanent}, // one behind it was taken
		{[]error{lost, no}, 0, true, Lost},          // one behind it was refused
	} {
		n, err := Result(c.errs)
		var p *PartialError
		if n != c.n || errors.As(err, &p) != c.partial || err != nil && KindOf(err) != c.kind {
			t.Errorf("Result(%v) = %d, %v", c.errs, n, err)
		}
	}
}

func TestPartialErrorText(t *testing.T) {
	err := &PartialError{Errs: []error{nil, fail(Full), nil, fail(Lost)}}
	if got := err.Error(); got != "2 of 4 messages not taken; the first: send: full" {
		t.Error(got)
	}
	if (&PartialError{Errs: []error{nil}}).Unwrap() != nil {
		t.Error("nothing failed, but there is a failure")
	}
}

// What Send returns and what a lane makes of it must agree, or a taken message is sent twice or a lost one forgotten.
func TestFatesUndoResult(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		errs := rapid.SliceOf(rapid.SampledFrom([]error{nil, fail(Lost), fail(Transient), fail(Permanent), fail(Full)})).Draw(t, "errs")
		n, err := Result(errs)
		if (n < len(errs)) != (err != nil) {
			t.Fatalf("Result(%v) = %d, %v: the prefix rule does not hold", errs, n, err)
		}
		for i, fate := range Fates(len(errs), n, err) {
			taken, definite := errs[i] == nil, errs[i] != nil && KindOf(errs[i]).Definite()
			if taken != (fate == nil) {
				t.Fatalf("message %d of %v: fate %v", i, errs, fate)
			}
			if definite && KindOf(fate) != KindOf(errs[i]) {
				t.Fatalf("message %d of %v was answered with %v, but its fate is %v", i, errs, errs[i], fate)
			}
		}
	})
}

func TestFatesBehindAPlainFailureAreUnknown(t *testing.T) {
	fates := Fates(3, 1, fail(Permanent))
	if fates[0] != nil || KindOf(fates[1]) != Permanent || KindOf(fates[2]) != Lost {
		t.Errorf("fates: %v", fates)
	}
	if !strings.Contains(fates[2].Error(), "not answered") {
		t.Errorf("the text does not say why: %v", fates[2])
	}
	// A PartialError of another batch says nothing about this one.
	if got := Fates(1, 0, &PartialError{Errs: []error{nil, fail(Full)}}); got[0] == nil {
		t.Error("a fate was taken from an error about other messages")
	}
}
