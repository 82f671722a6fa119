package bridge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// headersOf mirrors what the adapters claim, and what those to come will: the header capabilities of section 3 of the
// design, by protocol.
func headersOf(name string) adapters.Headers {
	scalars := adapters.Types(adapters.TNull, adapters.TBool, adapters.TI8, adapters.TI16, adapters.TI32, adapters.TI64,
		adapters.TF32, adapters.TF64, adapters.TString, adapters.TBytes)
	amqp := adapters.Headers{
		Protocol: "amqp",
		Fields: adapters.FieldID | adapters.FieldCorr | adapters.FieldReplyTo | adapters.FieldType | adapters.FieldContentType |
			adapters.FieldContentEncoding | adapters.FieldCreated | adapters.FieldExpires | adapters.FieldPriority |
			adapters.FieldDurable | adapters.FieldGroup | adapters.FieldReplyGroup | adapters.FieldAnnotations |
			adapters.FieldFooter | adapters.FieldDeliverAt | adapters.FieldUserID,
		IDs: adapters.IDSet(adapters.IDString, adapters.IDBytes, adapters.IDUUID, adapters.IDULong),
		Types: scalars | adapters.Types(adapters.TU8, adapters.TU16, adapters.TU32, adapters.TU64, adapters.TSymbol,
			adapters.TChar, adapters.TTime, adapters.TUUID, adapters.TDecimal),
		NullValues: true, Cuts: true, ExpiryUnit: 1, MaxExpiry: 1<<32 - 1, CreatedUnit: 1, MaxPriority: 255,
		Bodies: adapters.Bodies(adapters.BodyNone, adapters.BodyBytes, adapters.BodyText, adapters.BodyValue,
			adapters.BodySequence, adapters.BodyMap, adapters.BodyStream, adapters.BodyObject),
		Reserved: []string{"_AMQ_", "AMQ_", "JMS", "x-opt-"},
	}
	data := adapters.Bodies(adapters.BodyBytes)
	switch name {
	case "amqp":
		return amqp
	case "amqp-plain": // a broker that takes data and text only
		amqp.Bodies = adapters.Bodies(adapters.BodyNone, adapters.BodyBytes, adapters.BodyText)
		return amqp
	case "amqp-mq": // the AMQP channel of IBM MQ
		amqp.IDs = adapters.IDSet(adapters.IDString, adapters.IDBytes)
		amqp.Fields &^= adapters.FieldAnnotations | adapters.FieldFooter | adapters.FieldDeliverAt
		return amqp
	case "amqp-short": // the same with a limit that loses long annotations, so only vectors use it
		mq := headersOf("amqp-mq")
		mq.MaxName = 60
		return mq
	case "kafka":
		return adapters.Headers{
			Protocol: "kafka",
			Fields:   adapters.FieldKey | adapters.FieldCreated | adapters.FieldContentType | adapters.FieldContentEncoding,
			Types:    adapters.Types(adapters.TNull, adapters.TString, adapters.TBytes),
			Names:    adapters.NameAny, Duplicates: true, NullValues: true, NullBody: true, Bodies: data, CreatedUnit: 1,
			Reserved: []string{"kafka_", "__"},
		}
	case "nats":
		return adapters.Headers{
			Protocol: "nats", Fields: adapters.FieldContentType, Types: adapters.Types(adapters.TString), TextOnly: true,
			Names: adapters.NameToken, Duplicates: true, Bodies: data, Reserved: []string{"Nats-"},
		}
	case "mq":
		return adapters.Headers{
			Protocol: "mq",
			Fields: adapters.FieldID | adapters.FieldCorr | adapters.FieldType | adapters.FieldCreated |
				adapters.FieldExpires | adapters.FieldPriority | adapters.FieldDurable | adapters.FieldMsgType,
			IDs: adapters.IDSet(adapters.IDBytes), MaxID: 24, FixedIDs: true, Types: scalars, Names: adapters.NameIdentifier,
			MaxName: 4095, NullValues: true, Bodies: data, ExpiryUnit: 100, MaxExpiry: 999_999_999, Relative: true,
			CreatedUnit: 10, MaxPriority: 9, Underscore: true, Reserved: []string{"JMS", "mq_"},
		}
	case "amqp091":
		return adapters.Headers{
			Protocol: "amqp091",
			Fields: adapters.FieldID | adapters.FieldCorr | adapters.FieldType | adapters.FieldContentType |
				adapters.FieldContentEncoding | adapters.FieldCreated | adapters.FieldExpires | adapters.FieldPriority |
				adapters.FieldDurable | adapters.FieldAppID,
			IDs: adapters.IDSet(adapters.IDString), MaxID: 255, MaxName: 255, NullValues: true, Bodies: data,
			Types:      scalars | adapters.Types(adapters.TList, adapters.TMap),
			ExpiryUnit: 1, Relative: true, CreatedUnit: 1000, MaxPriority: 255, Reserved: []string{"x-death", "x-delay"},
		}
	case "mqtt":
		return adapters.Headers{
			Protocol: "mqtt",
			Fields:   adapters.FieldCorr | adapters.FieldContentType | adapters.FieldExpires | adapters.FieldDurable,
			IDs:      adapters.IDSet(adapters.IDBytes), MaxID: 65535, Types: adapters.Types(adapters.TString), MaxName: 65535,
			Duplicates: true, Bodies: data | adapters.Bodies(adapters.BodyText), ExpiryUnit: 1000, MaxExpiry: 1<<32 - 1,
			Relative: true,
		}
	case "stomp":
		return adapters.Headers{
			Protocol: "stomp",
			Fields: adapters.FieldCorr | adapters.FieldType | adapters.FieldContentType | adapters.FieldCreated |
				adapters.FieldExpires | adapters.FieldPriority | adapters.FieldDurable | adapters.FieldGroup,
			IDs: adapters.IDSet(adapters.IDString), Types: adapters.Types(adapters.TString), ExpiryUnit: 1, CreatedUnit: 1,
			MaxPriority: 9, Bodies: data | adapters.Bodies(adapters.BodyText),
			Reserved: []string{"destination", "receipt", "message-id"},
		}
	}
	panic("no protocol " + name)
}

