package qmgr

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// client makes calls without a socket.
type client struct {
	t *testing.T
	*conn
}

func newManager(t *testing.T, o Options) *Manager {
	t.Helper()
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func newClient(t *testing.T, m *Manager, user string) client {
	return client{t, &conn{m: m, user: user, appl: "test", maxLength: 100 << 20, objects: map[int32]*handle{}, messages: map[int64]*bag{}}}
}

func (c client) open(name string, options int32) (*handle, code) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	h, res := c.resolve(&objectDesc{version: 1, kind: mqc.OT_Q, name: name}, options)
	if res == done {
		c.hold(h)
	}
	return h, res
}

func (c client) mustOpen(name string, options int32) *handle {
	c.t.Helper()
	h, res := c.open(name, options)
	if res != done {
		c.t.Fatalf("open %s: %v", name, res)
	}
	return h
}

func (c client) put(h *handle, md Descriptor, options int32, body string, props ...Property) code {
	c.m.mu.Lock()
	md.MsgType, md.Expiry, md.Version = or(md.MsgType, mqc.MT_DATAGRAM), or(md.Expiry, mqc.EI_UNLIMITED), or(md.Version, 2)
	md.MsgSeqNumber, md.OriginalLength = or(md.MsgSeqNumber, 1), or(md.OriginalLength, mqc.OL_UNDEFINED)
	p := &puttingCall{md: md, pmo: putOptions{version: 3, options: options}, body: []byte(body)}
	if len(props) > 0 {
		c.messages[1] = &bag{props: props}
		p.pmo.handle = 1
	}
	c.m.mu.Unlock()
	return c.putTo(h, p)
}

func (c client) mustPut(h *handle, md Descriptor, options int32, body string, props ...Property) {
	c.t.Helper()
	if res := c.put(h, md, options, body, props...); res != done {
		c.t.Fatalf("put %q: %v", body, res)
	}
}

// get gets with options, any message unless md and match say which.
func (c client) get(h *handle, options int32, md Descriptor, match int32) (*gettingCall, code) {
	g := &gettingCall{md: md, gmo: getOptions{version: 2, options: options, match: match}, room: 1000}
	return c.getWith(h, g)
}

func (c client) getWith(h *handle, g *gettingCall) (*gettingCall, code) {
	g.md.Version = or(g.md.Version, 2)
	g.match = matcher(g.gmo, g.md)
	if res := c.checkGet(h, g); res != done {
		return g, res
	}
	return g, c.getWaiting(h, g)
}

// wantGet gets any messages, which must have these bodies in this order.
func (c client) wantGet(h *handle, options int32, want ...string) {
	c.t.Helper()
	for _, w := range want {
		g, res := c.get(h, options, Descriptor{}, 0)
		if res != done || string(g.body) != w {
			c.t.Errorf("get: %q, %v, want %q", g.body, res, w)
		}
	}
}

func (c client) wantReason(what string, got code, reason int32) {
	c.t.Helper()
	if got.reason != reason {
		c.t.Errorf("%s: reason %d, want %d", what, got.reason, reason)
	}
}

const inOut = mqc.OO_INPUT_SHARED | mqc.OO_OUTPUT | mqc.OO_BROWSE

func TestOrder(t *testing.T) {
	for _, x := range []struct {
		fifo bool
		want string
	}{{false, "a5 c5 b2 d2"}, {true, "b2 a5 d2 c5"}} {
		m := newManager(t, Options{Queues: []Queue{{Name: "Q", FIFO: x.fifo}}})
		c := newClient(t, m, "")
		h := c.mustOpen("Q", inOut)
		for _, body := range []string{"b2", "a5", "d2", "c5"} {
			c.mustPut(h, Descriptor{Priority: int32(body[1] - '0')}, 0, body)
		}
		c.wantGet(h, mqc.GMO_SYNCPOINT, strings.Fields(x.want)[:2]...)
		if _, res := c.get(h, mqc.GMO_SYNCPOINT, Descriptor{}, 0); res != done {
			t.Error(res)
		}
		c.backCall(nil, nil)
		c.wantGet(h, 0, strings.Fields(x.want)...)
	}
}

