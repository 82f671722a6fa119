package qmgr

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// handle is an open object: a queue, a topic to publish to, or the queue manager.
type handle struct {
	q         *queue // nil unless it is a queue
	topic     string
	manager   bool
	def       Queue // as it was opened: of the alias, if it is one
	options   int32
	cursor    place       // of the last browse
	saved     *Descriptor // context of the last message got, if asked for
	sub       *subscription
	temporary bool // it made the queue
}

func (h *handle) may(option int32) bool { return h.options&option != 0 }

const inputs = mqc.OO_INPUT_AS_Q_DEF | mqc.OO_INPUT_SHARED | mqc.OO_INPUT_EXCLUSIVE

// open is MQOPEN.
func (c *conn) open(in *request, out *reply) code {
	od, raw := readObject(in)
	options := in.long()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	h, res := c.resolve(&od, options)
	number := int32(-1)
	if res == done {
		number = c.hold(h)
	}
	out.bytes(write(&od, raw))
	out.bytes([]byte(h.topic))
	out.long(number)
	return res
}

func readObject(in *request) (objectDesc, []byte) {
	var od objectDesc
	raw := in.bytes()
	read(&od, raw)
	od.topic = in.text()
	return od, raw
}

// hold gives an open object its number.
func (c *conn) hold(h *handle) int32 {
	c.last++
	c.objects[c.last] = h
	return c.last
}

// resolve finds the object that od names and opens it. The handle is never nil.
func (c *conn) resolve(od *objectDesc, options int32) (*handle, code) {
	h := &handle{options: options, cursor: start}
	if c.m.state != running && h.may(mqc.OO_FAIL_IF_QUIESCING) {
		return h, failed(mqc.RC_Q_MGR_QUIESCING)
	}
	if od.manager != "" && od.manager != c.m.opts.Name {
		return h, failed(mqc.RC_UNKNOWN_REMOTE_Q_MGR)
	}
	switch od.kind {
	case mqc.OT_Q_MGR:
		h.manager = true
		return h, done
	case mqc.OT_TOPIC:
		h.topic = od.topic
		if h.topic == "" {
			return h, failed(mqc.RC_TOPIC_STRING_ERROR)
		}
		return h, done
	case mqc.OT_Q:
		return h, c.resolveQueue(h, od)
	}
	return h, failed(mqc.RC_OBJECT_TYPE_ERROR)
}

// modelQueue is the queue whose opening makes a temporary one, which is gone when the handle that made it is closed.
const modelQueue = "SYSTEM.DEFAULT.MODEL.QUEUE"

// makeTemporary makes a queue with the name that od asks for, where a * at the end is the queue manager's to fill.
func (c *conn) makeTemporary(h *handle, od *objectDesc) {
	od.name = od.dynamic
	if prefix, open := strings.CutSuffix(od.dynamic, "*"); open {
		c.m.ids++
		od.name = fmt.Sprintf("%.32s%016X", prefix, c.m.ids)
	}
	c.m.queues[od.name] = newQueue(Queue{Name: od.name, MaxMsgLength: c.m.opts.MaxMsgLength})
	h.temporary = true
}

func (c *conn) resolveQueue(h *handle, od *objectDesc) code {
	if od.name == modelQueue {
		c.makeTemporary(h, od)
	}
	q := c.m.queues[od.name]
	if q == nil {
		return failed(mqc.RC_UNKNOWN_OBJECT_NAME)
	}
	h.q, h.def = q, q.def
	if q.def.Alias != "" {
		if h.q = c.m.queues[q.def.Alias]; h.q == nil {
			return failed(mqc.RC_UNKNOWN_ALIAS_BASE_Q)
		}
	}
	od.resolved, od.resolvedManager, od.resolvedKind = h.q.def.Name, c.m.opts.Name, mqc.OT_Q
	if !c.authorised(h) {
		return failed(mqc.RC_NOT_AUTHORIZED)
	}
	return h.openInput()
}

// rights are what an option needs.
var rights = map[int32]string{
	mqc.OO_INPUT_AS_Q_DEF: "get", mqc.OO_INPUT_SHARED: "get", mqc.OO_INPUT_EXCLUSIVE: "get", mqc.OO_BROWSE: "browse",
	mqc.OO_OUTPUT: "put", mqc.OO_INQUIRE: "inq", mqc.OO_PASS_IDENTITY_CONTEXT: "passid", mqc.OO_PASS_ALL_CONTEXT: "passall",
	mqc.OO_SET_IDENTITY_CONTEXT: "setid", mqc.OO_SET_ALL_CONTEXT: "setall",
}

func (c *conn) authorised(h *handle) bool {
	if h.def.Authorities == nil {
		return true
	}
	for option, right := range rights {
		if h.may(option) && !slices.Contains(h.def.Authorities[c.user], right) {
			return false
		}
	}
	return true
}

// openInput counts the handle among those that get, unless another has the queue for itself.
func (h *handle) openInput() code {
	if !h.may(inputs) {
		return done
	}
	q := h.q
	alone := h.may(mqc.OO_INPUT_EXCLUSIVE) || h.may(mqc.OO_INPUT_AS_Q_DEF) && q.def.OpenExclusive
	if q.sole != nil || alone && q.inputs > 0 || q.def.NoShare && q.inputs > 0 {
		return failed(mqc.RC_OBJECT_IN_USE)
	}
	q.inputs++
	if alone {
		q.sole = h
	}
	return done
}

// close is MQCLOSE.
func (c *conn) close(in *request, _ *reply) code {
	number, options := in.long(), in.long()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	h := c.objects[number]
	if h == nil {
		return failed(mqc.RC_HOBJ_ERROR)
	}
	c.forget(number)
	if h.sub != nil && options&mqc.CO_REMOVE_SUB != 0 {
		return c.m.unsubscribe(h.sub)
	}
	return done
}

