package bridge

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
)

// hop is one native hop over protocol name: it fails on whatever Fit should not have left there, and then goes through
// encode and decode of the adapter. received is when the next repeater takes the message, in ms.
func hop(m *adapters.Message, name string, received int64) (*adapters.Message, error) {
	h := headersOf(name)
	d := m.Clone()
	if err := cmp.Or(left(d, &h), ids(d, &h), bodyFits(d, &h), propsFit(d, &h)); err != nil {
		return nil, err
	}
	return overWire(m, name, received)
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
	if f := d.Group.ID.Form; !h.FixedIDs && f != adapters.IDNone && f != adapters.IDString {
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
		if h.FixedIDs && p.Name == corrTextName || p.Name == springTypesName {
			continue
		}
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
	}
	return nil
}