func id(b byte) (id [24]byte) { return [24]byte(bytes.Repeat([]byte{b}, 24)) }

func TestMatch(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q"}}})
	c := newClient(t, m, "")
	h := c.mustOpen("Q", inOut)
	for i := range byte(4) {
		c.mustPut(h, Descriptor{MsgID: id(10 + i), CorrelID: id(20 + i%2)}, 0, fmt.Sprint(i))
	}
	for _, x := range []struct {
		md    Descriptor
		match int32
		want  string
	}{
		{Descriptor{MsgID: id(12)}, mqc.MO_MATCH_MSG_ID, "2"},
		{Descriptor{CorrelID: id(21)}, mqc.MO_MATCH_CORREL_ID, "1"},
		{Descriptor{MsgID: id(13), CorrelID: id(21)}, mqc.MO_MATCH_MSG_ID | mqc.MO_MATCH_CORREL_ID, "3"},
		{Descriptor{MsgID: id(99)}, mqc.MO_NONE, "0"},
	} {
		g, res := c.get(h, 0, x.md, x.match)
		if string(g.body) != x.want || res != done {
			t.Errorf("%x %x: %q, %v, want %s", x.md.MsgID[:1], x.md.CorrelID[:1], g.body, res, x.want)
		}
	}
	c.mustPut(h, Descriptor{MsgID: id(1)}, 0, "x")
	_, res := c.get(h, 0, Descriptor{MsgID: id(2)}, mqc.MO_MATCH_MSG_ID)
	c.wantReason("an id that is not there", res, mqc.RC_NO_MSG_AVAILABLE)
}

func TestBrowse(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q"}}})
	c, other := newClient(t, m, ""), newClient(t, m, "")
	h, h2 := c.mustOpen("Q", inOut), other.mustOpen("Q", inOut)
	for _, body := range []string{"a", "b", "c"} {
		c.mustPut(h, Descriptor{}, 0, body)
	}
	other.wantGet(h2, mqc.GMO_SYNCPOINT, "a")
	c.wantGet(h, mqc.GMO_BROWSE_FIRST, "b") // a is another's
	c.wantGet(h, mqc.GMO_BROWSE_NEXT, "c")
	_, res := c.get(h, mqc.GMO_BROWSE_NEXT, Descriptor{}, 0)
	c.wantReason("behind the last", res, mqc.RC_NO_MSG_AVAILABLE)
	c.wantGet(h, mqc.GMO_BROWSE_MSG_UNDER_CURSOR, "c")
	c.wantGet(h, mqc.GMO_MSG_UNDER_CURSOR, "c")
	_, res = c.get(h, mqc.GMO_MSG_UNDER_CURSOR, Descriptor{}, 0)
	c.wantReason("what is gone", res, mqc.RC_NO_MSG_UNDER_CURSOR)
	other.backCall(nil, nil)
	c.wantGet(h, mqc.GMO_BROWSE_FIRST, "a")
	c.wantGet(h, mqc.GMO_BROWSE_NEXT, "b")
}

