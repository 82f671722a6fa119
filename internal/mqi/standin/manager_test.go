//go:build cgo && ibmmq

package standin_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ibm-messaging/mq-golang/v5/ibmmq"

	"github.com/posthouse/posthouse/internal/mqi/standin"
	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

func TestConnect(t *testing.T) {
	repository := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(repository+".kdb", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const cipher = "ANY_TLS12_OR_HIGHER"
	m := start(t, qmgr.Options{Users: map[string]string{"ann": "pw"}, Channels: []qmgr.Channel{
		{Name: "APP.SVRCONN"}, {Name: "TLS.SVRCONN", Cipher: cipher}, {Name: "NO.SVRCONN", Blocked: true}}})
	for name, x := range map[string]struct {
		change func(*ibmmq.MQCNO)
		want   int32
	}{
		"good":               {func(*ibmmq.MQCNO) {}, 0},
		"wrong password":     {func(c *ibmmq.MQCNO) { c.SecurityParms.Password = "no" }, ibmmq.MQRC_NOT_AUTHORIZED},
		"nobody":             {func(c *ibmmq.MQCNO) { c.SecurityParms = nil }, ibmmq.MQRC_NOT_AUTHORIZED},
		"wrong channel":      {func(c *ibmmq.MQCNO) { c.ClientConn.ChannelName = "NONE" }, ibmmq.MQRC_UNKNOWN_CHANNEL_NAME},
		"blocked":            {func(c *ibmmq.MQCNO) { c.ClientConn.ChannelName = "NO.SVRCONN" }, ibmmq.MQRC_CHANNEL_BLOCKED},
		"nobody there":       {func(c *ibmmq.MQCNO) { c.ClientConn.ConnectionName = "127.0.0.1(1)" }, ibmmq.MQRC_HOST_NOT_AVAILABLE},
		"the second address": {func(c *ibmmq.MQCNO) { c.ClientConn.ConnectionName = "127.0.0.1(1)," + m.ConnName() }, 0},
		"no cipher":          {func(c *ibmmq.MQCNO) { c.ClientConn.ChannelName = "TLS.SVRCONN" }, ibmmq.MQRC_SSL_INITIALIZATION_ERROR},
		"no repository": {func(c *ibmmq.MQCNO) {
			c.ClientConn.ChannelName, c.ClientConn.SSLCipherSpec = "TLS.SVRCONN", cipher
		}, ibmmq.MQRC_KEY_REPOSITORY_ERROR},
		"cipher and repository": {func(c *ibmmq.MQCNO) {
			c.ClientConn.ChannelName, c.ClientConn.SSLCipherSpec = "TLS.SVRCONN", cipher
			c.SSLConfig = ibmmq.NewMQSCO()
			c.SSLConfig.KeyRepository = repository
		}, 0},
	} {
		cno := options(m)
		cno.SecurityParms = ibmmq.NewMQCSP()
		cno.SecurityParms.UserId, cno.SecurityParms.Password = "ann", "pw"
		x.change(cno)
		c, err := ibmmq.Connx("QM1", cno)
		wantReason(t, name, err, x.want)
		if err == nil {
			wantReason(t, name+", disconnect", c.Disc(), 0)
		}
	}
	_, err := ibmmq.Connx("OTHER", options(m))
	wantReason(t, "wrong queue manager", err, ibmmq.MQRC_Q_MGR_NAME_ERROR)
}

func TestInquire(t *testing.T) {
	m := start(t, qmgr.Options{DeadLetterQueue: "DLQ", Queues: []qmgr.Queue{
		{Name: "Q", BackoutThreshold: 3, BackoutQueue: "Q.BACK", MaxMsgLength: 1000, PropertyControl: 3}, {Name: "A", Alias: "Q"}}})
	c := connect(t, m)
	o := open(t, &c, "Q", ibmmq.MQOO_INQUIRE|ibmmq.MQOO_OUTPUT)
	if err := put(o, descriptor(), ibmmq.MQPMO_SYNCPOINT, "x"); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		object ibmmq.MQObject
		want   map[int32]any
	}{
		{o, map[int32]any{ibmmq.MQIA_BACKOUT_THRESHOLD: int32(3), ibmmq.MQCA_BACKOUT_REQ_Q_NAME: "Q.BACK", ibmmq.MQIA_MAX_MSG_LENGTH: int32(1000),
			ibmmq.MQIA_CURRENT_Q_DEPTH: int32(1), ibmmq.MQIA_PROPERTY_CONTROL: int32(3), ibmmq.MQCA_Q_NAME: "Q"}},
		{open(t, &c, "A", ibmmq.MQOO_INQUIRE), map[int32]any{ibmmq.MQIA_Q_TYPE: ibmmq.MQQT_ALIAS, ibmmq.MQCA_BASE_Q_NAME: "Q"}},
		{manager(t, &c), map[int32]any{ibmmq.MQCA_Q_MGR_IDENTIFIER: "QM1_standin", ibmmq.MQCA_DEAD_LETTER_Q_NAME: "DLQ",
			ibmmq.MQIA_MAX_UNCOMMITTED_MSGS: int32(10000), ibmmq.MQIA_CODED_CHAR_SET_ID: int32(1208), ibmmq.MQIA_MAX_MSG_LENGTH: int32(4 << 20)}},
	} {
		var selectors []int32
		for s := range x.want {
			selectors = append(selectors, s)
		}
		got, err := x.object.Inq(selectors)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(x.want) {
			t.Errorf("inquired %v, %v, want %v", got, err, x.want)
		}
	}
	_, err := open(t, &c, "A", ibmmq.MQOO_INQUIRE).Inq([]int32{ibmmq.MQIA_BACKOUT_THRESHOLD})
	wantReason(t, "an attribute of the base queue", err, ibmmq.MQRC_SELECTOR_NOT_FOR_TYPE)
}

