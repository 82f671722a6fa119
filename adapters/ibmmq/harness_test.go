//go:build cgo && ibmmq

package ibmmq

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/ibm-messaging/mq-golang/v5/ibmmq"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/mqi/standin"
	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
)

// These tests run against the stand-in, or against the queue manager that the environment names:
//
//	POSTHOUSE_MQ_ADDRESS=host:1414 POSTHOUSE_MQ_CHANNEL=DEV.APP.SVRCONN POSTHOUSE_MQ_MODEL=POSTHOUSE.TEST
//
// and POSTHOUSE_MQ_MANAGER, POSTHOUSE_MQ_USER, POSTHOUSE_MQ_PASSWORD where it wants them, POSTHOUSE_MQ_LIB where IBM's library is
// in an unusual place. Queues are made from the model: DEFINE QMODEL(POSTHOUSE.TEST) DEFTYPE(PERMDYN) SHARE DEFSOPT(SHARED).
const (
	realAddress  = "POSTHOUSE_MQ_ADDRESS"
	realChannel  = "POSTHOUSE_MQ_CHANNEL"
	realModel    = "POSTHOUSE_MQ_MODEL"
	realManager  = "POSTHOUSE_MQ_MANAGER"
	realUser     = "POSTHOUSE_MQ_USER"
	realPassword = "POSTHOUSE_MQ_PASSWORD"
)

func TestMain(m *testing.M) {
	if os.Getenv(withoutLibrary) != "" {
		sayWithoutLibrary()
		return
	}
	if os.Getenv(realAddress) == "" {
		if err := standin.Use(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// patience bounds every wait; it decides nothing but when a broken test gives up.
const patience = 30 * time.Second

// A harness is one queue manager.
type harness struct {
	manager *qmgr.Manager // nil = a real one
	address string
	number  atomic.Int64
	ids     sync.Map // texts of ids that do not fit into 24 bytes, by the bytes that stand for them
	wires   sync.Map // *relay by testing.TB
	mu      sync.Mutex
	hands   client.MQQueueManager
}

var (
	_ adaptertest.Harness = (*harness)(nil)
	_ adaptertest.Wirer   = (*harness)(nil)
	_ adaptertest.Refuser = (*harness)(nil)
	_ adaptertest.Asider  = (*harness)(nil)
)

// newHarness starts a stand-in as o says, or takes the real queue manager.
func newHarness(t testing.TB, o qmgr.Options) *harness {
	h := &harness{address: os.Getenv(realAddress)}
	if h.address == "" {
		o.Users = map[string]string{"app": "right"}
		o.DeadLetterQueue = cmp.Or(o.DeadLetterQueue, "DEAD")
		o.Queues = append(o.Queues, qmgr.Queue{Name: "DEAD"})
		m, err := qmgr.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.Close(); err != nil {
				t.Errorf("close the stand-in: %v", err)
			}
		})
		h.manager, h.address = m, m.Addr()
	}
	h.connect(t)
	return h
}

// needStandin skips what can only be provoked at the stand-in.
func (h *harness) needStandin(t testing.TB) {
	if h.manager == nil {
		t.Skip("a real queue manager cannot be told to fail")
	}
}

func (h *harness) Adapter() adapters.Adapter { return New() }

func (h *harness) Config(t testing.TB, dial adaptertest.DialFunc) adapters.Config {
	c := adapters.Config{Name: "mq", Addresses: []string{h.address}, Options: adapters.Options{keyChannel: cmp.Or(os.Getenv(realChannel), "APP.SVRCONN")},
		Credentials: adapters.Credentials{User: "app", Password: adapters.NewSecret("right")}}
	if os.Getenv(realAddress) != "" {
		c.Credentials = adapters.Credentials{User: os.Getenv(realUser), Password: adapters.NewSecret(os.Getenv(realPassword))}
		if m := os.Getenv(realManager); m != "" {
			c.Options[keyManager] = m
		}
	}
	if r, ok := h.wires.Load(t); ok && dial != nil {
		c.Addresses = []string{r.(string)}
	}
	c.Dial = dial
	return c.WithDefaults()
}

// Wire is a proxy before the queue manager: IBM's client takes no dial function, so Config gives it the proxy's address.
func (h *harness) Wire(t testing.TB) adaptertest.Wire {
	p := adaptertest.NewProxy(t)
	at, err := p.Relay(h.address)
	if err != nil {
		t.Fatal(err)
	}
	h.wires.Store(t, at)
	t.Cleanup(func() { h.wires.Delete(t) })
	return p
}

// connect makes the connection of Put and Take, which use the binding and not the adapter.
func (h *harness) connect(t testing.TB) {
	c := h.Config(t, nil)
	name, err := connName(c.Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	s := settingsOf(c)
	s.maxSize = largest
	if h.hands, err = client.Connx(s.manager, connectOptions(s, name)); err != nil {
		t.Fatalf("connect to the queue manager: %v", err)
	}
	t.Cleanup(func() { _ = h.hands.Disc() })
}

// queue makes a fresh queue and returns its name.
func (h *harness) queue(t testing.TB, q qmgr.Queue) string {
	if h.manager == nil {
		return h.dynamic(t)
	}
	q.Name = cmp.Or(q.Name, fmt.Sprintf("SUITE.%d", h.number.Add(1)))
	if err := h.manager.Define(q); err != nil {
		t.Fatal(err)
	}
	return q.Name
}

// dynamic makes a queue from the model at a real queue manager.
func (h *harness) dynamic(t testing.TB) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	od := client.NewMQOD()
	od.ObjectName, od.DynamicQName = os.Getenv(realModel), "POSTHOUSE.*"
	q, err := h.hands.Open(od, client.MQOO_INPUT_SHARED)
	if err != nil {
		t.Fatalf("make a queue from the model %q: %v", os.Getenv(realModel), err)
	}
	t.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		_ = q.Close(client.MQCO_DELETE_PURGE)
	})
	return q.Name
}