func TestRefusals(t *testing.T) {
	m := newManager(t, Options{MaxMsgLength: 200, MaxUncommitted: 2, Queues: []Queue{
		{Name: "Q", MaxDepth: 2, MaxMsgLength: 100}, {Name: "LONG", MaxMsgLength: 1000}, {Name: "NOPUT", PutInhibited: true},
		{Name: "NOGET", GetInhibited: true}, {Name: "A", Alias: "Q"}, {Name: "LOST", Alias: "NOWHERE"},
		{Name: "SECRET", Authorities: map[string][]string{"ann": {"put"}}}}})
	c := newClient(t, m, "ann")
	opened := func(name string, options int32) code { _, res := c.open(name, options); return res }
	put := func(name string, md Descriptor, options int32, size int) code {
		return c.put(c.mustOpen(name, mqc.OO_OUTPUT), md, options, strings.Repeat("x", size))
	}
	for _, x := range []struct {
		what string
		got  code
		want int32
	}{
		{"unknown queue", opened("NOBODY", mqc.OO_OUTPUT), mqc.RC_UNKNOWN_OBJECT_NAME},
		{"alias of nothing", opened("LOST", mqc.OO_OUTPUT), mqc.RC_UNKNOWN_ALIAS_BASE_Q},
		{"no right to get", opened("SECRET", mqc.OO_INPUT_SHARED), mqc.RC_NOT_AUTHORIZED},
		{"a right to put", opened("SECRET", mqc.OO_OUTPUT), 0},
		{"put inhibited", put("NOPUT", Descriptor{}, 0, 1), mqc.RC_PUT_INHIBITED},
		{"too long for the queue", put("Q", Descriptor{}, 0, 101), mqc.RC_MSG_TOO_BIG_FOR_Q},
		{"too long for the queue manager", put("LONG", Descriptor{}, 0, 201), mqc.RC_MSG_TOO_BIG_FOR_Q_MGR},
		{"an expiry of 0", put("Q", Descriptor{Expiry: -2}, 0, 1), mqc.RC_EXPIRY_ERROR},
		{"a request without a reply queue", put("Q", Descriptor{MsgType: mqc.MT_REQUEST}, 0, 1), mqc.RC_MISSING_REPLY_TO_Q},
		{"context without the right", put("Q", Descriptor{}, mqc.PMO_SET_ALL_CONTEXT, 1), mqc.RC_NOT_OPEN_FOR_SET_ALL},
		{"first", put("A", Descriptor{}, mqc.PMO_SYNCPOINT, 1), 0},
		{"second", put("Q", Descriptor{}, mqc.PMO_SYNCPOINT, 1), 0},
		{"a third, uncommitted ones count", put("Q", Descriptor{}, 0, 1), mqc.RC_Q_FULL},
		{"a third of a unit of work", put("LONG", Descriptor{}, mqc.PMO_SYNCPOINT, 1), mqc.RC_SYNCPOINT_LIMIT_REACHED},
	} {
		c.wantReason(x.what, x.got, x.want)
	}
	_, res := c.get(c.mustOpen("NOGET", mqc.OO_INPUT_SHARED), 0, Descriptor{}, 0)
	c.wantReason("get inhibited", res, mqc.RC_GET_INHIBITED)
	_, res = c.get(c.mustOpen("Q", mqc.OO_OUTPUT), 0, Descriptor{}, 0)
	c.wantReason("not open for input", res, mqc.RC_NOT_OPEN_FOR_INPUT)
}

// TestDepth: what is put and not committed is in it, what is got and not committed is not.
func TestDepth(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q"}}})
	c := newClient(t, m, "")
	h := c.mustOpen("Q", inOut)
	want := func(when string, n int32) {
		t.Helper()
		if got := h.q.depth(); got != n {
			t.Errorf("%s: depth %d, want %d", when, got, n)
		}
	}
	c.mustPut(h, Descriptor{}, 0, "a")
	c.mustPut(h, Descriptor{}, mqc.PMO_SYNCPOINT, "b")
	want("put", 2)
	c.wantGet(h, mqc.GMO_SYNCPOINT, "a")
	want("got", 1)
	c.backCall(nil, nil)
	want("rolled back", 1)
	c.wantGet(h, mqc.GMO_SYNCPOINT, "a")
	c.commit()
	want("committed", 0)
}

func TestRestart(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q"}}})
	for i, persistence := range []int32{0, 1, 0, 1} {
		if err := m.Put("Q", Message{MD: Descriptor{Persistence: persistence}, Body: []byte{byte('a' + i)}}); err != nil {
			t.Fatal(err)
		}
	}
	m.Stop()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	got, _ := m.Messages("Q")
	if len(got) != 2 || string(got[0].Body)+string(got[1].Body) != "bd" {
		t.Errorf("after a restart: %v", got)
	}
}

