package examples

import (
	"bytes"
	"context"
	byteorder "encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/go-amqp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// respond answers every request of a queue where it asks for: byCorr is the habit to copy the correlation id, else the
// message id becomes the correlation id. It ends with the test.
func (a *artemis) respond(queue string, byCorr bool) {
	a.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := a.session.NewReceiver(testContext(a.t), queue, &amqp.ReceiverOptions{Credit: 100, SourceCapabilities: []string{"queue"}})
	if err != nil {
		a.t.Fatal(err)
	}
	var wg sync.WaitGroup
	a.t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		to := map[string]*amqp.Sender{}
		for {
			m, err := r.Receive(ctx, nil)
			if err != nil {
				return
			}
			if err := a.answer(ctx, to, m, byCorr); err != nil && ctx.Err() == nil {
				a.t.Errorf("responder: %v", err)
			}
			_ = r.AcceptMessage(ctx, m)
		}
	})
}

func (a *artemis) answer(ctx context.Context, to map[string]*amqp.Sender, m *amqp.Message, byCorr bool) (err error) {
	at := *m.Properties.ReplyTo
	if to[at] == nil {
		if to[at], err = a.session.NewSender(ctx, at, &amqp.SenderOptions{TargetCapabilities: []string{"queue"}}); err != nil {
			return err
		}
	}
	reply := amqp.NewMessage(append([]byte("re: "), m.GetData()...))
	reply.Header = &amqp.MessageHeader{Durable: true}
	reply.Properties = &amqp.MessageProperties{CorrelationID: m.Properties.MessageID, To: m.Properties.ReplyTo}
	if byCorr {
		reply.Properties.CorrelationID = m.Properties.CorrelationID
	}
	return to[at].Send(ctx, reply, nil)
}

// asking is request n; every requester counts from 0.
func asking(n int, replyTo string, corr any) *amqp.Message {
	m := amqp.NewMessage(fmt.Appendf(nil, "question %d", n))
	m.Header = &amqp.MessageHeader{Durable: true}
	m.Properties = &amqp.MessageProperties{MessageID: fmt.Sprint("q-", n), ReplyTo: &replyTo, CorrelationID: corr}
	return m
}

// wantReplies compares replies, in any order: each has the body of its question, and the id that corr makes of its number.
func wantReplies(t *testing.T, got []*amqp.Message, corr func(n int) any) {
	t.Helper()
	seen := map[int]bool{}
	for _, m := range got {
		var n int
		if _, err := fmt.Sscanf(string(m.GetData()), "re: question %d", &n); err != nil || seen[n] {
			t.Errorf("reply %q: %v, twice: %v", m.GetData(), err, seen[n])
			continue
		}
		seen[n] = true
		if m.Properties == nil || m.Properties.CorrelationID != corr(n) {
			t.Errorf("reply %d: correlation id %v, want %v", n, m.Properties, corr(n))
		}
	}
}

func TestBridgePair(t *testing.T) {
	here, there := broker.Need(t, broker.Artemis), broker.Need(t, broker.Artemis2)
	u := unique()
	file := topology(t, "bridge-pair.yaml", "amqp://127.0.0.1:5672", host(t, here), "amqp://127.0.0.1:5673", host(t, there),
		"queue: SQ1", "queue: SQ1"+u, "queue: TQ1", "queue: TQ1"+u, "queue: SQ2", "queue: SQ2"+u, "queue: TQ2", "queue: TQ2"+u)
	if text := command(t, nil, "explain", "-c", file, "pricing"); !strings.Contains(text, "table            needed") {
		t.Errorf("explain: %s", text)
	}
	paris, berlin := dialArtemis(t, here), dialArtemis(t, there)
	d := run(t, file, "PARIS_PASSWORD="+password(t, here), "BERLIN_PASSWORD="+password(t, there))
	berlin.respond("TQ1"+u, true)
	var qs []*amqp.Message
	for n := range volume {
		qs = append(qs, asking(n, "TQ2"+u, uint64(n)))
	}
	paris.send("SQ1"+u, qs)
	wantReplies(t, paris.receive("TQ2"+u, volume), func(n int) any { return uint64(n) })
	reply := command(t, []string{"PARIS_PASSWORD=" + password(t, here), "BERLIN_PASSWORD=" + password(t, there)}, "request", "-c", file, "pricing", "question 9")
	if !strings.Contains(reply, "re: question 9") || !strings.Contains(reply, "reply from pricing after ") {
		t.Errorf("posthouse request: %s", reply)
	}
	if text := command(t, nil, "status", "--admin", d.admin); !strings.Contains(text, "bridge pricing: ") || !strings.Contains(text, "round trip p50 ") {
		t.Errorf("posthouse status: %s", text)
	}
	d.await("all is answered", func() bool { return d.metric("posthouse_bridge_outstanding_requests") == 0 })
	if n := d.metric("posthouse_bridge_requests_total"); n != volume+1 {
		t.Errorf("%v requests", n)
	}
	d.stop()
}