// manager opens the queue manager itself.
func manager(t *testing.T, c *ibmmq.MQQueueManager) ibmmq.MQObject {
	t.Helper()
	od := ibmmq.NewMQOD()
	od.ObjectType = ibmmq.MQOT_Q_MGR
	o, err := c.Open(od, ibmmq.MQOO_INQUIRE)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTwoCallsAtOnce(t *testing.T) {
	m := start(t, qmgr.Options{}, "Q")
	c := connect(t, m)
	o := open(t, &c, "Q", ibmmq.MQOO_INPUT_SHARED)
	m.Inject(qmgr.Fault{Verb: "MQGET"}) // changes nothing, but says that the call has come
	var wg sync.WaitGroup
	wg.Go(func() {
		body, _, err := get(o, ibmmq.MQGMO_NO_SYNCPOINT, 60_000)
		if body != "x" || err != nil {
			t.Errorf("the first: %q, %v", body, err)
		}
	})
	if err := m.AwaitFired(1, t.Context().Done()); err != nil {
		t.Fatal(err)
	}
	wantReason(t, "the second", c.Cmit(), ibmmq.MQRC_CALL_IN_PROGRESS)
	if err := m.Put("Q", qmgr.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	wantReason(t, "afterwards", c.Cmit(), 0)
}

// TestDeadClient: what a client held stays locked for a while after it is gone without a word, and then is as before.
func TestDeadClient(t *testing.T) {
	m := start(t, qmgr.Options{LockedFor: time.Hour}, "Q")
	c, other := connect(t, m), connect(t, m)
	in := open(t, &c, "Q", ibmmq.MQOO_INPUT_EXCLUSIVE|ibmmq.MQOO_OUTPUT)
	if err := put(in, descriptor(), 0, "x"); err != nil {
		t.Fatal(err)
	}
	wantGet(t, in, ibmmq.MQGMO_SYNCPOINT, "x")
	m.Inject(qmgr.Fault{Verb: "MQBACK", Cut: true})
	wantReason(t, "cut", c.Back(), ibmmq.MQRC_CONNECTION_BROKEN)
	od := ibmmq.NewMQOD()
	od.ObjectName = "Q"
	_, err := other.Open(od, ibmmq.MQOO_INPUT_EXCLUSIVE)
	wantReason(t, "while it is locked", err, ibmmq.MQRC_OBJECT_IN_USE)
	m.Quiesce() // lets those who linger look again, and ends nothing
	m.Resume()
	_, err = other.Open(od, ibmmq.MQOO_INPUT_EXCLUSIVE)
	wantReason(t, "still", err, ibmmq.MQRC_OBJECT_IN_USE)
	m.Release()
	late := connect(t, m)
	body, md, err := get(open(t, &late, "Q", ibmmq.MQOO_INPUT_EXCLUSIVE), ibmmq.MQGMO_NO_SYNCPOINT, 0)
	if body != "x" || md.BackoutCount != 1 || err != nil {
		t.Errorf("got %q, backout count %d, %v", body, md.BackoutCount, err)
	}
}

func TestEndOfTheQueueManager(t *testing.T) {
	m := start(t, qmgr.Options{}, "Q")
	waiting := func() chan error {
		c := connect(t, m)
		o := open(t, &c, "Q", ibmmq.MQOO_INPUT_SHARED)
		m.Inject(qmgr.Fault{Verb: "MQGET"}) // changes nothing, but says that the call has come
		before := len(m.Fired())
		ended := make(chan error, 1)
		go func() {
			_, _, err := get(o, ibmmq.MQGMO_NO_SYNCPOINT, 60_000)
			ended <- err
		}()
		if err := m.AwaitFired(before+1, t.Context().Done()); err != nil {
			t.Fatal(err)
		}
		return ended
	}
	ended := waiting()
	m.Quiesce()
	wantReason(t, "a wait while it quiesces", <-ended, ibmmq.MQRC_Q_MGR_QUIESCING)
	_, err := ibmmq.Connx("QM1", options(m))
	wantReason(t, "connect while it quiesces", err, ibmmq.MQRC_Q_MGR_QUIESCING)
	m.Resume()
	ended = waiting()
	m.Stop()
	if got := reason(<-ended); got != ibmmq.MQRC_Q_MGR_STOPPING && got != ibmmq.MQRC_CONNECTION_BROKEN {
		t.Errorf("a wait while it stops: reason %d", got)
	}
	_, err = ibmmq.Connx("QM1", options(m))
	wantReason(t, "connect when it has stopped", err, ibmmq.MQRC_HOST_NOT_AVAILABLE)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	connect(t, m)
}

// TestSilence: a queue manager that does not answer is given up after twice the heartbeat.
func TestSilence(t *testing.T) {
	m := start(t, qmgr.Options{Heartbeat: 1})
	c := connect(t, m)
	m.Inject(qmgr.Fault{Verb: "MQCMIT", Delay: time.Hour})
	wantReason(t, "silence", c.Cmit(), ibmmq.MQRC_CONNECTION_BROKEN)
	wantReason(t, "afterwards", c.Cmit(), ibmmq.MQRC_CONNECTION_BROKEN)
}

func TestSubscription(t *testing.T) {
	m := start(t, qmgr.Options{})
	c := connect(t, m)
	sd := ibmmq.NewMQSD()
	sd.ObjectString, sd.SubName = "prices/+", "mine"
	sd.Options = ibmmq.MQSO_CREATE | ibmmq.MQSO_RESUME | ibmmq.MQSO_DURABLE | ibmmq.MQSO_MANAGED
	var q ibmmq.MQObject
	sub, err := c.Sub(sd, &q)
	if err != nil {
		t.Fatal(err)
	}
	var q2 ibmmq.MQObject
	_, err = c.Sub(sd, &q2)
	wantReason(t, "a second reader", err, ibmmq.MQRC_SUBSCRIPTION_IN_USE)
	od := ibmmq.NewMQOD()
	od.ObjectType, od.ObjectString = ibmmq.MQOT_TOPIC, "prices/tin"
	topic, err := c.Open(od, ibmmq.MQOO_OUTPUT)
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Close(ibmmq.MQCO_KEEP_SUB); err != nil {
		t.Fatal(err)
	}
	if err := put(topic, descriptor(), 0, "7"); err != nil {
		t.Fatal(err)
	}
	if sub, err = c.Sub(sd, &q); err != nil {
		t.Fatal(err)
	}
	wantGet(t, q, ibmmq.MQGMO_NO_SYNCPOINT, "7")
	if err := sub.Close(ibmmq.MQCO_REMOVE_SUB); err != nil {
		t.Fatal(err)
	}
	sd.Options &^= ibmmq.MQSO_CREATE
	_, err = c.Sub(sd, &q)
	wantReason(t, "a removed one", err, ibmmq.MQRC_NO_SUBSCRIPTION)
}

// TestKill kills the queue manager between commits, again and again: what was committed is there, once, and what was not is not.
func TestKill(t *testing.T) {
	program, err := standin.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := qmgr.Options{Name: "QMK", Dir: t.TempDir(), NoSync: true, Queues: []qmgr.Queue{{Name: "IN"}, {Name: "OUT"}}}
	const each, rounds = 20, 5
	for round := range rounds {
		p, err := standin.Start(program, o)
		if err != nil {
			t.Fatal(err)
		}
		c := moveSome(t, p, round, each)
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		wantReason(t, "the connection afterwards", c.Cmit(), ibmmq.MQRC_CONNECTION_BROKEN)
		_ = c.Disc() // before the kill it would have committed
	}
	p, err := standin.Start(program, o)
	if err != nil {
		t.Fatal(err)
	}
	in, _, err := p.Messages("IN")
	out, _, err2 := p.Messages("OUT")
	if err != nil || err2 != nil || len(in) != 0 || len(out) != each*rounds {
		t.Errorf("IN %d, OUT %d, %v %v, want 0 and %d", len(in), len(out), err, err2, each*rounds)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// moveSome puts n messages to IN, moves them to OUT in units of work of two, and leaves one that is not committed in the
// connection that it returns.
func moveSome(t *testing.T, p *standin.Process, round, n int) ibmmq.MQQueueManager {
	t.Helper()
	cno := ibmmq.NewMQCNO()
	cno.ClientConn = ibmmq.NewMQCD()
	cno.ClientConn.ChannelName, cno.ClientConn.ConnectionName = "C", p.ConnName
	c, err := ibmmq.Connx("QMK", cno)
	if err != nil {
		t.Fatal(err)
	}
	in := open(t, &c, "IN", ibmmq.MQOO_INPUT_SHARED|ibmmq.MQOO_OUTPUT)
	out := open(t, &c, "OUT", ibmmq.MQOO_OUTPUT)
	step := func(i int) {
		md := descriptor()
		md.Persistence = ibmmq.MQPER_PERSISTENT
		if err := put(in, md, ibmmq.MQPMO_NO_SYNCPOINT, fmt.Sprint(round, i)); err != nil {
			t.Fatal(err)
		}
		wantGet(t, in, ibmmq.MQGMO_SYNCPOINT, fmt.Sprint(round, i))
		if err := put(out, md, ibmmq.MQPMO_SYNCPOINT, fmt.Sprint(round, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		step(i)
		if i%2 == 1 {
			if err := c.Cmit(); err != nil {
				t.Fatal(err)
			}
		}
	}
	md := descriptor()
	md.Persistence = ibmmq.MQPER_PERSISTENT
	if err := put(out, md, ibmmq.MQPMO_SYNCPOINT, "never committed"); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLibraryIsCompiledOnce: a second call finds the first one's.
func TestLibraryIsCompiledOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	first, err := standin.Library()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CC", filepath.Join(t.TempDir(), "no-compiler"))
	if second, err := standin.Library(); second != first || err != nil {
		t.Errorf("%s, %v, want %s", second, err, first)
	}
	out, err := exec.Command("ldd", first).CombinedOutput()
	if err != nil || strings.Contains(string(out), "not found") {
		t.Errorf("%v\n%s", err, out)
	}
}

// BenchmarkPutGet is a put and a get of 1 KiB outside of units of work, nothing on disk.
func BenchmarkPutGet(b *testing.B) {
	m := start(b, qmgr.Options{}, "Q")
	c := connect(b, m)
	o := open(b, &c, "Q", ibmmq.MQOO_INPUT_SHARED|ibmmq.MQOO_OUTPUT)
	body := strings.Repeat("x", 1024)
	for b.Loop() {
		if err := put(o, descriptor(), 0, body); err != nil {
			b.Fatal(err)
		}
		if _, _, err := get(o, ibmmq.MQGMO_NO_SYNCPOINT, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBatch is persistent puts of 1 KiB in units of work, to a disk that is synced at each commit.
func BenchmarkBatch(b *testing.B) {
	for _, size := range []int{1, 50} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			m := start(b, qmgr.Options{Dir: b.TempDir(), Queues: []qmgr.Queue{{Name: "Q", MaxDepth: 1 << 30}}})
			c := connect(b, m)
			o := open(b, &c, "Q", ibmmq.MQOO_OUTPUT)
			body := strings.Repeat("x", 1024)
			for i := 0; b.Loop(); i++ {
				md := descriptor()
				md.Persistence = ibmmq.MQPER_PERSISTENT
				if err := put(o, md, ibmmq.MQPMO_SYNCPOINT, body); err != nil {
					b.Fatal(err)
				}
				if i%size == size-1 {
					if err := c.Cmit(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