// TestDamagedJournal: it counts up to the first record that is not as it was written.
func TestDamagedJournal(t *testing.T) {
	dir := t.TempDir()
	m := newManager(t, Options{Dir: dir, Queues: []Queue{{Name: "Q"}}})
	for _, body := range []string{"first", "second", "third"} {
		if err := m.Put("Q", Message{MD: Descriptor{Persistence: 1}, Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, journalName)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[bytes.Index(raw, []byte("second"))] ^= 0x20
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	again := newManager(t, Options{Dir: dir})
	if got, _ := again.Messages("Q"); len(got) != 1 || string(got[0].Body) != "first" {
		t.Errorf("read %v", got)
	}
}

func TestExclusive(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q", OpenExclusive: true}}})
	c, other := newClient(t, m, ""), newClient(t, m, "")
	c.mustOpen("Q", mqc.OO_INPUT_AS_Q_DEF)
	_, res := other.open("Q", mqc.OO_INPUT_SHARED)
	other.wantReason("the second", res, mqc.RC_OBJECT_IN_USE)
	m.mu.Lock()
	c.release()
	m.mu.Unlock()
	other.mustOpen("Q", mqc.OO_INPUT_EXCLUSIVE)
	_, res = c.open("Q", mqc.OO_INPUT_SHARED)
	c.wantReason("shared beside exclusive", res, mqc.RC_OBJECT_IN_USE)
}

func TestTruncation(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q"}}})
	c := newClient(t, m, "")
	h := c.mustOpen("Q", inOut)
	c.mustPut(h, Descriptor{}, 0, "0123456789")
	g, res := c.getWith(h, &gettingCall{gmo: getOptions{version: 2}, room: 4})
	if res != warning(mqc.RC_TRUNCATED_MSG_FAILED) || len(g.body) != 10 {
		t.Errorf("%v, length %d", res, len(g.body))
	}
	_, res = c.getWith(h, &gettingCall{gmo: getOptions{version: 2, options: mqc.GMO_ACCEPT_TRUNCATED_MSG}, room: 4})
	if res != warning(mqc.RC_TRUNCATED_MSG_ACCEPTED) {
		t.Error(res)
	}
	if got, _ := m.Messages("Q"); len(got) != 0 {
		t.Errorf("%d messages left", len(got))
	}
}

func TestExpiry(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	m := newManager(t, Options{Queues: []Queue{{Name: "Q"}}, Now: func() time.Time { return now }})
	c := newClient(t, m, "")
	h := c.mustOpen("Q", inOut)
	c.mustPut(h, Descriptor{Expiry: 50}, 0, "five seconds")
	c.mustPut(h, Descriptor{}, 0, "for ever")
	m.Shift(1250 * time.Millisecond)
	g, _ := c.get(h, mqc.GMO_BROWSE_FIRST, Descriptor{}, 0)
	if g.md.Expiry != 38 || g.md.PutDate != "20260102" || g.md.PutTime != "03040567" {
		t.Errorf("expiry %d, put %s %s", g.md.Expiry, g.md.PutDate, g.md.PutTime)
	}
	m.Shift(3750 * time.Millisecond)
	c.wantGet(h, 0, "for ever")
}

func TestContext(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "IN"}, {Name: "OUT"}}})
	c := newClient(t, m, "Ann")
	in := c.mustOpen("IN", inOut|mqc.OO_SET_ALL_CONTEXT|mqc.OO_SAVE_ALL_CONTEXT)
	out := c.mustOpen("OUT", inOut|mqc.OO_PASS_ALL_CONTEXT)
	var number int32
	for n, h := range c.objects {
		if h == in {
			number = n
		}
	}
	pass := func() code {
		p := &puttingCall{md: Descriptor{Version: 2, MsgType: 8, Expiry: -1}, pmo: putOptions{version: 3, options: mqc.PMO_PASS_ALL_CONTEXT, context: number}}
		return c.putTo(out, p)
	}
	c.wantReason("nothing got yet", pass(), mqc.RC_CONTEXT_NOT_AVAILABLE)
	md := Descriptor{UserIdentifier: "bob", PutApplName: "old", PutDate: "19990101", PutTime: "00000000"}
	c.mustPut(in, md, mqc.PMO_SET_ALL_CONTEXT, "x")
	c.wantGet(in, 0, "x")
	c.wantReason("pass all", pass(), 0)
	g, _ := c.get(out, 0, Descriptor{}, 0)
	if g.md.UserIdentifier != "bob" || g.md.PutApplName != "old" || g.md.PutDate != "19990101" {
		t.Errorf("passed on: %+v", g.md)
	}
	c.mustPut(in, md, 0, "y")
	g, _ = c.get(in, 0, Descriptor{}, 0)
	if g.md.UserIdentifier != "ann" || g.md.PutApplName != "test" || g.md.PutDate == "19990101" {
		t.Errorf("default: %+v", g.md)
	}
}