func (h *harness) Place(t testing.TB) adaptertest.Place { return h.placeOf(t, qmgr.Queue{}) }

func (h *harness) placeOf(t testing.TB, q qmgr.Queue) adaptertest.Place {
	a := adapters.Address{Broker: "mq", Form: adapters.Queue, Name: h.queue(t, q)}
	g := a
	g.Options = adapters.Options{keyState: h.queue(t, qmgr.Queue{Persistent: true, OpenExclusive: true})}
	return adaptertest.Place{Source: a, Target: g}
}

func (h *harness) FullPlace(t testing.TB) (adaptertest.Place, func()) {
	h.needStandin(t)
	p := h.placeOf(t, qmgr.Queue{MaxDepth: 10})
	return p, func() {
		if err := h.manager.Alter(p.Target.Name, func(q *qmgr.Queue) { q.MaxDepth = 1000 }); err != nil {
			t.Error(err)
		}
	}
}

func (h *harness) DeniedPlace(t testing.TB) adaptertest.Place {
	h.needStandin(t)
	return h.placeOf(t, qmgr.Queue{Authorities: map[string][]string{"somebody": {"get", "put"}}})
}

func (h *harness) MissingPlace(t testing.TB) adaptertest.Place {
	a := adapters.Address{Broker: "mq", Form: adapters.Queue, Name: "SUITE.NO.SUCH.QUEUE"}
	return adaptertest.Place{Source: a, Target: a}
}

// Aside takes from the dead-letter queue, where the messages of p are that were rejected: they are told apart by its name.
func (h *harness) Aside(t testing.TB, p adaptertest.Place, n int) []adaptertest.Native {
	h.needStandin(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		ms, err := h.manager.Await("DEAD", n, ctx.Done())
		if err != nil {
			t.Fatalf("rejected messages of %s: %v", p.Source.Name, err)
		}
		var out []adaptertest.Native
		for _, m := range ms {
			if d, body, err := ParseDLH(m.Body, m.MD.Encoding); err == nil && d.Queue == p.Source.Name {
				out = append(out, adaptertest.Native{Body: body})
			}
		}
		if len(out) >= n {
			return out[:n]
		}
		n = len(ms) + 1
	}
}

func (h *harness) open(t testing.TB, name string, options int32) client.MQObject {
	od := client.NewMQOD()
	od.ObjectName = name
	q, err := h.hands.Open(od, options)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	return q
}

