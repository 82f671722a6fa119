//go:build cgo && ibmmq

package ibmmq

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/ibm-messaging/mq-golang/v5/ibmmq"

	"github.com/posthouse/posthouse/internal/mqi"
)

// Built reports whether this binary can speak to IBM MQ, given IBM's client library on the machine.
const Built = true

// binding is connector over mq-golang. What it does itself or wrongly, and what is done about it: it makes descriptors of
// version 1, which lose group fields; it matches ids on every get; it sets no syncpoint; its MQINQMP has room for values of
// 1,024 bytes only (mqi.Properties); its channels have a heartbeat of a second.
type binding struct{}

func (binding) library() (string, error) {
	if err := mqi.Load(); err != nil {
		return "", err
	}
	return mqi.Last().Path, nil
}

func (b binding) connect(s settings, connName string) (connection, error) {
	if s.library != "" {
		if err := mqi.SetLibrary(s.library); err != nil {
			return nil, &mqError{verb: "MQCONNX", cc: mqccFailed, rc: mqrcEnvironment, words: err.Error()}
		}
	}
	m, err := ibmmq.Connx(s.manager, connectOptions(s, connName))
	if err := returned("MQCONNX", err); err != nil && !warned(err) {
		return nil, explained(err)
	}
	return &handle{manager: m}, nil
}

// explained says why the client library is not there, where that is the reason: its own number says as much for other reasons.
func explained(err error) error {
	var e *mqError
	if errors.As(err, &e) && (e.rc == mqrcEnvironment || e.rc == mqrcFunctionMissing) {
		if why := mqi.Last().Err(); why != nil {
			e.words = why.Error()
		}
	}
	return err
}

func connectOptions(s settings, connName string) *ibmmq.MQCNO {
	o := ibmmq.NewMQCNO()
	o.Options = ibmmq.MQCNO_CLIENT_BINDING | ibmmq.MQCNO_RECONNECT_DISABLED | ibmmq.MQCNO_HANDLE_SHARE_NO_BLOCK
	o.ApplName = s.application
	if s.ccdt != "" {
		o.CCDTUrl = s.ccdt
	} else {
		o.ClientConn = channel(s, connName)
	}
	if s.repository != "" {
		o.SSLConfig = ibmmq.NewMQSCO()
		o.SSLConfig.KeyRepository, o.SSLConfig.CertificateLabel = s.repository, s.label
	}
	switch {
	case s.token != "":
		o.SecurityParms = ibmmq.NewMQCSP()
		o.SecurityParms.Token = s.token
	case s.user != "":
		o.SecurityParms = ibmmq.NewMQCSP()
		o.SecurityParms.AuthenticationType = ibmmq.MQCSP_AUTH_USER_ID_AND_PWD
		o.SecurityParms.UserId, o.SecurityParms.Password = s.user, s.password
	}
	return o
}

func channel(s settings, connName string) *ibmmq.MQCD {
	c := ibmmq.NewMQCD()
	c.ChannelName, c.ConnectionName, c.SSLCipherSpec, c.CertificateLabel = s.channel, connName, s.cipher, s.label
	c.SharingConversations = 1
	c.HeartbeatInterval = int32(min((s.heartbeat+time.Second-1)/time.Second, 999_999))
	c.MaxMsgLength = int32(s.maxSize)
	return c
}

