package qmgr

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// puttingCall is what MQPUT and MQPUT1 are given.
type puttingCall struct {
	md      Descriptor
	mdRaw   []byte
	pmo     putOptions
	pmoRaw  []byte
	body    []byte
	props   []Property
	targets []*queue // one, or the subscribers' of a topic
}

func readPut(in *request) *puttingCall {
	p := &puttingCall{mdRaw: in.bytes(), pmoRaw: in.bytes()}
	p.md = Descriptor{MsgSeqNumber: 1, OriginalLength: mqc.OL_UNDEFINED} // of version 1
	read(&p.md, p.mdRaw)
	read(&p.pmo, p.pmoRaw)
	p.body = slices.Clone(in.bytes())
	return p
}

func (p *puttingCall) answer(out *reply) {
	out.bytes(write(&p.md, p.mdRaw))
	out.bytes(write(&p.pmo, p.pmoRaw))
}

// put is MQPUT.
func (c *conn) put(in *request, out *reply) code {
	h := c.objectFor(in.long())
	p := readPut(in)
	if h == nil {
		return failed(mqc.RC_HOBJ_ERROR)
	}
	if !h.may(mqc.OO_OUTPUT) {
		return failed(mqc.RC_NOT_OPEN_FOR_OUTPUT)
	}
	res := c.putTo(h, p)
	p.answer(out)
	return res
}

// put1 is MQPUT1.
func (c *conn) put1(in *request, out *reply) code {
	od, raw := readObject(in)
	p := readPut(in)
	c.m.mu.Lock()
	h, res := c.resolve(&od, mqc.OO_OUTPUT|contextToOpen(p.pmo.options)|mqc.OO_FAIL_IF_QUIESCING)
	c.m.mu.Unlock()
	if res == done {
		res = c.putTo(h, p)
	}
	out.bytes(write(&od, raw))
	out.bytes([]byte(h.topic))
	p.answer(out)
	return res
}

// contexts are the put options about context, with the open option that each needs and the reason without it.
var contexts = []struct{ put, open, reason int32 }{
	{mqc.PMO_PASS_IDENTITY_CONTEXT, mqc.OO_PASS_IDENTITY_CONTEXT, mqc.RC_NOT_OPEN_FOR_PASS_IDENT},
	{mqc.PMO_PASS_ALL_CONTEXT, mqc.OO_PASS_ALL_CONTEXT, mqc.RC_NOT_OPEN_FOR_PASS_ALL},
	{mqc.PMO_SET_IDENTITY_CONTEXT, mqc.OO_SET_IDENTITY_CONTEXT, mqc.RC_NOT_OPEN_FOR_SET_IDENT},
	{mqc.PMO_SET_ALL_CONTEXT, mqc.OO_SET_ALL_CONTEXT, mqc.RC_NOT_OPEN_FOR_SET_ALL},
}

func contextToOpen(options int32) int32 {
	open := int32(0)
	for _, x := range contexts {
		if options&x.put != 0 {
			open |= x.open
		}
	}
	return open
}

// putTo checks a message, completes its descriptor and puts it.
func (c *conn) putTo(h *handle, p *puttingCall) code {
	c.m.mu.Lock()
	wait, res := c.putLocked(h, p)
	c.m.mu.Unlock()
	if err := wait(); err != nil {
		return failed(mqc.RC_RESOURCE_PROBLEM)
	}
	return res
}

func nothing() error { return nil }

func (c *conn) putLocked(h *handle, p *puttingCall) (wait func() error, res code) {
	if c.m.state != running && p.pmo.options&mqc.PMO_FAIL_IF_QUIESCING != 0 {
		return nothing, c.m.ending()
	}
	p.targets = c.m.targets(h)
	for _, check := range []func(*handle, *puttingCall) code{c.checkOptions, c.checkDescriptor, c.takeProperties, c.checkRoom} {
		if res := check(h, p); res != done {
			return nothing, res
		}
	}
	c.fillDescriptor(h, p)
	if res := c.fillContext(h, p); res != done {
		return nothing, res
	}
	p.pmo.resolvedManager = c.m.opts.Name
	if h.q != nil {
		p.pmo.resolved = h.q.def.Name
	}
	return c.distribute(p)
}