func protocols() []string {
	return []string{"amqp", "amqp-plain", "amqp-mq", "kafka", "nats", "mq", "amqp091", "mqtt", "stomp"}
}

// hop is one native hop: it keeps what h claims and nothing else, as encode and decode of an adapter do, and fails on
// whatever Fit should not have left there. received is when the next repeater takes the message, in ms.
func hop(m *adapters.Message, h adapters.Headers, received int64) (*adapters.Message, error) {
	d := m.Clone()
	if err := cmp.Or(left(d, &h), ids(d, &h), bodyFits(d, &h), propsFit(d, &h)); err != nil {
		return nil, err
	}
	d.Track, d.Received, d.Left = adapters.Track{}, received, 0
	switch {
	case !h.Fields.Has(adapters.FieldExpires):
		d.Expires = 0
	case h.Relative && m.Left == 0:
		d.Expires = 0
	case h.Relative:
		d.Expires = received + m.Left
	}
	if !h.Fields.Has(adapters.FieldDurable) {
		d.Durable = adapters.Yes
	}
	if h.Protocol == "amqp" || h.Protocol == "mqtt" { // their decode leaves attributes to Restore
		mark := map[string]string{"amqp": "cloudEvents:", "mqtt": ""}[h.Protocol]
		for _, p := range d.CE {
			d.Props = append(d.Props, adapters.Prop{Name: mark + p.Name, V: p.V})
		}
		d.CE = nil
	}
	if h.Protocol == "nats" {
		slices.SortStableFunc(d.Props, func(a, b adapters.Prop) int { return strings.Compare(a.Name, b.Name) })
	}
	return d, nil
}

