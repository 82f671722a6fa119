package qmgr

import (
	"bufio"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// code is how a call ended.
type code struct{ completion, reason int32 }

var done = code{}

func failed(reason int32) code  { return code{mqc.CC_FAILED, reason} }
func warning(reason int32) code { return code{mqc.CC_WARNING, reason} }

// conn is one connection, which makes one call after the other.
type conn struct {
	m    *Manager
	sock net.Conn
	r    *bufio.Reader
	peek chan struct{} // closed when a look at the socket during a wait has ended; nil without one

	user, appl string
	maxLength  int32 // of a message, by its channel
	unit       unit
	objects    map[int32]*handle
	messages   map[int64]*bag
	last       int32 // number of the last object
	broken     bool  // a fault cut it
	dead       bool  // its client is gone, its locks are not
	ended      chan struct{}
}

func (m *Manager) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	m.listener = l
	m.serving.Go(func() { m.accept(l) })
	return nil
}

func (m *Manager) accept(l net.Listener) {
	for {
		sock, err := l.Accept()
		if err != nil {
			return
		}
		c := &conn{m: m, sock: sock, r: bufio.NewReaderSize(sock, 64<<10), objects: map[int32]*handle{}, messages: map[int64]*bag{}, ended: make(chan struct{})}
		m.mu.Lock()
		m.conns[c] = struct{}{}
		m.mu.Unlock()
		m.serving.Go(c.serve)
	}
}

// serve answers calls until the client disconnects or is gone.
func (c *conn) serve() {
	defer close(c.ended)
	for c.next() {
	}
	_ = c.sock.Close()
	c.linger()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.release()
	delete(c.m.conns, c)
}

// next answers one call, and reports whether another may follow.
func (c *conn) next() bool {
	if c.peek != nil { // it reads from the same socket
		<-c.peek
		c.peek = nil
	}
	frame, err := readFrame(c.r)
	if err != nil {
		return false
	}
	in := &request{frame}
	verb := in.long()
	out := newReply()
	res := c.call(int(verb), in, out)
	if c.broken {
		return false
	}
	_, err = c.sock.Write(out.finish(res))
	return err == nil && verb != verbDisconnect && (verb != verbConnect || res.completion != mqc.CC_FAILED)
}

// linger keeps the locks of a client that is gone without a word, as a queue manager does until it notices.
func (c *conn) linger() {
	c.m.mu.Lock()
	before := c.m.releases
	c.dead = c.unit.size()+len(c.objects) > 0
	c.m.mu.Unlock()
	if c.m.opts.LockedFor == 0 || !c.dead {
		return
	}
	over := make(chan struct{})
	defer time.AfterFunc(c.m.opts.LockedFor, func() { close(over) }).Stop()
	_ = c.m.await(over, func() bool { return c.m.state == stopping || c.m.releases > before }) // either way they are let go
}

// release rolls back and closes everything. The lock is held.
func (c *conn) release() {
	c.rollback()
	for n := range c.objects {
		c.forget(n)
	}
	c.m.handles -= len(c.messages)
	clear(c.messages)
}

// gone returns a channel that is closed when the client's socket is, while a call of it waits: it sends nothing meanwhile.
func (c *conn) gone() <-chan struct{} {
	ended, peek := make(chan struct{}), make(chan struct{})
	c.peek = peek
	go func() {
		defer close(peek)
		if _, err := c.r.Peek(1); err != nil {
			close(ended)
		}
	}()
	return ended
}

// call finds the verb's function, with the fault that is due around it.
func (c *conn) call(verb int, in *request, out *reply) code {
	f := c.m.due(c, verb, in)
	if f == nil {
		return c.perform(verb, in, out)
	}
	c.m.pause(f.Delay)
	var res code
	if f.When == After || f.Reason == 0 && !f.Cut {
		res = c.perform(verb, in, out)
	}
	c.broken = c.broken || f.Cut
	if f.Reason != 0 {
		return code{or(f.Completion, mqc.CC_FAILED), f.Reason}
	}
	return res
}