// ending is the reason of a call that fails because the queue manager ends.
func (m *Manager) ending() code {
	if m.state == stopping {
		return failed(mqc.RC_Q_MGR_STOPPING)
	}
	return failed(mqc.RC_Q_MGR_QUIESCING)
}

func (m *Manager) targets(h *handle) []*queue {
	if h.q != nil {
		return []*queue{h.q}
	}
	return m.subscribers(h.topic)
}

func (c *conn) checkOptions(h *handle, p *puttingCall) code {
	both := int32(mqc.PMO_SYNCPOINT | mqc.PMO_NO_SYNCPOINT)
	if p.pmo.options&both == both {
		return failed(mqc.RC_OPTIONS_ERROR)
	}
	for _, x := range contexts {
		if p.pmo.options&x.put != 0 && !h.may(x.open) {
			return failed(x.reason)
		}
	}
	return done
}

func (c *conn) checkDescriptor(_ *handle, p *puttingCall) code {
	md := &p.md
	switch {
	case md.Version < 1 || md.Version > 2:
		return failed(mqc.RC_MD_ERROR)
	case md.Expiry != mqc.EI_UNLIMITED && (md.Expiry <= 0 || md.Expiry > 999_999_999):
		return failed(mqc.RC_EXPIRY_ERROR)
	case md.MsgType == mqc.MT_REQUEST && md.ReplyToQ == "":
		return failed(mqc.RC_MISSING_REPLY_TO_Q)
	case md.MsgType < 1 || md.MsgType > 65535 && md.MsgType < mqc.MT_APPL_FIRST || md.MsgType > mqc.MT_APPL_LAST:
		return failed(mqc.RC_MSG_TYPE_ERROR)
	case md.Priority < mqc.PRI_PRIORITY_AS_Q_DEF:
		return failed(mqc.RC_PRIORITY_ERROR)
	case md.Persistence < 0 || md.Persistence > mqc.PER_PERSISTENCE_AS_Q_DEF:
		return failed(mqc.RC_PERSISTENCE_ERROR)
	}
	return done
}

// takeProperties takes those of the message handle.
func (c *conn) takeProperties(_ *handle, p *puttingCall) code {
	if p.pmo.version < 3 || p.pmo.handle == mqc.HM_NONE {
		return done
	}
	b := c.messages[p.pmo.handle]
	if b == nil {
		return failed(mqc.RC_HMSG_ERROR)
	}
	p.props = slices.Clone(b.props)
	return done
}

// checkRoom looks whether the message fits on the way, and on every queue it is for.
func (c *conn) checkRoom(h *handle, p *puttingCall) code {
	size := int32(len(p.body))
	for _, prop := range p.props {
		size += int32(len(prop.Name) + len(prop.Value))
	}
	switch {
	case int32(len(p.body)) > c.maxLength:
		return failed(mqc.RC_DATA_LENGTH_ERROR)
	case size > c.m.opts.MaxMsgLength:
		return failed(mqc.RC_MSG_TOO_BIG_FOR_Q_MGR)
	case p.pmo.options&mqc.PMO_SYNCPOINT != 0 && c.unit.size()+len(p.targets) > int(c.m.opts.MaxUncommitted):
		return failed(mqc.RC_SYNCPOINT_LIMIT_REACHED)
	case h.def.PutInhibited:
		return failed(mqc.RC_PUT_INHIBITED)
	}
	for _, q := range p.targets {
		switch {
		case q.def.PutInhibited:
			return failed(mqc.RC_PUT_INHIBITED)
		case size > q.def.maxMsgLength():
			return failed(mqc.RC_MSG_TOO_BIG_FOR_Q)
		case q.depth() >= q.def.maxDepth():
			return failed(mqc.RC_Q_FULL)
		}
	}
	return done
}

