package ibmmq

import (
	"errors"
	"fmt"
	"slices"

	"github.com/posthouse/posthouse/adapters"
)

var errNotBuilt = errors.New("this binary was built without ibmmq: use the package posthouse-mq, or build it with make build")

// An mqError is a call of the MQI that did not end with MQCC_OK.
type mqError struct {
	verb   string // MQPUT
	cc, rc int32
	length int    // with mqrcTruncated: bytes of the message
	words  string // what the loader says, where it was it that failed
}

// Error is the call, the name of the reason code, and its number.
func (e *mqError) Error() string {
	if e.words != "" {
		return e.words
	}
	r, _ := reasonOf(e.rc)
	if r.name == "" {
		return fmt.Sprintf("%s: reason code %d", e.verb, e.rc)
	}
	return fmt.Sprintf("%s: MQRC_%s (%d)", e.verb, r.name, e.rc)
}

// codeOf is the reason code in err's chain; 0 if there is none.
func codeOf(err error) int32 {
	var e *mqError
	if errors.As(err, &e) {
		return e.rc
	}
	return 0
}

// warned reports whether err is about something that was done all the same. A warning of MQCMIT is none: the unit of work was
// backed out, or its outcome is open.
func warned(err error) bool {
	var e *mqError
	return errors.As(err, &e) && e.cc == mqccWarning && e.verb != "MQCMIT" && e.rc != mqrcTruncated
}

// kindOf is what err means. 2003 at MQCMIT says for certain that nothing is there.
func kindOf(err error) adapters.Kind {
	var e *mqError
	if !errors.As(err, &e) {
		return adapters.KindOf(err)
	}
	r, known := reasonOf(e.rc)
	if !known && e.verb == "MQCMIT" && e.cc == mqccWarning {
		return adapters.Lost
	}
	return r.kind
}

// classify makes an *adapters.Error of err. An error that is one already keeps its kind.
func classify(op string, a adapters.Address, err error) *adapters.Error {
	var own *adapters.Error
	if errors.As(err, &own) {
		return own
	}
	kind := kindOf(err)
	code := codeOf(err)
	if slices.Contains([]int32{mqrcTooBigForQueue, mqrcTooBigForManager, mqrcTooBigForChannel, 2010}, code) {
		err = fmt.Errorf("%w: %w", adapters.ErrTooLarge, err)
	}
	if help := helpFor(op, code); help != "" {
		err = fmt.Errorf("%w: %s", err, help)
	}
	return &adapters.Error{Op: op, Addr: a, Kind: kind, Err: err}
}

// lost is err as the end of the connection, whatever it says.
func lost(op string, a adapters.Address, err error) *adapters.Error {
	if adapters.KindOf(err) == adapters.Lost {
		return classify(op, a, err)
	}
	return &adapters.Error{Op: op, Addr: a, Kind: adapters.Lost, Err: err}
}

// helpFor tells an operator what to do about a reason code; "" where its name says enough.
func helpFor(op string, code int32) string {
	switch code {
	case mqrcNotAuthorized:
		if op == "connect" {
			return "user or password are wrong, or the channel's rules (CHLAUTH, CONNAUTH, MCAUSER) let this user not in; the queue manager's error log says which"
		}
		return "grant the user of the connection get, put, inquire and browse on it as needed (setmqaut, SET AUTHREC)"
	case mqrcManagerName:
		return "queue_manager is not the name of the queue manager at this address: correct it, or leave it out to take whichever answers"
	case mqrcManagerUnavailable, 2538:
		return "nothing answers at this address, or the queue manager is not running: see addresses, and the listener of the queue manager"
	case mqrcChannelUnknown:
		return "the queue manager has no server-connection channel of that name: correct channel, or DEFINE CHANNEL(...) CHLTYPE(SVRCONN)"
	case 2539, 2577:
		return "the channel's definition, or a rule of CHLAUTH, keeps this client out"
	case mqrcUnknownObject:
		return "there is no such queue: correct the name, or DEFINE QLOCAL(...)"
	case 2057, 2043:
		return "it is not a queue of the kind that this end needs"
	case 2082:
		return "the alias leads to a queue that is not there"
	case 2086, 2087, 2184, 2196, 2197, 2198, 2199:
		return "there is no way from this queue manager to that one: define a transmission queue and channels"
	case mqrcTooBigForQueue:
		return "raise MAXMSGL of the queue"
	case mqrcTooBigForManager:
		return "raise MAXMSGL of the queue manager"
	case mqrcTooBigForChannel, 2010:
		return "raise MAXMSGL of the channel"
	case mqrcSyncpointLimit:
		return "lower batch.count and in_flight of the route, or raise MAXUMSGS of the queue manager"
	case mqrcFunctionMissing:
		return "install a redistributable client of IBM MQ 9.4 or newer"
	case 2381:
		return "tls.key_repository does not name a key repository that the client can read: give the path without .kdb, or with .p12, and look at its stash file and rights"
	case 2393, 2400, 2401:
		return "tls.cipher_spec must be the one of the channel (SSLCIPH), and the client must know it"
	case 2396, 2397, 2398, 2399, 2402:
		return "TLS failed: the certificates of the two sides do not fit; AMQERR01.LOG of client and queue manager say why"
	case 2016, 2051:
		return "an operator has inhibited it: ALTER QLOCAL(...) GET(ENABLED) PUT(ENABLED)"
	case mqrcObjectInUse:
		return "another program has it open for itself alone, or a connection of ours that has died is not noticed yet"
	}
	return ""
}
