package qmgr

import (
	"slices"
	"time"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// gettingCall is what MQGET is given, and what it found.
type gettingCall struct {
	md     Descriptor
	mdRaw  []byte
	gmo    getOptions
	gmoRaw []byte
	room   int
	match  func(*message) bool

	body   []byte // as the application gets it, whole
	handle *bag   // where properties go, or nil
}

func (g *gettingCall) has(option int32) bool { return g.gmo.options&option != 0 }

const browsing = mqc.GMO_BROWSE_FIRST | mqc.GMO_BROWSE_NEXT | mqc.GMO_BROWSE_MSG_UNDER_CURSOR

// get is MQGET.
func (c *conn) get(in *request, out *reply) code {
	h := c.objectFor(in.long())
	g := &gettingCall{mdRaw: in.bytes(), gmoRaw: in.bytes()}
	read(&g.md, g.mdRaw)
	read(&g.gmo, g.gmoRaw)
	g.room = int(in.long())
	g.match = matcher(g.gmo, g.md)
	if res := c.checkGet(h, g); res != done {
		return res
	}
	res := c.getWaiting(h, g)
	out.bytes(write(&g.md, g.mdRaw))
	out.bytes(write(&g.gmo, g.gmoRaw))
	out.bytes(g.body[:min(len(g.body), g.room)])
	out.long(int32(len(g.body)))
	return res
}

// checkGet looks at what does not depend on messages.
func (c *conn) checkGet(h *handle, g *gettingCall) code {
	switch {
	case h == nil || h.q == nil:
		return failed(mqc.RC_HOBJ_ERROR)
	case g.has(browsing) && !h.may(mqc.OO_BROWSE):
		return failed(mqc.RC_NOT_OPEN_FOR_BROWSE)
	case !g.has(browsing) && !h.may(inputs):
		return failed(mqc.RC_NOT_OPEN_FOR_INPUT)
	case g.has(mqc.GMO_SYNCPOINT) && g.has(mqc.GMO_NO_SYNCPOINT|browsing):
		return failed(mqc.RC_OPTIONS_ERROR)
	case int32(g.room) > c.maxLength:
		return failed(mqc.RC_DATA_LENGTH_ERROR)
	}
	return c.findHandle(g)
}

// findHandle finds the message handle for the properties, which the caller's queue may still override.
func (c *conn) findHandle(g *gettingCall) code {
	if g.gmo.version < 4 || g.gmo.handle == mqc.HM_NONE {
		if g.has(mqc.GMO_PROPERTIES_IN_HANDLE) {
			return failed(mqc.RC_HMSG_ERROR)
		}
		return done
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if g.handle = c.messages[g.gmo.handle]; g.handle == nil {
		return failed(mqc.RC_HMSG_ERROR)
	}
	return done
}

// getWaiting gets a message, if need be when one comes.
func (c *conn) getWaiting(h *handle, g *gettingCall) code {
	var timeout <-chan time.Time
	var gone <-chan struct{}
	for {
		c.m.mu.Lock()
		res, wait := c.getLocked(h, g)
		changed, turned := h.q.changed, c.m.turned
		c.m.mu.Unlock()
		if err := wait(); err != nil {
			return failed(mqc.RC_RESOURCE_PROBLEM)
		}
		if res.reason != mqc.RC_NO_MSG_AVAILABLE || !g.has(mqc.GMO_WAIT) || g.gmo.wait == 0 {
			return res
		}
		if gone == nil {
			gone = c.gone()
			timeout = after(g.gmo.wait)
		}
		select {
		case <-changed:
		case <-turned:
		case <-gone:
			c.broken = true
			return res
		case <-timeout:
			g.gmo.wait = 0 // one last look
		}
	}
}

// after fires when a WaitInterval (milliseconds) is over, and never for MQWI_UNLIMITED.
func after(ms int32) <-chan time.Time {
	if ms < 0 {
		return nil
	}
	return time.After(time.Duration(ms) * time.Millisecond)
}

// getLocked takes or shows the first message that is wanted.
func (c *conn) getLocked(h *handle, g *gettingCall) (code, func() error) {
	switch {
	case c.m.state != running && g.has(mqc.GMO_FAIL_IF_QUIESCING):
		return c.m.ending(), nothing
	case h.q.def.GetInhibited || h.def.GetInhibited:
		return failed(mqc.RC_GET_INHIBITED), nothing
	case g.has(mqc.GMO_SYNCPOINT) && c.unit.size() >= int(c.m.opts.MaxUncommitted):
		return failed(mqc.RC_SYNCPOINT_LIMIT_REACHED), nothing
	}
	c.m.expire(h.q)
	msg, res := g.choose(h)
	if msg == nil {
		return res, nothing
	}
	res = c.m.deliver(g, h, msg)
	if g.has(browsing) || res.reason == mqc.RC_TRUNCATED_MSG_FAILED {
		return res, nothing
	}
	return res, c.take(h, g, msg)
}

// choose finds the message, and moves the browse cursor to it if this is a browse.
func (g *gettingCall) choose(h *handle) (*message, code) {
	behind, match := start, g.match
	switch {
	case g.has(mqc.GMO_BROWSE_NEXT):
		behind = h.cursor
	case g.has(mqc.GMO_MSG_UNDER_CURSOR | mqc.GMO_BROWSE_MSG_UNDER_CURSOR):
		match = func(m *message) bool { return h.q.placeOf(m) == h.cursor }
	}
	msg := h.q.find(behind, match)
	switch {
	case msg == nil && g.has(mqc.GMO_MSG_UNDER_CURSOR|mqc.GMO_BROWSE_MSG_UNDER_CURSOR):
		return nil, failed(mqc.RC_NO_MSG_UNDER_CURSOR)
	case msg == nil:
		return nil, failed(mqc.RC_NO_MSG_AVAILABLE)
	case g.has(browsing):
		h.cursor = h.q.placeOf(msg)
	}
	return msg, done
}

// deliver fills what the application gets.
func (m *Manager) deliver(g *gettingCall, h *handle, msg *message) code {
	version := g.md.Version
	g.md = msg.MD
	if !msg.expires.IsZero() {
		g.md.Expiry = max(1, int32((msg.expires.Sub(m.now())+99*time.Millisecond)/(100*time.Millisecond)))
	}
	g.body = slices.Clone(msg.Body)
	res := g.represent(h.q.def.PropertyControl, msg)
	if g.has(mqc.GMO_CONVERT) {
		res = g.convert()
	}
	g.forVersion(version)
	g.gmo.resolved, g.gmo.returned = h.q.def.Name, int32(min(len(g.body), g.room))
	g.gmo.status = [4]byte{groupStatus(msg.MD.MsgFlags), ' ', ' ', ' '}
	if len(g.body) <= g.room {
		return res
	}
	if g.has(mqc.GMO_ACCEPT_TRUNCATED_MSG) {
		return warning(mqc.RC_TRUNCATED_MSG_ACCEPTED)
	}
	return warning(mqc.RC_TRUNCATED_MSG_FAILED)
}

func groupStatus(flags int32) byte {
	switch {
	case flags&mqc.MF_LAST_MSG_IN_GROUP != 0:
		return 'L'
	case flags&mqc.MF_MSG_IN_GROUP != 0:
		return 'G'
	}
	return ' '
}

// take removes a message, in the unit of work or for good.
func (c *conn) take(h *handle, g *gettingCall, msg *message) func() error {
	if h.may(mqc.OO_SAVE_ALL_CONTEXT) {
		saved := msg.MD
		h.saved = &saved
	}
	inUnit := g.has(mqc.GMO_SYNCPOINT) || g.has(mqc.GMO_SYNCPOINT_IF_PERSISTENT) && msg.MD.Persistence == mqc.PER_PERSISTENT
	if inUnit {
		msg.queue.lock(msg)
		c.unit.gets = append(c.unit.gets, msg)
		return nothing
	}
	msg.queue.remove(msg)
	msg.queue.wake()
	if !msg.logged {
		return nothing
	}
	wait, err := c.m.log(&record{Gets: refs([]*message{msg})})
	if err != nil {
		return func() error { return err }
	}
	return wait
}