// fillDescriptor settles what the application left to the queue manager.
func (c *conn) fillDescriptor(h *handle, p *puttingCall) {
	md := &p.md
	if md.Persistence == mqc.PER_PERSISTENCE_AS_Q_DEF {
		md.Persistence = flag(h.def.Persistent)
	}
	if md.Priority == mqc.PRI_PRIORITY_AS_Q_DEF {
		md.Priority = h.def.Priority
	}
	md.Priority = min(md.Priority, 9)
	if md.CCSID == mqc.CCSI_Q_MGR {
		md.CCSID = c.m.opts.CCSID
	}
	if md.MsgID == [24]byte{} || p.pmo.options&mqc.PMO_NEW_MSG_ID != 0 {
		md.MsgID = c.m.newID()
	}
	if p.pmo.options&mqc.PMO_NEW_CORREL_ID != 0 {
		md.CorrelID = c.m.newID()
	}
	if md.ReplyToQ != "" && md.ReplyToQMgr == "" {
		md.ReplyToQMgr = c.m.opts.Name
	}
	md.BackoutCount = 0
}

// fillContext sets who put the message and when, unless the application does or passes on what another had.
func (c *conn) fillContext(_ *handle, p *puttingCall) code {
	o := p.pmo.options
	identity, origin := o&(mqc.PMO_SET_IDENTITY_CONTEXT|mqc.PMO_SET_ALL_CONTEXT) == 0, o&mqc.PMO_SET_ALL_CONTEXT == 0
	if identity {
		p.md.setIdentity(Descriptor{UserIdentifier: strings.ToLower(fmt.Sprintf("%.12s", c.user))})
	}
	if origin {
		now := Descriptor{PutApplType: mqc.AT_UNIX, PutApplName: fmt.Sprintf("%.28s", c.appl)}
		now.PutDate, now.PutTime = stamp(c.m.now())
		p.md.setOrigin(now)
	}
	if o&mqc.PMO_NO_CONTEXT != 0 {
		p.md.setIdentity(Descriptor{})
		p.md.setOrigin(Descriptor{PutApplType: mqc.AT_NO_CONTEXT})
	}
	if o&(mqc.PMO_PASS_IDENTITY_CONTEXT|mqc.PMO_PASS_ALL_CONTEXT) == 0 {
		return done
	}
	from := c.objects[p.pmo.context]
	switch {
	case from == nil || !from.may(mqc.OO_SAVE_ALL_CONTEXT):
		return failed(mqc.RC_CONTEXT_HANDLE_ERROR)
	case from.saved == nil:
		return failed(mqc.RC_CONTEXT_NOT_AVAILABLE)
	}
	p.md.setIdentity(*from.saved)
	if o&mqc.PMO_PASS_ALL_CONTEXT != 0 {
		p.md.setOrigin(*from.saved)
	}
	return done
}

func (d *Descriptor) setIdentity(from Descriptor) {
	d.UserIdentifier, d.AccountingToken, d.ApplIdentityData = from.UserIdentifier, from.AccountingToken, from.ApplIdentityData
}

func (d *Descriptor) setOrigin(from Descriptor) {
	d.PutApplType, d.PutApplName, d.PutDate, d.PutTime, d.ApplOriginData =
		from.PutApplType, from.PutApplName, from.PutDate, from.PutTime, from.ApplOriginData
}

// distribute puts the message on every queue it is for, in the unit of work or at once.
func (c *conn) distribute(p *puttingCall) (func() error, code) {
	wait := nothing
	for _, q := range p.targets {
		md := p.md
		if md.Version < 2 { // stored with all fields, as they are by default
			md.Version = 2
		}
		msg := &message{Message: Message{MD: md, Props: p.props, Body: p.body}, queue: q, expires: c.m.expiry(md.Expiry)}
		if p.pmo.options&mqc.PMO_SYNCPOINT != 0 {
			c.m.seq++
			msg.seq, msg.state = c.m.seq, putting
			q.insert(msg)
			c.unit.puts = append(c.unit.puts, msg)
			continue
		}
		w, err := c.m.store(msg)
		if err != nil {
			return nothing, failed(mqc.RC_RESOURCE_PROBLEM)
		}
		wait = w
	}
	return wait, done
}