// returned makes an *mqError of what the binding returns; nil of nil.
func returned(verb string, err error) error {
	if err == nil {
		return nil
	}
	var r *ibmmq.MQReturn
	if errors.As(err, &r) {
		return &mqError{verb: verb, cc: r.MQCC, rc: r.MQRC}
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// A handle is a connection.
type handle struct{ manager ibmmq.MQQueueManager }

func (h *handle) commit() error     { return returned("MQCMIT", h.manager.Cmit()) }
func (h *handle) back() error       { return returned("MQBACK", h.manager.Back()) }
func (h *handle) disconnect() error { return returned("MQDISC", h.manager.Disc()) }

func (h *handle) open(n objectName, options int32) (object, error) {
	od := ibmmq.NewMQOD()
	od.ObjectName, od.ObjectQMgrName = n.queue, n.manager
	switch {
	case n.topic != "":
		od.ObjectType, od.ObjectString = ibmmq.MQOT_TOPIC, n.topic
	case n.queue == "":
		od.ObjectType = ibmmq.MQOT_Q_MGR
	}
	o, err := h.manager.Open(od, options)
	if err := returned("MQOPEN", err); err != nil && !warned(err) {
		return nil, err
	}
	return &opened{h: h, object: o, buffer: make([]byte, 0, 64<<10)}, nil
}

// opened is an object.
type opened struct {
	h      *handle
	object ibmmq.MQObject
	buffer []byte // of gets; what is returned is a copy
}

func (o *opened) close() error { return returned("MQCLOSE", o.object.Close(0)) }

func (o *opened) inquire(selectors ...int32) (map[int32]any, error) {
	m, err := o.object.Inq(selectors)
	if err := returned("MQINQ", err); err != nil {
		return nil, err
	}
	return m, nil
}

// get grows its buffer until the message fits, or is longer than it may be: then it stays where it is.
func (o *opened) get(g getOptions) (Wire, error) {
	properties, err := o.h.properties()
	if err != nil {
		return Wire{}, err
	}
	defer properties.delete()
	for {
		md, gmo := descriptorFor(g), getOptionsFor(g)
		gmo.MsgHandle = properties.handle
		body, n, err := o.object.GetSlice(md, gmo, o.buffer[:0:min(cap(o.buffer), g.max)]) // never more room than may be taken
		e := returned("MQGET", err)
		if e != nil && !warned(e) {
			if codeOf(e) != mqrcTruncated {
				return Wire{}, e
			}
			if n > g.max {
				return Wire{}, &mqError{verb: "MQGET", cc: mqccFailed, rc: mqrcTruncated, length: n}
			}
			o.buffer = make([]byte, 0, max(n, cap(o.buffer)+1))
			g.wait = 0
			continue
		}
		w := Wire{MD: fromMD(md), Body: bytes.Clone(body)}
		w.Props, err = properties.read()
		return w, err
	}
}

func descriptorFor(g getOptions) *ibmmq.MQMD {
	md := ibmmq.NewMQMD()
	md.Version = ibmmq.MQMD_VERSION_2
	if g.messages != nil {
		md.MsgId, md.CorrelId = g.messages.msg[:], g.messages.correl[:]
	}
	return md
}

func getOptionsFor(g getOptions) *ibmmq.MQGMO {
	gmo := ibmmq.NewMQGMO()
	gmo.Version = ibmmq.MQGMO_VERSION_4
	gmo.MatchOptions = ibmmq.MQMO_NONE
	if g.messages != nil {
		gmo.MatchOptions = ibmmq.MQMO_MATCH_MSG_ID | ibmmq.MQMO_MATCH_CORREL_ID
	}
	gmo.Options = ibmmq.MQGMO_PROPERTIES_IN_HANDLE | ibmmq.MQGMO_SYNCPOINT | ibmmq.MQGMO_COMPLETE_MSG
	if g.wait > 0 {
		gmo.Options |= ibmmq.MQGMO_WAIT
		gmo.WaitInterval = int32(min(g.wait.Milliseconds(), math.MaxInt32))
	}
	return gmo
}

func (o *opened) put(w Wire, p putOptions) error {
	md, pmo := toMD(&w.MD), ibmmq.NewMQPMO()
	pmo.Options = ibmmq.MQPMO_SYNCPOINT | ibmmq.MQPMO_SYNC_RESPONSE
	if w.MD.MsgID == ([24]byte{}) {
		pmo.Options |= ibmmq.MQPMO_NEW_MSG_ID
	}
	switch p.context {
	case passContext:
		pmo.Options |= ibmmq.MQPMO_PASS_ALL_CONTEXT
		pmo.Context = &p.from.(*opened).object
	case identityContext:
		pmo.Options |= ibmmq.MQPMO_SET_IDENTITY_CONTEXT
	case allContext:
		pmo.Options |= ibmmq.MQPMO_SET_ALL_CONTEXT
	}
	if len(w.Props) > 0 {
		properties, err := o.h.properties()
		if err != nil {
			return err
		}
		defer properties.delete()
		if err := properties.set(w.Props); err != nil {
			return err
		}
		pmo.OriginalMsgHandle = properties.handle
	}
	if err := returned("MQPUT", o.object.Put(md, pmo, w.Body)); err != nil && !warned(err) {
		return err
	}
	return nil
}

func fromMD(md *ibmmq.MQMD) Descriptor {
	d := Descriptor{
		Report: md.Report, MsgType: md.MsgType, Expiry: md.Expiry, Feedback: md.Feedback, Encoding: md.Encoding, CCSID: md.CodedCharSetId,
		Format: md.Format, Priority: md.Priority, Persistence: md.Persistence, BackoutCount: md.BackoutCount, ReplyToQ: md.ReplyToQ,
		ReplyToQMgr: md.ReplyToQMgr, UserIdentifier: md.UserIdentifier, PutApplName: md.PutApplName, PutDate: md.PutDate, PutTime: md.PutTime,
		MsgSeqNumber: md.MsgSeqNumber, MsgFlags: md.MsgFlags,
	}
	copy(d.MsgID[:], md.MsgId)
	copy(d.CorrelID[:], md.CorrelId)
	copy(d.GroupID[:], md.GroupId)
	return d
}

func toMD(d *Descriptor) *ibmmq.MQMD {
	md := ibmmq.NewMQMD()
	md.Version = ibmmq.MQMD_VERSION_2
	md.Report, md.MsgType, md.Expiry, md.Feedback, md.Encoding, md.CodedCharSetId = d.Report, d.MsgType, d.Expiry, d.Feedback, d.Encoding, d.CCSID
	md.Format, md.Priority, md.Persistence = d.Format, d.Priority, d.Persistence
	md.ReplyToQ, md.ReplyToQMgr, md.UserIdentifier, md.PutApplName = d.ReplyToQ, d.ReplyToQMgr, d.UserIdentifier, d.PutApplName
	md.PutDate, md.PutTime = strings.TrimSpace(d.PutDate), strings.TrimSpace(d.PutTime)
	md.MsgSeqNumber, md.MsgFlags = max(d.MsgSeqNumber, 1), d.MsgFlags
	copy(md.MsgId, d.MsgID[:])
	copy(md.CorrelId, d.CorrelID[:])
	copy(md.GroupId, d.GroupID[:])
	return md
}
