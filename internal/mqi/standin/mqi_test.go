//go:build cgo && ibmmq

package standin_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ibm-messaging/mq-golang/v5/ibmmq"

	"github.com/posthouse/posthouse/internal/mqi"
	"github.com/posthouse/posthouse/internal/mqi/standin"
	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

func TestMain(m *testing.M) {
	if err := standin.Use(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// start starts a queue manager with queues of these names.
func start(t testing.TB, o qmgr.Options, queues ...string) *qmgr.Manager {
	t.Helper()
	for _, name := range queues {
		o.Queues = append(o.Queues, qmgr.Queue{Name: name})
	}
	m, err := qmgr.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// options are those of a client connection to m.
func options(m *qmgr.Manager) *ibmmq.MQCNO {
	cd := ibmmq.NewMQCD()
	cd.ChannelName, cd.ConnectionName = "APP.SVRCONN", m.ConnName()
	cno := ibmmq.NewMQCNO()
	cno.Options, cno.ClientConn, cno.ApplName = ibmmq.MQCNO_CLIENT_BINDING, cd, "standin test"
	return cno
}

func connect(t testing.TB, m *qmgr.Manager) ibmmq.MQQueueManager {
	t.Helper()
	c, err := ibmmq.Connx(m.Name(), options(m))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disc() })
	return c
}

func open(t testing.TB, c *ibmmq.MQQueueManager, name string, options int32) ibmmq.MQObject {
	t.Helper()
	od := ibmmq.NewMQOD()
	od.ObjectName = name
	o, err := c.Open(od, options)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	return o
}

// reason is the MQRC of err, 0 if there is none.
func reason(err error) int32 {
	var r *ibmmq.MQReturn
	if errors.As(err, &r) {
		return r.MQRC
	}
	return 0
}

func wantReason(t testing.TB, what string, err error, want int32) {
	t.Helper()
	if got := reason(err); got != want || want == 0 && err != nil {
		t.Errorf("%s: reason %d, want %d", what, got, want)
	}
}

// descriptor is a fresh MQMD of version 2.
func descriptor() *ibmmq.MQMD {
	md := ibmmq.NewMQMD()
	md.Version = ibmmq.MQMD_VERSION_2
	return md
}

func put(o ibmmq.MQObject, md *ibmmq.MQMD, options int32, body string) error {
	pmo := ibmmq.NewMQPMO()
	pmo.Options = options
	return o.Put(md, pmo, []byte(body))
}

// get gets any message; wait in milliseconds, 0 for none.
func get(o ibmmq.MQObject, options, wait int32) (string, *ibmmq.MQMD, error) {
	md, gmo := descriptor(), ibmmq.NewMQGMO()
	gmo.Version, gmo.MatchOptions = ibmmq.MQGMO_VERSION_2, ibmmq.MQMO_NONE
	gmo.Options, gmo.WaitInterval = options, wait
	if wait != 0 {
		gmo.Options |= ibmmq.MQGMO_WAIT
	}
	buf := make([]byte, 64<<10)
	n, err := o.Get(md, gmo, buf)
	return string(buf[:n]), md, err
}

// wantGet gets messages with these bodies.
func wantGet(t testing.TB, o ibmmq.MQObject, options int32, want ...string) {
	t.Helper()
	for _, w := range want {
		if got, _, err := get(o, options, 0); got != w || err != nil {
			t.Errorf("get: %q, %v, want %q", got, err, w)
		}
	}
}

func TestPutAndGet(t *testing.T) {
	m := start(t, qmgr.Options{}, "Q")
	c := connect(t, m)
	o := open(t, &c, "Q", ibmmq.MQOO_OUTPUT|ibmmq.MQOO_INPUT_SHARED)
	md := descriptor()
	md.Format, md.CorrelId, md.ReplyToQ, md.MsgType = "MQSTR", bytes.Repeat([]byte{7}, 24), "R", ibmmq.MQMT_REQUEST
	if err := put(o, md, ibmmq.MQPMO_NO_SYNCPOINT, "hello"); err != nil {
		t.Fatal(err)
	}
	body, got, err := get(o, ibmmq.MQGMO_NO_SYNCPOINT, 0)
	if body != "hello" || err != nil {
		t.Fatalf("got %q, %v", body, err)
	}
	if !bytes.Equal(got.MsgId, md.MsgId) || bytes.Equal(got.MsgId, make([]byte, 24)) || !bytes.Equal(got.CorrelId, md.CorrelId) {
		t.Errorf("ids %x %x, put %x %x", got.MsgId, got.CorrelId, md.MsgId, md.CorrelId)
	}
	if got.ReplyToQ != "R" || got.ReplyToQMgr != "QM1" || got.Format != "MQSTR" || got.PutApplName != "standin test" || got.CodedCharSetId != 1208 {
		t.Errorf("descriptor %+v", got)
	}
	if age := time.Since(got.PutDateTime); age < -time.Second || age > time.Minute {
		t.Errorf("put %v ago", age)
	}
	_, _, err = get(o, ibmmq.MQGMO_NO_SYNCPOINT, 0)
	wantReason(t, "get from an empty queue", err, ibmmq.MQRC_NO_MSG_AVAILABLE)
}

// TestTemporaryQueue: a requester's own queue for replies, made by opening the model.
func TestTemporaryQueue(t *testing.T) {
	m := start(t, qmgr.Options{})
	c, other := connect(t, m), connect(t, m)
	od := ibmmq.NewMQOD()
	od.ObjectName, od.DynamicQName = "SYSTEM.DEFAULT.MODEL.QUEUE", "REPLY.*"
	o, err := c.Open(od, ibmmq.MQOO_INPUT_EXCLUSIVE)
	if err != nil || !strings.HasPrefix(od.ObjectName, "REPLY.") {
		t.Fatalf("%q, %v", od.ObjectName, err)
	}
	pmo, to := ibmmq.NewMQPMO(), ibmmq.NewMQOD()
	to.ObjectName = od.ObjectName
	if err := other.Put1(to, descriptor(), pmo, []byte("reply")); err != nil {
		t.Fatal(err)
	}
	wantGet(t, o, ibmmq.MQGMO_NO_SYNCPOINT, "reply")
	if err := o.Close(0); err != nil {
		t.Fatal(err)
	}
	wantReason(t, "afterwards", other.Put1(to, descriptor(), pmo, nil), ibmmq.MQRC_UNKNOWN_OBJECT_NAME)
}

func TestUnitOfWork(t *testing.T) {
	m := start(t, qmgr.Options{}, "IN", "OUT")
	c, other := connect(t, m), connect(t, m)
	in := open(t, &c, "IN", ibmmq.MQOO_INPUT_SHARED)
	out := open(t, &c, "OUT", ibmmq.MQOO_OUTPUT)
	feed := open(t, &other, "IN", ibmmq.MQOO_OUTPUT)
	for _, body := range []string{"a", "b"} {
		if err := put(feed, descriptor(), 0, body); err != nil {
			t.Fatal(err)
		}
	}
	wantGet(t, in, ibmmq.MQGMO_SYNCPOINT, "a", "b")
	if err := put(out, descriptor(), ibmmq.MQPMO_SYNCPOINT, "c"); err != nil {
		t.Fatal(err)
	}
	if got, held := m.Messages("OUT"); len(got) != 0 || len(held) != 1 {
		t.Errorf("before the commit: %d, %d", len(got), len(held))
	}
	if err := c.Back(); err != nil {
		t.Fatal(err)
	}
	if got, held := m.Messages("OUT"); len(got)+len(held) != 0 {
		t.Errorf("after the backout: %d, %d", len(got), len(held))
	}
	body, md, err := get(in, ibmmq.MQGMO_SYNCPOINT, 0)
	if body != "a" || md.BackoutCount != 1 || err != nil {
		t.Errorf("again: %q, count %d, %v", body, md.BackoutCount, err)
	}
	if err := put(out, descriptor(), ibmmq.MQPMO_SYNCPOINT, "d"); err != nil {
		t.Fatal(err)
	}
	if err := c.Cmit(); err != nil {
		t.Fatal(err)
	}
	left, _ := m.Messages("IN")
	moved, _ := m.Messages("OUT")
	if len(left) != 1 || string(left[0].Body) != "b" || len(moved) != 1 || string(moved[0].Body) != "d" {
		t.Errorf("after the commit: IN %v, OUT %v", left, moved)
	}
}

// TestDisconnectCommits: MQDISC ends a unit of work by committing it.
func TestDisconnectCommits(t *testing.T) {
	m := start(t, qmgr.Options{}, "Q")
	c := connect(t, m)
	o := open(t, &c, "Q", ibmmq.MQOO_OUTPUT)
	if err := put(o, descriptor(), ibmmq.MQPMO_SYNCPOINT, "x"); err != nil {
		t.Fatal(err)
	}
	if err := c.Disc(); err != nil {
		t.Fatal(err)
	}
	if got, held := m.Messages("Q"); len(got) != 1 || len(held) != 0 {
		t.Errorf("%d messages, %d uncommitted", len(got), len(held))
	}
}

func TestWaitIsWokenByACommit(t *testing.T) {
	m := start(t, qmgr.Options{}, "Q")
	c, other := connect(t, m), connect(t, m)
	in := open(t, &c, "Q", ibmmq.MQOO_INPUT_SHARED)
	out := open(t, &other, "Q", ibmmq.MQOO_OUTPUT)
	if err := put(out, descriptor(), ibmmq.MQPMO_SYNCPOINT, "x"); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		body, _, _ := get(in, ibmmq.MQGMO_NO_SYNCPOINT, 60_000)
		got <- body
	}()
	if err := other.Cmit(); err != nil {
		t.Fatal(err)
	}
	if body := <-got; body != "x" {
		t.Errorf("got %q", body)
	}
	_, _, err := get(in, ibmmq.MQGMO_NO_SYNCPOINT, 20)
	wantReason(t, "a wait that ends", err, ibmmq.MQRC_NO_MSG_AVAILABLE)
}