func TestVersion1(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q"}}})
	c := newClient(t, m, "")
	h := c.mustOpen("Q", inOut)
	c.mustPut(h, Descriptor{Format: "MQSTR", CCSID: 819, MsgFlags: mqc.MF_MSG_IN_GROUP, GroupID: id(9), MsgSeqNumber: 3}, 0, "body")
	g, res := c.get(h, mqc.GMO_BROWSE_FIRST, Descriptor{Version: 1}, 0)
	if res != done || g.md.Format != formatMDE || len(g.body) != 72+4 || string(g.body[:4]) != "MDE " || string(g.body[72:]) != "body" {
		t.Fatalf("%v %q %q", res, g.md.Format, g.body)
	}
	if got := (&request{g.body[16:]}).long(); got != 819 || g.body[32] != 9 || g.body[56] != 3 {
		t.Errorf("ccsid %d, group %d, number %d", got, g.body[32], g.body[56])
	}
	c.wantGet(h, 0, "body") // version 2
}

func TestForcedHeader(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q", PropertyControl: mqc.PROP_FORCE_MQRFH2}, {Name: "PLAIN"}}})
	c := newClient(t, m, "")
	props := []Property{
		{Name: "a.b", Type: mqc.TYPE_STRING, Value: []byte("<ä&>")}, {Name: "n", Type: mqc.TYPE_NULL},
		{Name: "i", Type: mqc.TYPE_INT16, Value: []byte{0xfe, 0xff}}, {Name: "ok", Type: mqc.TYPE_BOOLEAN, Value: []byte{1, 0, 0, 0}},
		{Name: "x", Type: mqc.TYPE_BYTE_STRING, Value: []byte{0, 255}}, {Name: "jms.Cid", Type: mqc.TYPE_STRING, Value: []byte("c")},
	}
	h := c.mustOpen("Q", inOut)
	c.mustPut(h, Descriptor{Format: "MQSTR", CCSID: 1208, Encoding: 546}, 0, "body", props...)
	c.messages[2] = &bag{}
	forced, res := c.getWith(h, &gettingCall{gmo: getOptions{version: 4, options: mqc.GMO_PROPERTIES_IN_HANDLE, handle: 2}, room: 1000})
	if res != done || forced.md.Format != formatRFH2 || !bytes.HasPrefix(forced.body, []byte("RFH ")) || len(c.messages[2].props) != 0 {
		t.Fatalf("%v %q %q", res, forced.md.Format, forced.body)
	}
	if !bytes.Contains(forced.body, []byte("<usr><a><b>&lt;ä&amp;&gt;</b></a><n xsi:nil='true'></n><i dt='i2'>-2</i>")) {
		t.Errorf("header %q", forced.body)
	}
	// What has such a header in its body has properties for whoever gets it with a handle elsewhere.
	plain := c.mustOpen("PLAIN", inOut)
	c.mustPut(plain, Descriptor{Format: formatRFH2, CCSID: 1208, Encoding: 546}, 0, string(forced.body))
	g, res := c.getWith(plain, &gettingCall{gmo: getOptions{version: 4, options: mqc.GMO_PROPERTIES_IN_HANDLE, handle: 2}, room: 1000})
	if res != done || g.md.Format != "MQSTR" || string(g.body) != "body" {
		t.Fatalf("%v %q %q", res, g.md.Format, g.body)
	}
	for _, want := range props {
		if !slices.ContainsFunc(c.messages[2].props, func(p Property) bool {
			return p.Name == want.Name && p.Type == want.Type && bytes.Equal(p.Value, want.Value)
		}) {
			t.Errorf("no %+v in %+v", want, c.messages[2].props)
		}
	}
}

