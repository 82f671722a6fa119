package ibmmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// TestKindsOfReasons: some of each kind, by the numbers of IBM's reference.
func TestKindsOfReasons(t *testing.T) {
	for kind, codes := range map[adapters.Kind][]int32{
		adapters.Lost: {2009, 2059, 2161, 2538, 2549}, adapters.Transient: {2003, 2016, 2024, 2042, 2051}, adapters.Full: {2053, 2056, 2192},
		adapters.Permanent: {2010, 2013, 2027, 2030, 2031, 2218, 2478}, adapters.Denied: {2012, 2035, 2298, 2381, 2393, 2539},
		adapters.NotFound: {2058, 2085, 2087, 2540}, adapters.Other: {2033, 1, 9999},
	} {
		for _, code := range codes {
			if got := kindOf(&mqError{"MQPUT", mqccFailed, code, 0, ""}); got != kind {
				t.Errorf("%d is %v, want %v", code, got, kind)
			}
		}
	}
}

// TestNoReasonIsInTwoKinds, or the table would answer by chance.
func TestNoReasonIsInTwoKinds(t *testing.T) {
	seen := map[int32]adapters.Kind{}
	for kind, names := range reasons {
		for code, name := range names {
			if other, twice := seen[code]; twice || name == "" {
				t.Errorf("%d %q is %v and %v", code, name, kind, other)
			}
			seen[code] = kind
		}
	}
	if len(seen) < 150 {
		t.Errorf("only %d reasons", len(seen))
	}
}

func TestErrorsAreReadable(t *testing.T) {
	at := adapters.Address{Broker: "mq", Name: "ORDERS"}
	for _, c := range []struct {
		op    string
		err   error
		words []string
		large bool
	}{
		{"attach", &mqError{"MQOPEN", mqccFailed, 2085, 0, ""}, []string{"attach mq/ORDERS: MQOPEN: MQRC_UNKNOWN_OBJECT_NAME (2085)", "DEFINE QLOCAL"}, false},
		{"connect", &mqError{"MQCONNX", mqccFailed, 2035, 0, ""}, []string{"MQRC_NOT_AUTHORIZED (2035)", "CHLAUTH"}, false},
		{"send", &mqError{"MQPUT", mqccFailed, 2035, 0, ""}, []string{"setmqaut"}, false},
		{"send", &mqError{"MQPUT", mqccFailed, 2030, 0, ""}, []string{"MAXMSGL of the queue"}, true},
		{"send", &mqError{"MQPUT", mqccFailed, 7777, 0, ""}, []string{"MQPUT: reason code 7777"}, false},
		{"connect", &mqError{"MQCONNX", mqccFailed, 2012, 0, "IBM MQ client library not found: install it"}, []string{"connect mq/ORDERS: IBM MQ client library not found"}, false},
	} {
		err := classify(c.op, at, fmt.Errorf("wrapped: %w", c.err))
		err2 := classify(c.op, at, c.err)
		for _, w := range c.words {
			if !strings.Contains(err2.Error(), w) {
				t.Errorf("%q lacks %q", err2, w)
			}
		}
		if errors.Is(err, adapters.ErrTooLarge) != c.large || err.Kind != err2.Kind {
			t.Errorf("%v: too large %t, kinds %v and %v", err, !c.large, err.Kind, err2.Kind)
		}
	}
	if again := classify("send", at, classify("attach", at, c2085)); again.Op != "attach" || again.Kind != adapters.NotFound {
		t.Errorf("classified twice: %v", again)
	}
	if k := kindOf(context.Canceled); k != adapters.Transient {
		t.Errorf("a context that ended is %v", k)
	}
}

var c2085 = &mqError{"MQOPEN", mqccFailed, 2085, 0, ""}

// TestWarnings: what was done all the same is no error, but at MQCMIT.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		e    mqError
		want bool
	}{{mqError{verb: "MQPUT", cc: 1, rc: 2104}, true}, {mqError{verb: "MQPUT", cc: 1, rc: 4711}, true}, {mqError{verb: "MQCMIT", cc: 1, rc: 2003}, false},
		{mqError{verb: "MQPUT", cc: 2, rc: 2104}, false}, {mqError{verb: "MQGET", cc: 1, rc: mqrcTruncated}, false}} {
		if warned(&c.e) != c.want {
			t.Errorf("%v with completion code %d: %t", &c.e, c.e.cc, !c.want)
		}
	}
	if k := kindOf(&mqError{verb: "MQCMIT", cc: 1, rc: 4711}); k != adapters.Lost {
		t.Errorf("an unknown warning of a commit is %v", k)
	}
}

func TestConnNames(t *testing.T) {
	for in, want := range map[string]string{"h:1415": "h(1415)", "h(1415)": "h(1415)", "h": "h(1414)", "10.0.0.1:1": "10.0.0.1(1)", "[::1]:1414": "::1(1414)",
		"h(": "", "h(x)": "", "h:": "", ":1414": "", "tcp://h:1": "", "h:70000": "", "a,b": "", "": ""} {
		if got, err := connName(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", in, got, err, want)
		}
	}
}