func TestRequestReplyAMQP(t *testing.T) {
	here, there := broker.Need(t, broker.Artemis), broker.Need(t, broker.Artemis2)
	u := unique()
	file := topology(t, "request-reply-amqp.yaml", "amqp://127.0.0.1:5672", host(t, here), "amqp://127.0.0.1:5673", host(t, there),
		"queue: quotes", "queue: quotes"+u, "REPLIES.", "REPLIES"+u+".")
	paris, berlin := dialArtemis(t, here), dialArtemis(t, there)
	d := run(t, file, "PARIS_PASSWORD="+password(t, here), "BERLIN_PASSWORD="+password(t, there))
	berlin.respond("quotes"+u, false)
	const requesters, each = 4, 50
	var receivers []*amqp.Receiver
	for range requesters { // the same ids each
		r, err := paris.session.NewReceiver(testContext(t), "", &amqp.ReceiverOptions{DynamicAddress: true, Credit: each})
		if err != nil {
			t.Fatal(err)
		}
		receivers = append(receivers, r)
		var qs []*amqp.Message
		for n := range each {
			qs = append(qs, asking(n, r.Address(), nil))
		}
		paris.send("quotes"+u, qs)
	}
	for _, r := range receivers {
		var got []*amqp.Message
		for range each {
			m, err := r.Receive(testContext(t), nil)
			if err != nil {
				t.Fatalf("%d replies: %v", len(got), err)
			}
			if err := r.AcceptMessage(testContext(t), m); err != nil {
				t.Fatal(err)
			}
			got = append(got, m)
		}
		wantReplies(t, got, func(n int) any { return fmt.Sprint("q-", n) })
	}
	paris.send("quotes"+u, []*amqp.Message{asking(0, "REPLIES"+u+".x", nil), asking(1, "PAYMENTS"+u, nil)})
	wantReplies(t, paris.receive("REPLIES"+u+".x", 1), func(n int) any { return fmt.Sprint("q-", n) })
	d.await("a hostile reply address is set aside", func() bool {
		return d.metric("posthouse_route_dead_lettered_messages_total", `reason="target-not-allowed"`, `route="quotes.request"`) == 1
	})
	d.stop()
}

