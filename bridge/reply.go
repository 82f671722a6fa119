package bridge

import (
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// Request and reply across two brokers (headers.md, section 3.3). A request goes out with ids of Posthouse's own and the
// bridge's reply address, so that a reply can be told apart whatever ids the applications use: two requesters may both
// count their requests from 1. A reply comes back with the id that the responder took over, and gets the ids that its
// requester waits for.

// corrMark is what tells the correlation id of a request apart from its message id: which of the two a reply brings back
// says what habit its responder has.
const corrMark = ".c"

// Spring's names for the correlation id and the reply topic of a record (spring-kafka reference, KafkaHeaders).
const (
	springCorr      = "kafka_correlationId"
	springReply     = "kafka_replyTopic"
	springPartition = "kafka_replyPartition"
)

// A Question is what has to be known of a request until its reply comes.
type Question struct {
	ID, Corr adapters.ID
	ReplyTo  adapters.Addr
	Spring   adapters.Value // kafka_correlationId of the request; null where it had none
	Part     adapters.Value // kafka_replyPartition of the request; null where it had none
}

// QuestionOf is what m asks. It keeps nothing of m: what is remembered for long must not hold on to a body.
func QuestionOf(m *adapters.Message) Question {
	return Question{ID: cloneID(m.ID), Corr: cloneID(m.Corr), Spring: heldHeader(m, springCorr), Part: heldHeader(m, springPartition), ReplyTo: adapters.Addr{
		Name: strings.Clone(m.ReplyTo.Name), Form: m.ReplyTo.Form, Scope: strings.Clone(m.ReplyTo.Scope),
	}}
}

// heldHeader is a copy of the property of m called name, null where there is none, or one of another type than headers have.
func heldHeader(m *adapters.Message, name string) adapters.Value {
	switch v, _ := m.Prop(name); v.Type() {
	case adapters.TString:
		return adapters.String(strings.Clone(v.Str()))
	case adapters.TBytes:
		return adapters.Bytes([]byte(v.Str()))
	}
	return adapters.Null()
}

func cloneID(id adapters.ID) adapters.ID {
	id.S, id.B = strings.Clone(id.S), slices.Clone(id.B)
	return id
}

// Message is the form in which a journal keeps a Question; QuestionOf reads it.
func (q Question) Message() *adapters.Message {
	return &adapters.Message{ID: q.ID, Corr: q.Corr, ReplyTo: q.ReplyTo, Props: q.headers(nil)}
}

// headers appends the reply headers of Spring that the request had to ps.
func (q *Question) headers(ps []adapters.Prop) []adapters.Prop {
	for _, p := range [...]adapters.Prop{{Name: springCorr, V: q.Spring}, {Name: springPartition, V: q.Part}} {
		if p.V.Type() != adapters.TNull {
			ps = append(ps, p)
		}
	}
	return ps
}

// AskedID and AskedCorr are the message id and the correlation id of the request that Posthouse knows as track. They begin
// with "ID:", so that JMS clients give them back as they are.
func AskedID(track string) adapters.ID { return adapters.StringID(idMark + track) }

// AskedCorr is described with AskedID.
func AskedCorr(track string) adapters.ID { return adapters.StringID(idMark + track + corrMark) }

// AskedBy reads the correlation id of a reply: the request that it answers, and whether the responder took over the
// request's correlation id (byCorr) or its message id. ok is false when the id is of no request.
func AskedBy(corr adapters.ID) (track string, byCorr, ok bool) {
	text := idText(corr)
	if packed, ok := unpackAsked(corr.B); ok && corr.Form == adapters.IDBytes {
		text = packed
	}
	s, found := strings.CutPrefix(text, idMark)
	track, byCorr = strings.CutSuffix(s, corrMark)
	return track, byCorr, found && track != ""
}

// Ask returns m as it goes out as the request track: with its own ids, and without what only the requester's broker can
// use. The reply address of the bridge is put in by Fit (Options.ReplyTo). spring says that the target's adapter writes
// Spring's headers of the ids and the reply address; elsewhere those of a request that came with them are rewritten.
func Ask(m *adapters.Message, track string, reply adapters.Addr, spring bool) *adapters.Message {
	c := *m
	c.ID, c.Corr, c.ReplyTo = AskedID(track), AskedCorr(track), adapters.Addr{}
	c.Report = 0 // reports would go to whom the message names, past the bridge
	_, replies := m.Prop(springReply)
	_, correlates := m.Prop(springCorr)
	c.Props = withoutSpring(m.Props)
	if !spring && (replies || correlates) {
		c.Props = append(slices.Clip(c.Props), adapters.Prop{Name: springReply, V: adapters.String(reply.Name)},
			adapters.Prop{Name: springCorr, V: adapters.String(c.Corr.S)})
	}
	return &c
}

// withoutSpring is ps without Spring's reply headers; ps itself where there are none.
func withoutSpring(ps []adapters.Prop) []adapters.Prop {
	own := func(p adapters.Prop) bool {
		return p.Name == springCorr || p.Name == springReply || p.Name == springPartition
	}
	if !slices.ContainsFunc(ps, own) {
		return ps
	}
	return slices.DeleteFunc(slices.Clone(ps), own)
}

// Habit is which id of a request its requester expects as the correlation id of the reply.
type Habit uint8

// The habits.
const (
	HabitOfResponder Habit = iota // the one that the responder took over: its message id for a message id
	HabitMessageID                // always the message id
	HabitCorrelation              // the correlation id, where there was one
)

// Answer returns the reply m as the requester of q expects it: the correlation id by the habit, its reply address as To,
// and no reply address of the other broker.
func Answer(m *adapters.Message, q *Question, byCorr bool, h Habit) *adapters.Message {
	c := *m
	c.Corr = q.expected(byCorr, h)
	c.To, c.ReplyTo, c.Report = q.ReplyTo, adapters.Addr{}, 0
	c.Props = q.headers(slices.Clip(withoutSpring(m.Props)))
	return &c
}

// expected is the correlation id of the reply. A request without the id that is wanted is answered with the other one: a
// requester that gives no correlation id expects its message id, as JMS and IBM MQ do.
func (q *Question) expected(byCorr bool, h Habit) adapters.ID {
	want, other := q.ID, q.Corr
	if h == HabitCorrelation || h == HabitOfResponder && byCorr {
		want, other = q.Corr, q.ID
	}
	if want.IsZero() {
		return other
	}
	return want
}

// Size is what q takes in memory, in bytes, as an estimate.
func (q *Question) Size() int {
	n := len(q.ReplyTo.Name) + len(q.ReplyTo.Scope) + len(q.Spring.Str()) + len(q.Part.Str())
	for _, id := range [...]adapters.ID{q.ID, q.Corr} {
		n += len(id.S) + len(id.B)
	}
	return n
}

// Placed reports whether m, an Answer, has to go to one partition of its topic: its requester reads only that.
func Placed(m *adapters.Message) bool {
	_, ok := m.Prop(springPartition)
	return ok
}