func TestProperties(t *testing.T) {
	m := start(t, qmgr.Options{}, "Q")
	c := connect(t, m)
	o := open(t, &c, "Q", ibmmq.MQOO_OUTPUT|ibmmq.MQOO_INPUT_SHARED)
	mh, err := c.CrtMH(ibmmq.NewMQCMHO())
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("ä", 50<<10)
	values := []any{true, int8(-5), int16(-300), int32(70000), int64(1) << 40, float32(1.5), 2.25, "text", []byte{0, 1, 2}, nil, long}
	names := []string{"b", "i1", "i2", "i4", "i8", "r4", "r8", "s", "x", "n", strings.Repeat("name", 1000)}
	for i, v := range values {
		if err := mh.SetMP(ibmmq.NewMQSMPO(), names[i], ibmmq.NewMQPD(), v); err != nil {
			t.Fatalf("set %s: %v", names[i], err)
		}
	}
	wantReason(t, "a name that JMS has for itself", mh.SetMP(ibmmq.NewMQSMPO(), "JMSFoo", ibmmq.NewMQPD(), "x"), ibmmq.MQRC_PROPERTY_NAME_ERROR)
	pmo := ibmmq.NewMQPMO()
	pmo.OriginalMsgHandle = mh
	if err := o.Put(descriptor(), pmo, []byte("body")); err != nil {
		t.Fatal(err)
	}
	into, err := c.CrtMH(ibmmq.NewMQCMHO())
	if err != nil {
		t.Fatal(err)
	}
	gmo := ibmmq.NewMQGMO()
	gmo.Options, gmo.MsgHandle = ibmmq.MQGMO_NO_SYNCPOINT|ibmmq.MQGMO_PROPERTIES_IN_HANDLE, into
	buf := make([]byte, 100)
	if n, err := o.Get(descriptor(), gmo, buf); string(buf[:n]) != "body" || err != nil {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
	wantProperties(t, &c, &into, names, values)
	for _, h := range []*ibmmq.MQMessageHandle{&mh, &into} {
		if err := h.DltMH(ibmmq.NewMQDMHO()); err != nil {
			t.Error(err)
		}
	}
	if n := m.Use().MessageHandles; n != 0 {
		t.Errorf("%d message handles left", n)
	}
}

// wantProperties reads all properties of a handle.
func wantProperties(t *testing.T, c *ibmmq.MQQueueManager, mh *ibmmq.MQMessageHandle, names []string, values []any) {
	t.Helper()
	cursor := mqi.NewCursor(c.GetValue(), mh.GetValue())
	defer func() { _ = cursor.Close() }()
	for i, name := range names {
		p, err := cursor.Next()
		if err != nil || p.Name != name || !equal(p.Value, values[i]) {
			t.Fatalf("property %d: %.40q = %.40v, %v, want %.40q = %.40v", i, p.Name, p.Value, err, name, values[i])
		}
	}
	if _, err := cursor.Next(); err == nil || err.Error() != "EOF" {
		t.Errorf("behind the last: %v", err)
	}
}

func equal(got, want any) bool {
	a, isBytes := got.([]byte)
	b, _ := want.([]byte)
	return isBytes && bytes.Equal(a, b) || !isBytes && got == want
}

func TestFaults(t *testing.T) {
	m := start(t, qmgr.Options{}, "Q")
	for _, f := range []qmgr.Fault{
		{Verb: "MQPUT", Queue: "Q", Reason: ibmmq.MQRC_Q_FULL},
		{Verb: "MQCMIT", When: qmgr.After, Cut: true},
		{Verb: "MQCMIT", Cut: true},
		{Verb: "MQCMIT", When: qmgr.After, Reason: ibmmq.MQRC_CALL_INTERRUPTED, Cut: false},
	} {
		c := connect(t, m)
		o := open(t, &c, "Q", ibmmq.MQOO_OUTPUT)
		m.Clear("Q")
		m.Inject(f)
		err := put(o, descriptor(), ibmmq.MQPMO_SYNCPOINT, "x")
		if f.Verb == "MQPUT" {
			wantReason(t, "put", err, f.Reason)
			wantReason(t, "the next put", put(o, descriptor(), ibmmq.MQPMO_SYNCPOINT, "x"), 0)
			continue
		}
		want := max(f.Reason, ibmmq.MQRC_CONNECTION_BROKEN)
		wantReason(t, "commit", c.Cmit(), want)
		if f.Cut {
			wantReason(t, "what follows", c.Back(), ibmmq.MQRC_CONNECTION_BROKEN)
		}
		got, _ := m.Messages("Q")
		if (len(got) == 1) != (f.When == qmgr.After) {
			t.Errorf("%+v: %d messages", f, len(got))
		}
	}
	if n := len(m.Fired()); n != 4 {
		t.Errorf("%d faults fired, want 4", n)
	}
}

func TestPersistentSurvive(t *testing.T) {
	dir := t.TempDir()
	m := start(t, qmgr.Options{Dir: dir}, "Q")
	c := connect(t, m)
	o := open(t, &c, "Q", ibmmq.MQOO_OUTPUT|ibmmq.MQOO_INPUT_SHARED)
	for _, x := range []struct {
		body       string
		persistent int32
	}{{"p1", 1}, {"n", 0}, {"p2", 1}} {
		md := descriptor()
		md.Persistence = x.persistent
		if err := put(o, md, ibmmq.MQPMO_SYNCPOINT, x.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Cmit(); err != nil {
		t.Fatal(err)
	}
	wantGet(t, o, ibmmq.MQGMO_SYNCPOINT, "p1")
	if err := c.Back(); err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir() // as it is on disk now: what a kill leaves
	raw, err := os.ReadFile(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copied, "journal"), append(raw, 1, 2, 3), 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, qmgr.Options{Dir: copied})
	got, _ := again.Messages("Q")
	if len(got) != 2 || string(got[0].Body) != "p1" || got[0].MD.BackoutCount != 1 || string(got[1].Body) != "p2" {
		t.Errorf("survived: %v", got)
	}
}