func TestRequestReplyAMQPKafka(t *testing.T) {
	artemisAddr, kafka := broker.Need(t, broker.Artemis), broker.Need(t, broker.Kafka)
	u := unique()
	file := topology(t, "request-reply-amqp-kafka.yaml", "amqp://127.0.0.1:5672", host(t, artemisAddr), "127.0.0.1:9092", kafka,
		"type: kafka", "type: kafka\n    group: limits"+u, "queue: limits", "queue: limits"+u, "topic: limits", "topic: limits"+u)
	for _, topic := range []string{"limits" + u, "limits" + u + "-replies"} {
		createTopic(t, kafka, topic)
		deleteTopicAtEnd(t, kafka, topic)
	}
	a := dialArtemis(t, artemisAddr)
	d := run(t, file, "ARTEMIS_PASSWORD="+password(t, artemisAddr))
	r, err := a.session.NewReceiver(testContext(t), "", &amqp.ReceiverOptions{DynamicAddress: true, Credit: volume})
	if err != nil {
		t.Fatal(err)
	}
	var qs []*amqp.Message
	for n := range volume {
		qs = append(qs, asking(n, r.Address(), fmt.Sprint("c-", n)))
	}
	a.send("limits"+u, qs)
	replies := map[string][]*kgo.Record{} // a Kafka application that knows three headers
	for _, rec := range consume(t, kafka, "limits"+u, volume) {
		h := recordHeaders(rec)
		topic, ok := strings.CutPrefix(h["posthouse-reply-to"], "topic:")
		if !ok {
			t.Fatalf("no reply topic in %v", h)
		}
		replies[topic] = append(replies[topic], &kgo.Record{Value: append([]byte("re: "), rec.Value...),
			Headers: []kgo.RecordHeader{{Key: "posthouse-correlation-id", Value: []byte(h["posthouse-correlation-id"])}}})
	}
	for topic, rs := range replies {
		produce(t, kafka, topic, rs)
	}
	var got []*amqp.Message
	for range volume {
		m, err := r.Receive(testContext(t), nil)
		if err != nil {
			t.Fatalf("%d replies: %v\n%s", len(got), err, d.log)
		}
		if err := r.AcceptMessage(testContext(t), m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	wantReplies(t, got, func(n int) any { return fmt.Sprint("c-", n) })
	d.stop()
}

// desk brings questions from Kafka to Artemis; the requesters there have reply topics of their own.
const desk = `version: 1
brokers:
  kafka: { type: kafka, addresses: ["KAFKA"], group: NAME CONVENTION }
  berlin: { type: amqp, dialect: artemis, addresses: ["BERLIN"], credentials: { user: USER, password: { env: PW } } }
spool: { dir: SPOOL }
admin: { listen: 127.0.0.1:0 }
bridges:
  - name: desk
    losses: accept
    request: { from: { broker: kafka, topic: NAME.ask }, to: { broker: berlin, queue: NAME.ask } }
    reply: { from: { broker: berlin, queue: NAME.back }, to: { broker: kafka, topic: NAME.rest, allow: ["NAME.replies.*"] } }
`

// TestRequestReplyFromKafka: requesters as Spring's ReplyingKafkaTemplate makes them (reply topic, partition, and a correlation
// id of 16 bytes) get each its replies, where the broker is said to have them and where it is not; a topic that the file does
// not allow, and one that is not there, are set aside.
func TestRequestReplyFromKafka(t *testing.T) {
	for name, convention := range map[string]string{"Plain": "", "Spring": ", convention: spring"} {
		t.Run(name, func(t *testing.T) {
			kafka, there := broker.Need(t, broker.Kafka), broker.Need(t, broker.Artemis2)
			u := "desk" + unique()
			for topic, partitions := range map[string]int32{".ask": 1, ".rest": 1, ".replies.a": 3, ".replies.b": 1} {
				createPartitions(t, kafka, u+topic, partitions)
				deleteTopicAtEnd(t, kafka, u+topic)
			}
			emptyAtEnd(t, there, u+".ask", u+".back")
			file := written(t, desk, "KAFKA", kafka, "CONVENTION", convention, "BERLIN", host(t, there), "USER", broker.User, "SPOOL", t.TempDir(), "NAME", u)
			d := run(t, file, testPassword())
			dialArtemis(t, there).respond(u+".ask", true)
			var rs []*kgo.Record
			for n := range volume {
				rs = append(rs, springRequest(n, u+".replies.a", 2), springRequest(n, u+".replies.b", -1))
			}
			rs = append(rs, springRequest(0, u+".ask", -1), springRequest(1, u+".replies.gone", -1), springRequest(2, "", -1))
			produce(t, kafka, u+".ask", rs)
			wantSpring(t, consume(t, kafka, u+".replies.a", volume), 0, 2)
			wantSpring(t, consume(t, kafka, u+".replies.b", volume), 0, 0)
			wantSpring(t, consume(t, kafka, u+".rest", 1), 2, 0)
			for route, reason := range map[string]string{"desk.request": "target-not-allowed", "desk.reply": "target-gone"} {
				d.await(reason, func() bool {
					return d.metric("posthouse_route_dead_lettered_messages_total", fmt.Sprintf("reason=%q", reason), fmt.Sprintf("route=%q", route)) == 1
				})
			}
			d.stop()
		})
	}
}

// springRequest is question n; no topic means no reply address, and a negative partition none.
func springRequest(n int, topic string, partition int32) *kgo.Record {
	r := &kgo.Record{Value: fmt.Appendf(nil, "question %d", n), Headers: []kgo.RecordHeader{{Key: "kafka_correlationId", Value: springID(n)}}}
	if topic != "" {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "kafka_replyTopic", Value: []byte(topic)})
	}
	if partition >= 0 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "kafka_replyPartition", Value: byteorder.BigEndian.AppendUint32(nil, uint32(partition))})
	}
	return r
}

// springID is 16 bytes that are no text.
func springID(n int) []byte {
	return byteorder.BigEndian.AppendUint64(bytes.Repeat([]byte{0xff}, 8), uint64(n))
}

// wantSpring checks replies to questions from one on, in one partition.
func wantSpring(t *testing.T, rs []*kgo.Record, from int, partition int32) {
	t.Helper()
	seen := map[int]bool{}
	for _, r := range rs {
		var n int
		if _, err := fmt.Sscanf(string(r.Value), "re: question %d", &n); err != nil || n < from || seen[n] {
			t.Errorf("%s: %q: %v, twice: %v", r.Topic, r.Value, err, seen[n])
		}
		seen[n] = true
		if id := recordHeaders(r)["kafka_correlationId"]; id != string(springID(n)) || r.Partition != partition {
			t.Errorf("%s: reply to %d: id %x, partition %d", r.Topic, n, id, r.Partition)
		}
	}
}
