//go:build cgo && ibmmq

package examples

import (
	"fmt"
	"testing"

	"github.com/posthouse/posthouse/internal/mqi/standin"
	"github.com/posthouse/posthouse/internal/mqi/standin/qmgr"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// mqTags are what the program is built with, so that it has IBM MQ.
var mqTags = []string{"ibmmq"}

// queueManager starts a stand-in with some queues, and returns it with what the daemon needs to reach it.
func queueManager(t *testing.T, name string, queues ...string) (*qmgr.Manager, []string) {
	t.Helper()
	library, err := standin.Library()
	if err != nil {
		t.Fatal(err)
	}
	o := qmgr.Options{Name: name, Channels: []qmgr.Channel{{Name: "POSTHOUSE.SVRCONN"}}, Users: map[string]string{"posthouse": "right"}}
	for _, q := range queues {
		o.Queues = append(o.Queues, qmgr.Queue{Name: q})
	}
	m, err := qmgr.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m, []string{"POSTHOUSE_MQ_LIB=" + library}
}

// TestMQToArtemis runs mq-to-artemis.yaml: text in EBCDIC, ids and a property arrive at Artemis.
func TestMQToArtemis(t *testing.T) {
	artemis := broker.Need(t, broker.Artemis)
	m, env := queueManager(t, "QM1", "ORDERS")
	queue := "orders" + unique()
	emptyAtEnd(t, artemis, queue)
	file := topology(t, "mq-to-artemis.yaml", "127.0.0.1:1414", m.Addr(), "amqp://127.0.0.1:5672", host(t, artemis), "queue: orders", "queue: "+queue)
	const n = 300
	for i := range n {
		msg := qmgr.Message{Body: ebcdic(fmt.Sprint(i)), MD: qmgr.Descriptor{Format: "MQSTR", CCSID: 37, Persistence: 1, Priority: 5},
			Props: []qmgr.Property{{Name: "account", Type: 1024, Value: fmt.Append(nil, "a", i)}}}
		copy(msg.MD.CorrelID[:], fmt.Sprint("c", i))
		if err := m.Put("ORDERS", msg); err != nil {
			t.Fatal(err)
		}
	}
	d := run(t, file, append(env, "MQ_PASSWORD=right", "ARTEMIS_PASSWORD="+broker.Password)...)
	for i, got := range dialArtemis(t, artemis).receive(queue, n) {
		if body := string(got.GetData()); body != fmt.Sprint(i) || got.ApplicationProperties["account"] != fmt.Sprint("a", i) || got.Header.Priority != 5 || !got.Header.Durable {
			t.Fatalf("message %d: body %q, account %v, header %+v", i, body, got.ApplicationProperties["account"], got.Header)
		}
	}
	d.await("an empty source", func() bool {
		there, open := m.Messages("ORDERS")
		return len(there)+len(open) == 0
	})
	d.stop()
}

// ebcdic writes digits in code page 37.
func ebcdic(digits string) []byte {
	b := []byte(digits)
	for i := range b {
		b[i] += 0xf0 - '0'
	}
	return b
}

// TestMQBridgePair runs mq-bridge-pair.yaml. Requester and responder do what programs at IBM MQ do: a reply goes to the queue
// that the request names, with the request's message id as its correlation id.
func TestMQBridgePair(t *testing.T) {
	paris, env := queueManager(t, "QMPARIS", "SQ1", "TQ2")
	berlin, _ := queueManager(t, "QMBERLIN", "TQ1", "SQ2")
	file := topology(t, "mq-bridge-pair.yaml", "127.0.0.1:1414", paris.Addr(), "127.0.0.1:1415", berlin.Addr())
	d := run(t, file, append(env, "PARIS_PASSWORD=right", "BERLIN_PASSWORD=right")...)
	const n = 50
	ids := map[string][24]byte{}
	for i := range n {
		msg := qmgr.Message{Body: fmt.Append(nil, "price of ", i), MD: qmgr.Descriptor{MsgType: 1, ReplyToQ: "TQ2", ReplyToQMgr: "QMPARIS", Format: "MQSTR", Persistence: 1}}
		copy(msg.MD.MsgID[:], fmt.Sprintf("request %d", i))
		ids[fmt.Sprintf("answer to price of %d", i)] = msg.MD.MsgID
		if err := paris.Put("SQ1", msg); err != nil {
			t.Fatal(err)
		}
	}
	requests, err := berlin.Await("TQ1", n, testContext(t).Done())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		if r.MD.MsgType != 1 || r.MD.ReplyToQ != "SQ2" {
			t.Fatalf("a request of type %d with reply queue %q", r.MD.MsgType, r.MD.ReplyToQ)
		}
		reply := qmgr.Message{Body: append([]byte("answer to "), r.Body...), MD: qmgr.Descriptor{MsgType: 2, CorrelID: r.MD.MsgID, Format: "MQSTR", Persistence: 1}}
		if err := berlin.Put(r.MD.ReplyToQ, reply); err != nil {
			t.Fatal(err)
		}
	}
	replies, err := paris.Await("TQ2", n, testContext(t).Done())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range replies {
		if id, asked := ids[string(r.Body)]; !asked || r.MD.CorrelID != id || r.MD.MsgType != 2 {
			t.Errorf("reply %q of type %d has the correlation id %q, want %q", r.Body, r.MD.MsgType, r.MD.CorrelID, id)
		}
		delete(ids, string(r.Body))
	}
	d.stop()
}