func (h *harness) Put(t testing.TB, p adaptertest.Place, ms ...adaptertest.Native) {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.open(t, p.Source.Name, client.MQOO_OUTPUT)
	defer func() { _ = q.Close(0) }()
	for _, m := range ms {
		h.putOne(t, q, m)
	}
	if err := h.hands.Cmit(); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func (h *harness) putOne(t testing.TB, q client.MQObject, m adaptertest.Native) {
	md, pmo := client.NewMQMD(), client.NewMQPMO()
	md.Version, md.Persistence = client.MQMD_VERSION_2, client.MQPER_NOT_PERSISTENT
	pmo.Options = client.MQPMO_SYNCPOINT | client.MQPMO_NEW_MSG_ID
	if m.Durable {
		md.Persistence = client.MQPER_PERSISTENT
	}
	if m.Priority != nil {
		md.Priority = int32(*m.Priority)
	}
	if m.TTL > 0 {
		md.Expiry = int32((m.TTL + 99) / 100)
	}
	if m.ID != "" {
		md.MsgId, pmo.Options = h.id(m.ID), client.MQPMO_SYNCPOINT
	}
	if m.Corr != "" {
		md.CorrelId = h.id(m.Corr)
	}
	if md.ReplyToQ = m.ReplyTo; m.ReplyTo != "" {
		md.MsgType = client.MQMT_REQUEST
	}
	handle, err := h.hands.CrtMH(client.NewMQCMHO())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = handle.DltMH(client.NewMQDMHO()) }()
	for _, p := range m.Headers {
		if err := handle.SetMP(client.NewMQSMPO(), p.Name, client.NewMQPD(), p.Value); err != nil {
			t.Fatalf("property %s: %v", p.Name, err)
		}
	}
	pmo.OriginalMsgHandle = handle
	if err := q.Put(md, pmo, m.Body); err != nil {
		t.Fatalf("put: %v", err)
	}
}

// id is a text as 24 bytes: as it is, or numbered where it is too long.
func (h *harness) id(s string) []byte {
	b := make([]byte, 24)
	if copy(b, s); len(s) > len(b) {
		copy(b, fmt.Sprintf("id%022d", h.number.Add(1)))
		h.ids.Store(string(b), s)
	}
	return b
}

// idText is the reverse; bytes that nobody gave a text are in the form of headers.md.
func (h *harness) idText(b []byte) string {
	if s, ok := h.ids.Load(string(b)); ok {
		return s.(string)
	}
	text := strings.TrimRight(string(b), "\x00")
	if strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return "ID:AMQP_BINARY:" + strings.ToUpper(hex.EncodeToString(b))
	}
	return text
}

func (h *harness) Take(t testing.TB, p adaptertest.Place, n int) []adaptertest.Native {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := h.open(t, p.Target.Name, client.MQOO_INPUT_SHARED)
	defer func() { _ = q.Close(0) }()
	out := make([]adaptertest.Native, 0, n)
	for len(out) < n {
		m, err := h.takeOne(q)
		if err != nil {
			t.Fatalf("take message %d of %d from %s: %v", len(out), n, p.Target.Name, err)
		}
		out = append(out, m)
	}
	return out
}

func (h *harness) takeOne(q client.MQObject) (m adaptertest.Native, err error) {
	mh, err := h.hands.CrtMH(client.NewMQCMHO())
	if err != nil {
		return m, err
	}
	defer func() { _ = mh.DltMH(client.NewMQDMHO()) }()
	md, gmo := client.NewMQMD(), client.NewMQGMO()
	md.Version, gmo.Version, gmo.MatchOptions = client.MQMD_VERSION_2, client.MQGMO_VERSION_4, client.MQMO_NONE
	gmo.Options = client.MQGMO_NO_SYNCPOINT | client.MQGMO_WAIT | client.MQGMO_PROPERTIES_IN_HANDLE
	gmo.WaitInterval, gmo.MsgHandle = int32(patience/time.Millisecond), mh
	body, _, err := q.GetSlice(md, gmo, make([]byte, 0, 1<<20))
	if err != nil {
		return m, err
	}
	prio := uint8(md.Priority)
	m = adaptertest.Native{Body: body, ID: h.idText(md.MsgId), Corr: h.idText(md.CorrelId), ReplyTo: md.ReplyToQ, Priority: &prio,
		Durable: md.Persistence == client.MQPER_PERSISTENT}
	if md.Expiry > 0 {
		m.TTL = int64(md.Expiry) * 100
	}
	ps, err := (&messageProperties{&handle{h.hands}, mh}).read()
	for _, p := range ps {
		m.Headers = append(m.Headers, adaptertest.Header{Name: p.Name, Value: p.V.Text()})
	}
	return m, err
}

func TestConformance(t *testing.T) { adaptertest.Run(t, newHarness(t, qmgr.Options{})) }
