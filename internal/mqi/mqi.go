// Package mqi is the lowest layer of the IBM MQ adapter: what the binding github.com/ibm-messaging/mq-golang/v5 needs to be
// compiled and linked without a file of IBM's, and what it does wrong.
//
// The binding includes cmqc.h and three more headers and links against libmqm_r. Here are headers of our own (include),
// with the constants generated from the binding's; the 22 calls of the MQI, which pass on to the client library that is
// installed on the machine, loaded when the first connection is made (tramp.c); and an empty archive named libmqm_r.a
// (lib), for the linker asks for one. All that is compiled with the tag ibmmq and
//
//	CGO_CFLAGS="-I$PWD/internal/mqi/include" go build -tags ibmmq ./cmd/posthouse
//
// which make build does. Without the tag, or without cgo, there is nothing but Built, which says so.
//
// Package standin is a client library and a queue manager for tests.
package mqi

//go:generate go run ./genconst

import "fmt"

// Reason codes of the two ways in which loading fails, as MQCONNX returns them.
const (
	ReasonNoLibrary = 2012 // MQRC_ENVIRONMENT_ERROR: no client library; a loaded one may say it for other reasons
	ReasonTooOld    = 2298 // MQRC_FUNCTION_NOT_SUPPORTED: a client library without one of the 22 calls
)

// Status says where the client library came from, or why there is none.
type Status struct {
	Path   string // what is loaded, as it was given to the loader; empty if nothing is
	Tried  string // the places that were tried, each with the loader's own words; empty before the first attempt
	Reason int32  // 0 if it is loaded, else ReasonNoLibrary or ReasonTooOld
}

// Err returns nil if the library is loaded, else a *LoadError.
func (s Status) Err() error {
	if s.Path != "" {
		return nil
	}
	return &LoadError{s}
}

// A LoadError says in plain words that there is no client library and what to do.
type LoadError struct{ Status Status }

func (e *LoadError) Error() string {
	what := "not found: install IBM's MQ client or set POSTHOUSE_MQ_LIB"
	if e.Status.Reason == ReasonTooOld {
		what = "too old: install a newer IBM MQ client (9.4 or later is best) or set POSTHOUSE_MQ_LIB to one"
	}
	return fmt.Sprintf("IBM MQ client library %s. Tried: %s", what, e.Status.Tried)
}
