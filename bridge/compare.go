package bridge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// A Comparison is what becomes of messages on their way from one end to another, in words for operators: what programs at the
// target do not find where their protocol has it. It follows from the claims of both ends, so it names what may occur and
// not what a certain message has.
type Comparison struct {
	Ignored []string // the target's broker does not act on it; it travels in headers
	Hidden  []string // travels in headers
	Changed []string // arrives in another form
	Lost    []string // is not there any more, even behind the next repeater
}

// Compare follows what end from may bring to end to, where Fit is called with o.
func Compare(from, to adapters.Headers, o Options) Comparison {
	c := comparison{from: &from, to: &to, o: o}
	c.fields()
	c.numbers()
	c.ids()
	c.types()
	c.names()
	c.bodies()
	c.out.Lost = append(c.out.Lost, "counts of redeliveries as native fields")
	if from.Fields.Has(adapters.FieldAnnotations) {
		c.out.Lost = append(c.out.Lost, "delivery annotations", "annotations that the source's broker made")
	}
	return c.out
}

type comparison struct {
	from, to *adapters.Headers
	o        Options
	out      Comparison
}

func (c *comparison) changed(format string, args ...any) {
	c.out.Changed = append(c.out.Changed, fmt.Sprintf(format, args...))
}

// fields looks at what one protocol has a place for and the other has not.
func (c *comparison) fields() {
	missing := func(f adapters.Field) bool { return c.from.Fields.Has(f) && !c.to.Fields.Has(f) }
	for _, f := range acted() {
		if missing(f.field) && !(f.field == adapters.FieldExpires && c.to.ExpiryUnit > 1) {
			c.out.Ignored = append(c.out.Ignored, f.words)
		}
	}
	for _, f := range carried() {
		if missing(f.field) {
			c.out.Hidden = append(c.out.Hidden, f.words)
		}
	}
	if c.from.Fields.Has(adapters.FieldUserID) && !(c.o.PassUserID && c.to.Fields.Has(adapters.FieldUserID)) {
		c.out.Hidden = append(c.out.Hidden, "user id")
	}
	if c.from.Fields.Has(adapters.FieldFooter) {
		c.out.Hidden = append(c.out.Hidden, "footer")
	}
	if c.from.Fields.Has(adapters.FieldReplyTo) && c.o.ReplyTo == (adapters.Addr{}) {
		c.out.Hidden = append(c.out.Hidden, "reply address (nobody there can answer, outside of bridges)")
	}
}

type fieldWords struct {
	field adapters.Field
	words string
}

// acted are the fields by which brokers do something.
func acted() []fieldWords {
	return []fieldWords{{adapters.FieldExpires, "expiry"}, {adapters.FieldPriority, "priority"}, {adapters.FieldDeliverAt, "delivery time"}}
}

func carried() []fieldWords {
	return []fieldWords{
		{adapters.FieldID, "message id"}, {adapters.FieldCorr, "correlation id"}, {adapters.FieldType, "type (JMSType, subject)"},
		{adapters.FieldContentType, "content type"}, {adapters.FieldContentEncoding, "content encoding"},
		{adapters.FieldCreated, "creation time"}, {adapters.FieldGroup, "group"}, {adapters.FieldGroupLast, "end of a group"},
		{adapters.FieldReplyGroup, "reply group"}, {adapters.FieldAppID, "application id"}, {adapters.FieldKey, "ordering key"},
		{adapters.FieldMsgType, "message type, report, feedback, format and code page"}, {adapters.FieldAnnotations, "message annotations"},
	}
}

// numbers looks at fields that both have, in different units or ranges.
func (c *comparison) numbers() {
	from, to := c.from, c.to
	both := from.Fields & to.Fields
	if both.Has(adapters.FieldPriority) && from.MaxPriority > to.MaxPriority {
		c.changed("priorities above %d become %d", to.MaxPriority, to.MaxPriority)
	}
	if both.Has(adapters.FieldCreated) && from.CreatedUnit < to.CreatedUnit {
		c.changed("the creation time is cut to %d ms", to.CreatedUnit)
	}
	if from.Fields.Has(adapters.FieldExpires) && max(from.ExpiryUnit, 1) < to.ExpiryUnit {
		c.changed("the expiry is rounded up to %d ms", to.ExpiryUnit)
	}
}

func (c *comparison) ids() {
	from, to := c.from, c.to
	switch {
	case !(from.Fields & to.Fields).Has(adapters.FieldCorr):
	case to.FixedIDs && !from.FixedIDs:
		c.changed("ids have %d bytes: longer ones become a hash", to.MaxID)
	case from.IDs&^to.IDs != 0 && to.IDs.Has(adapters.IDString):
		c.changed("ids that are bytes, numbers or uuids become text")
	case from.IDs&^to.IDs != 0:
		c.changed("ids become bytes")
	}
}

// types looks at properties.
func (c *comparison) types() {
	from, to := c.from, c.to
	switch lacks := from.Types &^ to.Types; {
	case lacks == 0:
	case !typedProps(to):
		c.changed("properties that are not text become text, with their types in posthouse-types")
	default:
		c.changed("properties of the types %s become the next wider number, or text", strings.Join(typeWords(lacks), ", "))
	}
	if from.NullValues && !to.NullValues {
		c.changed("a property without a value becomes empty text")
	}
	if from.Duplicates && !to.Duplicates {
		c.changed("of several properties of one name only the last is a property, the others travel in posthouse-props")
	}
}

func typeWords(s adapters.TypeSet) (words []string) {
	for t, w := range map[adapters.Type]string{adapters.TU8: "ubyte", adapters.TU16: "ushort", adapters.TU32: "uint", adapters.TU64: "ulong",
		adapters.TI8: "byte", adapters.TI16: "short", adapters.TF32: "float", adapters.TSymbol: "symbol", adapters.TChar: "char",
		adapters.TBytes: "binary", adapters.TTime: "timestamp", adapters.TUUID: "uuid", adapters.TDecimal: "decimal", adapters.TList: "list",
		adapters.TMap: "map"} {
		if s.Has(t) {
			words = append(words, w)
		}
	}
	slices.Sort(words)
	return words
}

func (c *comparison) names() {
	if c.from.Names == c.to.Names {
		return
	}
	switch c.to.Names {
	case adapters.NameIdentifier:
		c.changed("names that are no identifiers are respelled (x-team becomes x_HYPHEN_team)")
	case adapters.NamePrintable, adapters.NameToken:
		c.changed("properties with blanks, colons or letters beyond ASCII in their names travel in posthouse-props")
	}
}

func (c *comparison) bodies() {
	from, to := c.from, c.to
	lacks := func(f adapters.BodyForm) bool { return from.Bodies.Has(f) && !to.Bodies.Has(f) }
	if lacks(adapters.BodyText) && to.TextFormat == "" {
		c.changed("text bodies become bytes in UTF-8")
	}
	if lacks(adapters.BodyValue) || lacks(adapters.BodyMap) || lacks(adapters.BodySequence) {
		if to.Protocol == "amqp" && !c.o.ConvertBody {
			c.out.Lost = append(c.out.Lost, "messages whose body is a map, list or typed value: they are dead letters (body: refuse)")
		} else {
			c.changed("bodies that are maps, lists or typed values become bytes in AMQP encoding")
		}
	}
	if from.NullBody && !to.NullBody {
		c.changed("a null body becomes an empty one")
	}
	if from.Cuts && !to.Cuts {
		c.changed("several data sections become one body")
	}
}
