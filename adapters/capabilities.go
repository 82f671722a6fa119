package adapters

// Capabilities are what a kind of broker claims. The conformance suite proves each claim and skips only what is not
// claimed.
type Capabilities struct {
	Sources, Targets []Form // forms of address that can be opened

	Settle          Grain    // in what portions a source settles
	SettleConfirmed bool     // nil from Settle means that the broker has answered, not only that the frame was written
	Attempts        Counting // what a redelivery tells about itself
	RejectAside     bool     // Rejected puts the message in a place of the source's own (dead-letter address)
	Order           Ordering // what order a source hands out
	RefusalStops    bool     // a refused message stops the later ones of the same Send, so order holds with many in flight

	Directed bool // a Target sends a message with a Dest to that place; one that is not there is Permanent with ErrGone, about that message alone
	Dynamic  bool // a target can send each message to a place of its own (Address.Dynamic); one that is not there is ErrGone, about that message alone
	Durable  bool // what Send confirmed survives a kill of the broker
	Target   Class
	Source   Identity // of a source without options; Identity tells it for an address

	MaxSize int64 // largest message in bytes, 0 = the broker decides; Config.Limits.MaxSize bounds it further
	Headers Headers
}

// Grain is the portion in which a source settles.
type Grain uint8

// The grains.
const (
	Each   Grain = iota + 1 // every delivery by itself (AMQP, JetStream)
	Prefix                  // the gap-free front of a partition (Kafka)
	Batch                   // all that was received since the last settle (a unit of work, IBM MQ)
)

// Counting is what a redelivery tells about itself.
type Counting uint8

// How Delivery.Attempt is known.
const (
	CountNone Counting = iota // always 1
	CountFlag                 // 1, or 2 for "redelivered"
	CountEach                 // rises with every redelivery
)

// Ordering is the order in which one source hands out what was sent to its address.
type Ordering uint8

// The orders.
const (
	OrderNone       Ordering = iota
	OrderPerKey              // among messages with an equal Message.Key (Kafka: within a partition)
	OrderPerAddress          // among all messages of the address
)

// Class says what a target does with a message that is sent again (delivery.md, section 1).
type Class uint8

// The classes of targets.
const (
	ClassNone   Class = iota // T-none: takes it a second time
	ClassWindow              // T-window: drops an id that it remembers
	ClassTx                  // T-tx: transaction with state that can be read back, by TxAdapter; T-none without it
)

func (c Class) String() string { return [...]string{"T-none", "T-window", "T-tx"}[min(int(c), 2)] }

// Identity says how a source's redelivery can be told from a new message (delivery.md, section 1).
type Identity uint8

// The classes of sources.
const (
	SourceNone     Identity = iota // S-none: not at all
	SourceID                       // S-id: by an id
	SourcePosition                 // S-position: by a position that cannot repeat
)

// KeyUniqueIDs is the option of a source by which an operator declares that its applications never use a message id
// twice. Kinds without a position of their own have it; Delivery.SourceID is made of the message's id then.
const KeyUniqueIDs = "unique_ids"

// Identity is Source for one address: where the broker gives no position, the operator may have declared an id.
func (c Capabilities) Identity(a Address) Identity {
	if c.Source == SourceNone && a.Options.Bool(KeyUniqueIDs, false) {
		return SourceID
	}
	return c.Source
}

