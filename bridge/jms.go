package bridge

import (
	"slices"

	"github.com/posthouse/posthouse/adapters"
)

// jmsKindName is the annotation by which JMS clients over AMQP 1.0 tell kinds of messages apart (OASIS AMQP-JMS mapping,
// working draft 10, section 3.2.2, as Qpid JMS and Artemis implement it).
const jmsKindName = "x-opt-jms-msg-type"

// jmsKind is the byte of that annotation for a body that does not say it by itself, -1 for the others: map, stream and
// object messages get theirs from the adapter.
func jmsKind(f adapters.BodyForm) int64 {
	switch f {
	case adapters.BodyNone:
		return 0
	case adapters.BodyBytes:
		return 3
	case adapters.BodyText:
		return 5
	}
	return -1
}

func kindAnnotation(ma []adapters.Prop) int {
	return slices.IndexFunc(ma, func(p adapters.Prop) bool { return p.Name == jmsKindName && !p.KeyNum })
}

// impliedAnnotation is the index of an annotation that says only what the body shows, or -1.
func impliedAnnotation(m *adapters.Message) int {
	i := kindAnnotation(m.Annot.MA)
	if i < 0 || m.Annot.MA[i].V.Type() != adapters.TI8 || m.Annot.MA[i].V.Int() != jmsKind(m.Body.Form) {
		return -1
	}
	return i
}

// jmsKind tells JMS clients what kind of message this is.
func (f *fitter) jmsKind() {
	kind := jmsKind(f.c.Body.Form)
	if f.h.Convention != adapters.ConventionJMS || kind < 0 || kindAnnotation(f.c.Annot.MA) >= 0 {
		return
	}
	f.c.Annot.MA = append(slices.Clip(f.c.Annot.MA), adapters.Prop{Name: jmsKindName, V: adapters.Int(adapters.TI8, kind)})
}

// impliedKind drops the annotation where the body says it too.
func (r *restorer) impliedKind() {
	if r.h.Convention != adapters.ConventionJMS {
		return
	}
	if i := impliedAnnotation(r.c); i >= 0 {
		r.c.Annot.MA = slices.Delete(slices.Clone(r.c.Annot.MA), i, i+1)
	}
}