// forget closes an object; what a unit of work did through it stays in the unit.
func (c *conn) forget(number int32) {
	h := c.objects[number]
	delete(c.objects, number)
	if h.sub != nil {
		h.sub.inUse = false
	}
	if h.temporary {
		delete(c.m.queues, h.q.def.Name)
	}
	if h.q == nil || !h.may(inputs) {
		return
	}
	h.q.inputs--
	if h.q.sole == h {
		h.q.sole = nil
	}
}

// inquire is MQINQ.
func (c *conn) inquire(in *request, out *reply) code {
	h := c.objectFor(in.long())
	selectors := longs(in.bytes())
	numbers, size := in.long(), int(in.long())
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if h == nil {
		return failed(mqc.RC_HOBJ_ERROR)
	}
	if !h.may(mqc.OO_INQUIRE) {
		return failed(mqc.RC_NOT_OPEN_FOR_INQUIRE)
	}
	var ints, chars []byte
	for _, s := range selectors {
		n, text, ok := c.attribute(h, s)
		switch {
		case !ok:
			return failed(mqc.RC_SELECTOR_NOT_FOR_TYPE)
		case s <= mqc.IA_LAST:
			ints = binary.LittleEndian.AppendUint32(ints, uint32(n))
		default:
			chars = fmt.Appendf(chars, "%-48s", text)
		}
	}
	if len(ints) > 4*int(numbers) {
		return failed(mqc.RC_INT_ATTR_COUNT_TOO_SMALL)
	}
	if len(chars) > size {
		return failed(mqc.RC_CHAR_ATTRS_TOO_SHORT)
	}
	out.bytes(ints)
	out.bytes(chars)
	return done
}

func longs(raw []byte) []int32 {
	vs := make([]int32, 0, len(raw)/4)
	for ; len(raw) >= 4; raw = raw[4:] {
		vs = append(vs, int32(binary.LittleEndian.Uint32(raw)))
	}
	return vs
}

// objectFor returns an open object, nil if there is none of that number.
func (c *conn) objectFor(number int32) *handle {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.objects[number]
}

// attribute returns one attribute, a number or a text, and whether this kind of object has it.
func (c *conn) attribute(h *handle, selector int32) (int32, string, bool) {
	var ints map[int32]int32
	var texts map[int32]string
	switch {
	case h.manager:
		ints, texts = c.m.attributes()
	case h.q == nil:
		return 0, "", false
	case h.def.Alias != "":
		ints, texts = h.aliasAttributes()
	default:
		ints, texts = h.q.attributes()
	}
	n, isInt := ints[selector]
	text, isText := texts[selector]
	return n, text, isInt || isText
}

func (m *Manager) attributes() (map[int32]int32, map[int32]string) {
	return map[int32]int32{
			mqc.IA_CODED_CHAR_SET_ID: m.opts.CCSID, mqc.IA_MAX_MSG_LENGTH: m.opts.MaxMsgLength,
			mqc.IA_MAX_UNCOMMITTED_MSGS: m.opts.MaxUncommitted, mqc.IA_SYNCPOINT: mqc.SP_AVAILABLE, mqc.IA_MAX_PRIORITY: 9,
			mqc.IA_COMMAND_LEVEL: 945, mqc.IA_PLATFORM: mqc.PL_UNIX, mqc.IA_MAX_HANDLES: 256,
		}, map[int32]string{
			mqc.CA_Q_MGR_NAME: m.opts.Name, mqc.CA_Q_MGR_IDENTIFIER: m.id, mqc.CA_DEAD_LETTER_Q_NAME: m.opts.DeadLetterQueue,
		}
}

func (h *handle) aliasAttributes() (map[int32]int32, map[int32]string) {
	return map[int32]int32{
			mqc.IA_Q_TYPE: mqc.QT_ALIAS, mqc.IA_INHIBIT_GET: flag(h.def.GetInhibited), mqc.IA_INHIBIT_PUT: flag(h.def.PutInhibited),
		}, map[int32]string{
			mqc.CA_Q_NAME: h.def.Name, mqc.CA_BASE_Q_NAME: h.def.Alias,
		}
}

func (q *queue) attributes() (map[int32]int32, map[int32]string) {
	d := &q.def
	return map[int32]int32{
			mqc.IA_Q_TYPE: mqc.QT_LOCAL, mqc.IA_CURRENT_Q_DEPTH: q.depth(), mqc.IA_MAX_Q_DEPTH: d.maxDepth(),
			mqc.IA_MAX_MSG_LENGTH: d.maxMsgLength(), mqc.IA_BACKOUT_THRESHOLD: d.BackoutThreshold, mqc.IA_HARDEN_GET_BACKOUT: 1,
			mqc.IA_INHIBIT_GET: flag(d.GetInhibited), mqc.IA_INHIBIT_PUT: flag(d.PutInhibited), mqc.IA_DEF_PRIORITY: d.Priority,
			mqc.IA_DEF_PERSISTENCE: flag(d.Persistent), mqc.IA_SHAREABILITY: flag(!d.NoShare), mqc.IA_PROPERTY_CONTROL: d.PropertyControl,
			mqc.IA_OPEN_INPUT_COUNT: int32(q.inputs), mqc.IA_MSG_DELIVERY_SEQUENCE: flag(d.FIFO),
			mqc.IA_DEF_INPUT_OPEN_OPTION: 2 + 2*flag(d.OpenExclusive),
		}, map[int32]string{
			mqc.CA_Q_NAME: d.Name, mqc.CA_BACKOUT_REQ_Q_NAME: d.BackoutQueue,
		}
}

func flag(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