// Headers is what a protocol can hold of a Message natively. The package bridge fits a message to it; what has no
// native place travels in Posthouse's own headers.
type Headers struct {
	Protocol   string // ends with the same Protocol exchange natively held fields and Native without conversion
	Convention string // one of the constants below: how the programs at this end read messages; "" = the protocol alone
	Fields     Field  // native fields, a set

	IDs      FormSet // forms of ID and Corr that arrive as sent
	MaxID    int     // bytes, 0 = no limit
	FixedIDs bool    // ids and group ids are exactly MaxID bytes, padded with zeros (IBM MQ)
	RawIDs   bool    // ids are bytes without a form, and readable ones arrive as strings (Spring for Kafka)
	URNs     bool    // ids are strings, a uuid as urn:uuid: and a ulong in decimal (AMQP 0.9.1)
	Types    TypeSet // property types that arrive as sent; others travel as text with a type tag
	TextOnly bool    // property values must be printable ASCII text
	Names    NameRule
	MaxName  int // bytes, 0 = no limit
	MaxValue int // bytes of a property's value, 0 = no limit
	MaxText  int // bytes of a field that is text (type, content type), 0 = no limit

	Duplicates bool // several properties of one name, in order
	NullValues bool
	NullBody   bool // null differs from empty
	Bodies     BodySet
	Cuts       bool   // several data sections stay several
	TextFormat string // the Body.Format that makes bytes text (IBM MQ: MQSTR); "" = there is none

	ExpiryUnit  int64 // ms per unit of a relative expiry; 1 where absolute ms
	Relative    bool  // only the remaining lifetime is held, so the absolute expiry needs a header of Posthouse's own
	MaxExpiry   int64 // in units, 0 = no limit
	CreatedUnit int64 // ms per unit of the creation time; 0 where there is none
	MaxPriority uint8 // 0 where there is none

	MaxBytes   int      // budget for the whole header block in bytes, 0 = 32 KiB for Posthouse's own
	Underscore bool     // Posthouse's own headers are spelled posthouse_x
	Reserved   []string // prefixes of property names that are commands or hop metadata of this protocol
	Taken      []string // property names that decode reads as a native field
	Annotates  string   // prefix of property names that are message annotations (AMQP 0.9.1: x-); "" = none
}

// Conventions of the programs at one end.
const (
	ConventionJMS         = "jms"         // JMS clients over AMQP 1.0: identifiers as names, JMS types, text bodies as text
	ConventionSpring      = "spring"      // Spring for Kafka: its reply headers and its header of types
	ConventionCloudEvents = "cloudevents" // every message goes out as a CloudEvent in binary mode
	ConventionConnect     = "connect"     // Kafka Connect's SimpleHeaderConverter: header values are text
)

// Field names a native field; Fields is a set of them.
type Field uint32

// The fields of a Message that a protocol may hold natively.
const (
	FieldID Field = 1 << iota
	FieldCorr
	FieldTo
	FieldReplyTo
	FieldType
	FieldContentType
	FieldContentEncoding
	FieldCreated
	FieldExpires
	FieldDeliverAt
	FieldPriority
	FieldDurable // where it is absent, the protocol keeps every message and hands it out as durable
	FieldGroup   // id and sequence number
	FieldReplyGroup
	FieldAppID
	FieldUserID
	FieldKey
	FieldMsgType // with Report, Feedback and the body's Format, CCSID and Encoding
	FieldAnnotations
	FieldFooter
	FieldGroupLast
)

// Has reports whether all of f are in s.
func (s Field) Has(f Field) bool { return s&f == f }

// FormSet is a set of IDForms.
type FormSet uint8

// IDSet makes a set of forms.
func IDSet(fs ...IDForm) FormSet {
	var s FormSet
	for _, f := range fs {
		s |= 1 << f
	}
	return s
}

// Has reports whether f is in s.
func (s FormSet) Has(f IDForm) bool { return s&(1<<f) != 0 }

// TypeSet is a set of Types.
type TypeSet uint32

// Types makes a set of property types.
func Types(ts ...Type) TypeSet {
	var s TypeSet
	for _, t := range ts {
		s |= 1 << t
	}
	return s
}

// Has reports whether t is in s.
func (s TypeSet) Has(t Type) bool { return s&(1<<t) != 0 }

// BodySet is a set of BodyForms.
type BodySet uint16

// Bodies makes a set of body forms.
func Bodies(fs ...BodyForm) BodySet {
	var s BodySet
	for _, f := range fs {
		s |= 1 << f
	}
	return s
}

// Has reports whether f is in s.
func (s BodySet) Has(f BodyForm) bool { return s&(1<<f) != 0 }

// NameRule is what a property's name may look like.
type NameRule uint8

// The rules.
const (
	NameAny        NameRule = iota // any UTF-8 but the empty string
	NameIdentifier                 // a Java identifier, no reserved word (JMS, IBM MQ)
	NamePrintable                  // printable ASCII without space and colon
	NameToken                      // a token of RFC 9110, section 5.6.2: what nats.go lets through as a header name
)
