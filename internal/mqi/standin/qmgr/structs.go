package qmgr

// A Descriptor is the MQMD, version 2. Strings are without the blanks that pad them.
type Descriptor struct {
	Version, Report, MsgType, Expiry, Feedback int32
	Encoding, CCSID                            int32
	Format                                     string
	Priority, Persistence                      int32
	MsgID, CorrelID                            [24]byte
	BackoutCount                               int32
	ReplyToQ, ReplyToQMgr, UserIdentifier      string
	AccountingToken                            [32]byte
	ApplIdentityData                           string
	PutApplType                                int32
	PutApplName, PutDate, PutTime              string // date YYYYMMDD and time HHMMSSTH are GMT
	ApplOriginData                             string
	GroupID                                    [24]byte
	MsgSeqNumber, Offset, MsgFlags             int32
	OriginalLength                             int32
}

func (d *Descriptor) layout(l *layout) {
	l.skip(4)
	l.longs(&d.Version, &d.Report, &d.MsgType, &d.Expiry, &d.Feedback, &d.Encoding, &d.CCSID)
	l.text(&d.Format, 8)
	l.longs(&d.Priority, &d.Persistence)
	l.raw(d.MsgID[:])
	l.raw(d.CorrelID[:])
	l.long(&d.BackoutCount)
	l.text(&d.ReplyToQ, 48)
	l.text(&d.ReplyToQMgr, 48)
	l.text(&d.UserIdentifier, 12)
	l.raw(d.AccountingToken[:])
	l.text(&d.ApplIdentityData, 32)
	l.long(&d.PutApplType)
	l.text(&d.PutApplName, 28)
	l.text(&d.PutDate, 8)
	l.text(&d.PutTime, 8)
	l.text(&d.ApplOriginData, 4)
	d.version2(l)
}

// version2 are the fields of version 2; an MQMDE has the same.
func (d *Descriptor) version2(l *layout) {
	l.raw(d.GroupID[:])
	l.longs(&d.MsgSeqNumber, &d.Offset, &d.MsgFlags, &d.OriginalLength)
}

// objectDesc is the MQOD.
type objectDesc struct {
	version, kind                   int32
	name, manager, dynamic, altUser string
	resolved, resolvedManager       string
	resolvedKind                    int32
	topic                           string // ObjectString, which travels beside the structure
}

func (o *objectDesc) layout(l *layout) {
	l.skip(4)
	l.longs(&o.version, &o.kind)
	l.text(&o.name, 48)
	l.text(&o.manager, 48)
	l.text(&o.dynamic, 48)
	l.text(&o.altUser, 12)
	l.skip(6*4 + 2*8 + 40)
	l.text(&o.resolved, 48)
	l.text(&o.resolvedManager, 48)
	l.skip(3 * 24)
	l.long(&o.resolvedKind)
}

// getOptions is the MQGMO.
type getOptions struct {
	version, options, wait int32
	resolved               string
	match                  int32
	status                 [4]byte // group, segment, segmentation, reserved
	token                  [16]byte
	returned, reserved     int32
	handle                 int64
}

func (g *getOptions) layout(l *layout) {
	l.skip(4)
	l.longs(&g.version, &g.options, &g.wait)
	l.skip(8)
	l.text(&g.resolved, 48)
	l.long(&g.match)
	l.raw(g.status[:])
	l.raw(g.token[:])
	l.longs(&g.returned, &g.reserved)
	l.handle(&g.handle)
}

// putOptions is the MQPMO.
type putOptions struct {
	version, options, timeout, context int32
	resolved, resolvedManager          string
	handle, newHandle                  int64
	action, level                      int32
}

func (p *putOptions) layout(l *layout) {
	l.skip(4)
	l.longs(&p.version, &p.options, &p.timeout, &p.context)
	l.skip(3 * 4)
	l.text(&p.resolved, 48)
	l.text(&p.resolvedManager, 48)
	l.skip(4*4 + 2*8)
	l.handle(&p.handle)
	l.handle(&p.newHandle)
	l.longs(&p.action, &p.level)
}

// subDesc is the MQSD.
type subDesc struct {
	version, options int32
	object           string
	topic, name      string // strings that travel beside the structure
}

func (s *subDesc) layout(l *layout) {
	l.skip(4)
	l.longs(&s.version, &s.options)
	l.text(&s.object, 48)
}

// inquireOptions is the MQIMPO.
type inquireOptions struct {
	version, options           int32
	encoding, ccsid            int32 // requested
	gotEncoding, gotCCSID      int32
	nameSize, nameLen, nameSet int32 // of ReturnedName
}

func (o *inquireOptions) layout(l *layout) {
	l.skip(4)
	l.longs(&o.version, &o.options, &o.encoding, &o.ccsid, &o.gotEncoding, &o.gotCCSID)
	l.skip(4 + 8 + 4)
	l.longs(&o.nameSize, &o.nameLen, &o.nameSet)
}

// propertyDesc is the MQPD.
type propertyDesc struct {
	version, options, support, context, copies int32
}

func (p *propertyDesc) layout(l *layout) {
	l.skip(4)
	l.longs(&p.version, &p.options, &p.support, &p.context, &p.copies)
}

// structure is any of the above.
type structure interface{ layout(l *layout) }

// read fills s from a structure as it lies in the client's memory.
func read(s structure, raw []byte) { s.layout(&layout{b: raw}) }

// write puts s back over the structure it was read from.
func write(s structure, raw []byte) []byte {
	s.layout(&layout{b: raw, write: true})
	return raw
}