// left looks for fields without a native place.
func left(d *adapters.Message, h *adapters.Headers) error {
	for _, f := range []struct {
		field adapters.Field
		name  string
		set   bool
	}{
		{adapters.FieldID, "ID", !d.ID.IsZero()},
		{adapters.FieldCorr, "Corr", !d.Corr.IsZero()},
		{adapters.FieldType, "Type", d.Type != ""},
		{adapters.FieldContentType, "ContentType", d.ContentType != ""},
		{adapters.FieldContentEncoding, "ContentEncoding", d.ContentEncoding != ""},
		{adapters.FieldCreated, "Created", d.Created != 0},
		{adapters.FieldDeliverAt, "DeliverAt", d.DeliverAt != 0},
		{adapters.FieldPriority, "Priority", d.Priority.Set},
		{adapters.FieldGroup, "Group", !d.Group.ID.IsZero() || d.Group.HasSeq},
		{adapters.FieldGroupLast, "Group.Last", d.Group.Last},
		{adapters.FieldReplyGroup, "ReplyGroup", d.ReplyGroup != ""},
		{adapters.FieldAppID, "AppID", d.AppID != ""},
		{adapters.FieldKey, "Key", d.Key != nil},
		{adapters.FieldMsgType, "MsgType", d.MsgType != 0 || d.Report != 0 || d.Feedback != 0 || d.Body.Format != ""},
		{adapters.FieldAnnotations, "MA", len(d.Annot.MA) > 0},
	} {
		if f.set && !h.Fields.Has(f.field) {
			return fmt.Errorf("Fit left %s", f.name)
		}
	}
	switch {
	case d.To != (adapters.Addr{}) || d.ReplyTo != (adapters.Addr{}) || d.Deliveries != 0 || len(d.Annot.Footer) > 0:
		return fmt.Errorf("Fit left an address, a redelivery counter or a footer")
	case h.CreatedUnit > 0 && d.Created%h.CreatedUnit != 0 || d.Created < 0:
		return fmt.Errorf("Created %d is not in the unit %d", d.Created, h.CreatedUnit)
	case d.Priority.Value > h.MaxPriority:
		return fmt.Errorf("priority %d over %d", d.Priority.Value, h.MaxPriority)
	case d.Left < 0 || h.ExpiryUnit > 0 && d.Left%h.ExpiryUnit != 0 || h.MaxExpiry > 0 && d.Left > h.MaxExpiry*h.ExpiryUnit:
		return fmt.Errorf("Left %d is not in the unit %d or over %d", d.Left, h.ExpiryUnit, h.MaxExpiry)
	case d.Native.Proto != "" && d.Native.Proto != h.Protocol:
		return fmt.Errorf("Fit left what is native to %s", d.Native.Proto)
	}
	return nil
}

func ids(d *adapters.Message, h *adapters.Headers) error {
	for _, id := range []adapters.ID{d.ID, d.Corr} {
		n := max(len(id.S), len(id.B))
		if !id.IsZero() && (!h.IDs.Has(id.Form) || h.MaxID > 0 && n > h.MaxID || h.FixedIDs && n != h.MaxID) {
			return fmt.Errorf("id %+v does not fit", id)
		}
	}
	if f := d.Group.ID.Form; f != adapters.IDNone && f != adapters.IDString {
		return fmt.Errorf("group id of form %d", f)
	}
	return nil
}

func bodyFits(d *adapters.Message, h *adapters.Headers) error {
	if !h.Bodies.Has(d.Body.Form) || d.Body.Null && !h.NullBody || len(d.Body.Cuts) > 1 && !h.Cuts {
		return fmt.Errorf("body %+v does not fit", d.Body)
	}
	return nil
}

// propsFit checks the properties and turns their values into what a decoder sees.
func propsFit(d *adapters.Message, h *adapters.Headers) error {
	seen := map[string]bool{}
	for i := range d.Props {
		p := &d.Props[i]
		if name, ok := p.Name, true; !isOwn(name) {
			if h.Names == adapters.NameIdentifier {
				ok = EscName(UnescName(name)) == name
			}
			if !ok || name == "" || h.Names == adapters.NameToken && !isToken(name) || h.MaxName > 0 && len(name) > h.MaxName {
				return fmt.Errorf("name %q does not fit", name)
			}
		} else if strings.Contains(name, "-") == h.Underscore {
			return fmt.Errorf("own header %q is in the wrong spelling", name)
		}
		if seen[p.Name] && !h.Duplicates {
			return fmt.Errorf("name %q twice", p.Name)
		}
		seen[p.Name] = true
		if err := valueFits(p, h); err != nil {
			return err
		}
	}
	for i := range d.CE {
		if err := valueFits(&d.CE[i], h); err != nil && d.CE[i].V.Type() != adapters.TString {
			return err
		}
	}
	return nil
}

func valueFits(p *adapters.Prop, h *adapters.Headers) error {
	s := p.V.Str()
	switch t := p.V.Type(); {
	case t == adapters.TNull && h.NullValues:
		return nil
	case !h.Types.Has(t), h.TextOnly && !printable(s), t == adapters.TString && !rawProps(h) && !utf8.ValidString(s):
		return fmt.Errorf("value %#v of %q does not fit", p.V, p.Name)
	case rawProps(h) && readable(s):
		p.V = adapters.String(s)
	case rawProps(h):
		p.V = adapters.Bytes([]byte(s))
	}
	return nil
}