func TestUnknownFoldersStay(t *testing.T) {
	md := Descriptor{Format: formatRFH2, Encoding: 546}
	body := rfh2([]Property{{Name: "a", Type: mqc.TYPE_STRING, Value: []byte("x")}}, md)
	for _, bad := range [][]byte{
		bytes.Replace(bytes.Replace(body, []byte("<usr>"), []byte("<own>"), 1), []byte("</usr>"), []byte("</own>"), 1),
		body[:20], append(slices.Clone(body[:36]), 255, 255, 0, 0),
	} {
		g := &gettingCall{md: md, body: bad}
		if props, rest := g.unfold(); len(props) != 0 || !bytes.Equal(rest, bad) {
			t.Errorf("%q: %v", bad, props)
		}
	}
}

func TestConvert(t *testing.T) {
	m := newManager(t, Options{Queues: []Queue{{Name: "Q"}}})
	c := newClient(t, m, "")
	h := c.mustOpen("Q", inOut)
	for _, x := range []struct {
		md   Descriptor
		body string
		want string
		res  code
	}{
		{Descriptor{Format: "MQSTR", CCSID: 37}, "\xc8\x85\x93\x93\x96", "Hello", done},
		{Descriptor{Format: "MQSTR", CCSID: 819}, "\xe4", "ä", done},
		{Descriptor{Format: "MQSTR", CCSID: 4711}, "\xe4", "\xe4", warning(mqc.RC_NOT_CONVERTED)},
	} {
		c.mustPut(h, x.md, 0, x.body)
		if g, res := c.get(h, mqc.GMO_CONVERT, Descriptor{}, 0); res != x.res || string(g.body) != x.want {
			t.Errorf("CCSID %d: %q, %v", x.md.CCSID, g.body, res)
		}
	}
}

func TestSubscriptions(t *testing.T) {
	dir := t.TempDir()
	m := newManager(t, Options{Dir: dir})
	for name, topic := range map[string]string{"one": "a/+/c", "two": "a/#", "three": "b"} {
		if err := m.Subscribe(name, topic); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t, m, "")
	c.mustPut(&handle{topic: "a/b/c", options: mqc.OO_OUTPUT}, Descriptor{Persistence: 1}, mqc.PMO_SYNCPOINT, "news")
	c.commit()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	again := newManager(t, Options{Dir: dir})
	for name, want := range map[string]int{"one": 1, "two": 1, "three": 0} {
		if s := again.subs[name]; s == nil {
			t.Errorf("no subscription %s", name)
		} else if got, _ := again.Messages(s.Queue); len(got) != want {
			t.Errorf("%s: %d messages, want %d", name, len(got), want)
		}
	}
	sd := subDesc{name: "one", options: mqc.SO_DURABLE | mqc.SO_MANAGED | mqc.SO_RESUME}
	again.subs["one"].inUse = true
	again.mu.Lock()
	defer again.mu.Unlock()
	_, _, res := again.subscription(sd)
	c.wantReason("one in use", res, mqc.RC_SUBSCRIPTION_IN_USE)
	sd.name = "none"
	_, _, res = again.subscription(sd)
	c.wantReason("none", res, mqc.RC_NO_SUBSCRIPTION)
}

func TestFaultCounts(t *testing.T) {
	a := &armed{Fault: Fault{Nth: 3, Times: 2}}
	var got []bool
	for range 6 {
		got = append(got, a.count())
	}
	if want := []bool{false, false, true, true, false, false}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// FuzzCalls: whatever a client sends, the queue manager answers or hangs up.
func FuzzCalls(f *testing.F) {
	for verb := range byte(len(verbNames)) {
		f.Add([]byte{verb, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 'M', 'D', ' ', ' '})
	}
	m, err := Open(Options{Queues: []Queue{{Name: "Q"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		in := &request{frame}
		if verb := int(in.long()); verb != verbGet { // which may wait
			newClient(t, m, "").call(verb, in, newReply())
		}
	})
}
