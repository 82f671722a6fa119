package ibmmq

import "time"

// What this adapter asks of IBM's client, in so few words that everything above it is plain Go. The implementation over the
// binding is in mqi_cgo.go, behind the build tag.

// A connector makes connections.
type connector interface {
	// connect is MQCONNX by one CONNNAME, which may be "" with a CCDT. It blocks as long as the client library does.
	connect(s settings, connName string) (connection, error)

	// library is where the client library was loaded from, or why it was not.
	library() (path string, err error)
}

// A connection is one connection handle, and so one unit of work. One call at a time; from any goroutine. Errors are *mqError.
type connection interface {
	// open is MQOPEN with the options mqoo...
	open(o objectName, options int32) (object, error)
	commit() error
	back() error

	// disconnect is MQDISC, which commits: whoever has something open calls back before.
	disconnect() error
}

// An object is an open queue, or the queue manager itself.
type object interface {
	get(o getOptions) (Wire, error)
	put(w Wire, o putOptions) error

	// inquire is MQINQ: int32 or a string without the blanks that pad it, by selector.
	inquire(selectors ...int32) (map[int32]any, error)
	close() error
}

// An objectName says what to open. The zero value is the queue manager.
type objectName struct {
	queue, manager string // manager "" = the one that is connected
	topic          string // object string of a topic to publish to
}

// getOptions are those of one MQGET. It is always in syncpoint; options that this adapter never changes are not here.
type getOptions struct {
	wait     time.Duration // 0 = what is there now
	max      int           // bytes of body that are taken at most; a larger message stays, with mqrcTruncated
	messages messageIDs    // nil = the next one
}

// messageIDs say which message is wanted.
type messageIDs *struct{ msg, correl [24]byte }

// putOptions are those of one MQPUT in syncpoint.
type putOptions struct {
	context contextOption
	from    object // with passContext: where the message was got
}

// A contextOption says who fills in the context of a message: who put it, and when.
type contextOption uint8

const (
	defaultContext contextOption = iota // the queue manager
	passContext                         // as it was got
	identityContext
	allContext
)

// Open options (MQOO).
const (
	mqooInputShared    = 0x2
	mqooInputExclusive = 0x4
	mqooOutput         = 0x10
	mqooInquire        = 0x20
	mqooSaveAllContext = 0x80
	mqooPassAllContext = 0x200
	mqooSetIdentity    = 0x400
	mqooSetAllContext  = 0x800
	mqooNoReadAhead    = 0x80000
)

// Selectors of MQINQ (MQIA, MQCA).
const (
	mqiaCCSID            = 2
	mqiaMaxMsgLength     = 13
	mqiaQueueType        = 20
	mqiaBackoutThreshold = 22
	mqiaCommandLevel     = 31
	mqiaMaxUncommitted   = 33
	mqcaBaseQueue        = 2002
	mqcaDeadLetterQueue  = 2006
	mqcaManagerName      = 2015
	mqcaBackoutQueue     = 2019
	mqcaManagerID        = 2032

	mqqtAlias = 3 // value of mqiaQueueType
)

// Completion codes (MQCC) and the reason codes (MQRC) that the adapter asks for by name; reasons.go has the rest.
const (
	mqccWarning = 1
	mqccFailed  = 2

	mqrcBackedOut          = 2003
	mqrcEnvironment        = 2012
	mqrcSyncpointLimit     = 2024
	mqrcTooBigForQueue     = 2030
	mqrcTooBigForManager   = 2031
	mqrcNoMessage          = 2033
	mqrcNotAuthorized      = 2035
	mqrcObjectInUse        = 2042
	mqrcTruncated          = 2080
	mqrcUnknownObject      = 2085
	mqrcTooBigForChannel   = 2218
	mqrcFunctionMissing    = 2298
	mqrcBackoutThreshold   = 2362
	mqrcChannelUnknown     = 2540
	mqrcManagerName        = 2058
	mqrcManagerUnavailable = 2059
)
