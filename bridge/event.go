package bridge

import (
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

const specVersion = "specversion"

// eventAttr is the CloudEvents attribute that a property stands for at a protocol, if it is an event at all: the
// bindings for Kafka (section 3.2.3), NATS (3.1.3), MQTT (3.1.3) and AMQP (3.1.3), whose form with an underscore also
// serves where there is no binding.
func eventAttr(name, protocol string) (attr string, ok bool) {
	switch protocol {
	case "kafka":
		attr, ok = strings.CutPrefix(name, "ce_")
	case "nats":
		attr, ok = strings.CutPrefix(name, "ce-")
	case "mqtt":
		attr, ok = name, true
	default:
		if attr, ok = strings.CutPrefix(name, "cloudEvents_"); !ok {
			attr, ok = strings.CutPrefix(name, "cloudEvents:")
		}
	}
	return attr, ok && attr != "" && bareAttr(attr)
}

// bareAttr is the naming rule of attributes (CloudEvents 1.0, section 3).
func bareAttr(name string) bool {
	return strings.IndexFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) < 0
}

// knownVersion reports whether properties say that they are a CloudEvent of a version that is known here.
func knownVersion(ps []adapters.Prop, protocol string) bool {
	for i := range ps {
		p := &ps[i]
		if !strings.HasSuffix(p.Name, specVersion) {
			continue
		}
		attr, ok := eventAttr(p.Name, protocol)
		if ok && attr == specVersion && (p.V.Str() == "1.0" || p.V.Str() == "0.3") {
			return true
		}
	}
	return false
}

// isEvent reports whether properties are a CloudEvent in binary mode: the four required attributes are there, the
// version is known, and no attribute is there twice.
func isEvent(ps []adapters.Prop, protocol string) bool {
	if !knownVersion(ps, protocol) {
		return false
	}
	seen := map[string]bool{}
	for i := range ps {
		attr, ok := eventAttr(ps[i].Name, protocol)
		if !ok {
			continue
		}
		if seen[attr] {
			return false
		}
		seen[attr] = true
	}
	return seen["id"] && seen["source"] && seen["type"]
}

// events takes the attributes of a CloudEvent out of the properties, unless decode has done so.
func (r *restorer) events() {
	c := r.c
	if len(c.CE) > 0 || !isEvent(c.Props, r.h.Protocol) {
		return
	}
	rest := make([]adapters.Prop, 0, len(c.Props))
	c.CE = nil
	for _, p := range c.Props {
		if attr, ok := eventAttr(p.Name, r.h.Protocol); ok {
			c.CE = append(c.CE, adapters.Prop{Name: attr, V: p.V})
		} else {
			rest = append(rest, p)
		}
	}
	c.Props = rest
}

// events fits the attributes of a CloudEvent, which encode writes under the protocol's prefix. They are strings by
// their own type system, so a protocol without types takes their canonical text (CloudEvents 1.0, section 3.1).
func (f *fitter) events() {
	for i := range f.m.CE {
		v := f.m.CE[i].V
		if _, tag, ok := nativeValue(v, &f.h); v.Type() == adapters.TString || ok && tag == "" {
			continue
		}
		if &f.c.CE[0] == &f.m.CE[0] {
			f.c.CE = slices.Clone(f.m.CE)
		}
		text, _ := valueText(v)
		f.c.CE[i].V = adapters.String(text)
		f.note("events", Flattened)
	}
}

// Attributes of an event that a producer did not make as one.
const (
	madeVersion = "1.0"
	madeType    = "posthouse.message"
	madeSource  = "/posthouse"
)

// makeEvent gives a message that is no CloudEvent the four attributes that make it one, where the programs at the target
// expect nothing else. posthouse-event says so, and they go again on the way back.
func (f *fitter) makeEvent() {
	if f.makesEvent() {
		f.c.CE = madeAttributes(f.m)
		f.own(hEvent, made)
	}
}

func (f *fitter) makesEvent() bool {
	return f.h.Convention == adapters.ConventionCloudEvents && len(f.m.CE) == 0 &&
		!strings.HasPrefix(f.m.ContentType, "application/cloudevents")
}

// made is the one value of posthouse-event.
const made = "made"

func madeAttributes(m *adapters.Message) []adapters.Prop {
	id, source := firstOf(readableID(m.ID), m.Track.ID), madeSource
	if len(m.Track.Path) > 0 {
		source += "/" + escape(m.Track.Path[0], " ")
	}
	kind := m.Type
	if !readable(kind) {
		kind = ""
	}
	return []adapters.Prop{
		{Name: specVersion, V: adapters.String(madeVersion)}, {Name: "id", V: adapters.String(firstOf(id, "-"))},
		{Name: "source", V: adapters.String(source)}, {Name: "type", V: adapters.String(firstOf(kind, madeType))},
	}
}

func readableID(id adapters.ID) string {
	if s := idText(id); readable(s) {
		return s
	}
	return ""
}

// madeEvent takes the attributes away that a repeater made up.
func (r *restorer) madeEvent() {
	if v, ok := r.get(hEvent); ok {
		if v != made {
			r.note("event", Malformed)
			return
		}
		r.c.CE = nil
	}
}