func (c *conn) perform(verb int, in *request, out *reply) code {
	verbs := [...]func(*conn, *request, *reply) code{
		verbConnect: (*conn).connect, verbDisconnect: (*conn).disconnect, verbOpen: (*conn).open, verbClose: (*conn).close,
		verbPut: (*conn).put, verbPut1: (*conn).put1, verbGet: (*conn).get, verbInquire: (*conn).inquire,
		verbCommit: (*conn).commitCall, verbBack: (*conn).backCall, verbSubscribe: (*conn).subscribe,
		verbCreateHandle: (*conn).createHandle, verbDeleteHandle: (*conn).deleteHandle, verbSetProperty: (*conn).setProperty,
		verbDeleteProperty: (*conn).deleteProperty, verbInquireProperty: (*conn).inquireProperty,
	}
	if verb <= 0 || verb >= len(verbs) {
		return failed(mqc.RC_FUNCTION_ERROR)
	}
	return verbs[verb](c, in, out)
}

// connecting is what a client says of itself.
type connecting struct {
	manager               string
	options               int32
	channel, cipher       string
	maxLength, heartbeat  int32
	repository, label     string
	user, password, token string
	ccdt, appl            string
}

func readConnecting(in *request) connecting {
	return connecting{manager: in.text(), options: in.long(), channel: in.text(), cipher: in.text(), maxLength: in.long(),
		heartbeat: in.long(), repository: in.text(), label: in.text(), user: in.text(), password: in.text(), token: in.text(),
		ccdt: in.text(), appl: in.text()}
}

// connect is MQCONNX.
func (c *conn) connect(in *request, out *reply) code {
	a := readConnecting(in)
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	out.long(max(a.heartbeat, c.m.opts.Heartbeat))
	for _, check := range []func(connecting) code{c.m.checkState, c.m.checkName, c.checkChannel, c.m.checkUser} {
		if res := check(a); res != done {
			return res
		}
	}
	c.user, c.appl = a.user, a.appl
	return done
}

func (m *Manager) checkState(connecting) code {
	switch m.state {
	case quiescing:
		return failed(mqc.RC_Q_MGR_QUIESCING)
	case stopping:
		return failed(mqc.RC_Q_MGR_NOT_AVAILABLE)
	}
	return done
}

func (m *Manager) checkName(a connecting) code {
	if a.manager != "" && a.manager != "*" && strings.TrimPrefix(a.manager, "*") != m.opts.Name {
		return failed(mqc.RC_Q_MGR_NAME_ERROR)
	}
	return done
}

// checkChannel also settles how long a message may be.
func (c *conn) checkChannel(a connecting) code {
	c.maxLength = a.maxLength
	if c.m.opts.Channels == nil {
		return done
	}
	i := slices.IndexFunc(c.m.opts.Channels, func(ch Channel) bool { return ch.Name == a.channel })
	if i < 0 {
		return failed(mqc.RC_UNKNOWN_CHANNEL_NAME)
	}
	ch := c.m.opts.Channels[i]
	if ch.MaxMsgLength > 0 {
		c.maxLength = min(c.maxLength, ch.MaxMsgLength)
	}
	switch {
	case ch.Blocked:
		return failed(mqc.RC_CHANNEL_BLOCKED)
	case ch.Cipher != a.cipher:
		return failed(mqc.RC_SSL_INITIALIZATION_ERROR)
	case ch.Cipher != "" && !repositoryExists(a.repository):
		return failed(mqc.RC_KEY_REPOSITORY_ERROR)
	}
	return done
}

// repositoryExists looks for a key repository by its name with or without the suffix.
func repositoryExists(name string) bool {
	return name != "" && slices.ContainsFunc([]string{"", ".kdb", ".p12"}, func(suffix string) bool {
		_, err := os.Stat(name + suffix)
		return err == nil
	})
}

func (m *Manager) checkUser(a connecting) code {
	if m.opts.Users == nil {
		return done
	}
	if password, known := m.opts.Users[a.user]; !known || password != a.password {
		return failed(mqc.RC_NOT_AUTHORIZED)
	}
	return done
}

// disconnect is MQDISC: it commits.
func (c *conn) disconnect(*request, *reply) code {
	res := c.commit()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.release()
	return res
}
