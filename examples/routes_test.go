package examples

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/posthouse/posthouse/internal/testbed/broker"
)

const volume = 300

func ptr[T any](v T) *T { return &v }

// order is message n as an AMQP application writes it: every field and many types.
func order(n int) *amqp.Message {
	m := amqp.NewMessage(fmt.Appendf(nil, "order %d \x00\xff", n))
	m.Header = &amqp.MessageHeader{Durable: true, Priority: uint8(n % 10)}
	m.Properties = &amqp.MessageProperties{
		MessageID: fmt.Sprint("order-", n), CorrelationID: uint64(n), Subject: ptr("order"),
		ContentType: ptr("application/octet-stream"), GroupID: ptr("g"), GroupSequence: ptr(uint32(n)),
		CreationTime: ptr(time.UnixMilli(1700000000123 + int64(n))),
	}
	m.ApplicationProperties = map[string]any{
		"account": fmt.Sprint("acc-", n%7), "n": int32(n), "big": int64(-n) << 40, "flag": n%2 == 0, "price": float64(n) / 8,
		"urgent": fmt.Sprint(n%3 == 0), "name": "Zürich €",
	}
	return m
}

func TestTwoSitesAMQP(t *testing.T) {
	here, there := broker.Need(t, broker.Artemis), broker.Need(t, broker.Artemis2)
	u := unique()
	file := topology(t, "two-sites-amqp.yaml",
		"amqp://127.0.0.1:5672", host(t, here), "amqp://127.0.0.1:5673", host(t, there),
		"queue: orders", "queue: orders"+u, "queue: confirmations", "queue: confirmations"+u)
	paris, berlin := dialArtemis(t, here), dialArtemis(t, there)
	var out, back []*amqp.Message
	for n := range volume {
		out = append(out, order(n))
		back = append(back, order(n))
	}
	paris.send("orders"+u, out)
	berlin.send("confirmations"+u, back)
	d := run(t, file, "PARIS_PASSWORD="+password(t, here), "BERLIN_PASSWORD="+password(t, there))
	sameOrders(t, berlin.receive("orders"+u, volume), out)
	var wanted []*amqp.Message
	for n := range volume { // the filter of the route
		if n%10 >= 4 || n%3 == 0 {
			wanted = append(wanted, order(n))
		}
	}
	sameOrders(t, paris.receive("confirmations"+u, len(wanted)), wanted)
	d.stop()
}

// sameOrders compares what came with what was sent. The brokers give out higher priorities first; within one priority
// the order must be that of sending.
func sameOrders(t *testing.T, got, want []*amqp.Message) {
	t.Helper()
	byID := map[any]*amqp.Message{}
	for _, m := range want {
		byID[m.Properties.MessageID] = m
	}
	last := map[uint8]uint32{}
	for _, m := range got {
		w := byID[m.Properties.MessageID]
		if w == nil {
			t.Errorf("message %v was not sent, or came twice", m.Properties.MessageID)
			continue
		}
		delete(byID, m.Properties.MessageID)
		sameOrder(t, m, w)
		seq := *m.Properties.GroupSequence + 1
		if seq <= last[m.Header.Priority] {
			t.Errorf("message %v came behind number %d of its priority", m.Properties.MessageID, last[m.Header.Priority]-1)
		}
		last[m.Header.Priority] = seq
	}
	if len(byID) > 0 {
		t.Errorf("%d messages did not come", len(byID))
	}
}

// sameOrder compares a message that crossed with the one that was sent: everything is as it was, and Posthouse's own
// properties have been added.
func sameOrder(t *testing.T, got, want *amqp.Message) {
	t.Helper()
	props := maps.Clone(got.ApplicationProperties)
	for _, own := range []string{"posthouse-id", "posthouse-origin", "posthouse-path"} {
		if s, _ := props[own].(string); s == "" {
			t.Errorf("%v: no %s", got.Properties.MessageID, own)
		}
	}
	maps.DeleteFunc(props, func(k string, _ any) bool { return strings.HasPrefix(k, "posthouse-") || k == "_AMQ_DUPL_ID" })
	if !reflect.DeepEqual(props, want.ApplicationProperties) {
		t.Errorf("application properties %v, want %v", props, want.ApplicationProperties)
	}
	if !bytes.Equal(got.GetData(), want.GetData()) {
		t.Errorf("body %q, want %q", got.GetData(), want.GetData())
	}
	if got.Header == nil || got.Header.Priority != want.Header.Priority || !got.Header.Durable {
		t.Errorf("header %+v, want %+v", got.Header, want.Header)
	}
	g, w := got.Properties, want.Properties
	if g.MessageID != w.MessageID || g.CorrelationID != w.CorrelationID || *g.Subject != *w.Subject ||
		*g.ContentType != *w.ContentType || *g.GroupID != *w.GroupID || *g.GroupSequence != *w.GroupSequence ||
		!g.CreationTime.Equal(*w.CreationTime) {
		t.Errorf("properties %+v, want %+v", g, w)
	}
}

func TestAMQPToKafka(t *testing.T) {
	from, to := broker.Need(t, broker.Artemis), broker.Need(t, broker.Kafka)
	name := "trades" + unique()
	file := topology(t, "amqp-to-kafka.yaml", "amqp://127.0.0.1:5672", host(t, from), "127.0.0.1:9092", to,
		"queue: trades", "queue: "+name, "topic: trades", "topic: "+name)
	createTopic(t, to, name)
	var ms []*amqp.Message
	for n := range volume {
		ms = append(ms, order(n))
	}
	dialArtemis(t, from).send(name, ms)
	d := run(t, file, "ARTEMIS_PASSWORD="+password(t, from))
	for _, r := range consume(t, to, name, volume) {
		hs := recordHeaders(r)
		n, _ := strconv.Atoi(hs["n"])
		for header, want := range map[string]string{
			"n": strconv.Itoa(n), "account": fmt.Sprint("acc-", n%7), "flag": fmt.Sprint(n%2 == 0), "name": "Zürich €",
			"posthouse-message-id":     "ID:AMQP_NO_PREFIX:" + fmt.Sprint("order-", n),
			"posthouse-correlation-id": "ID:AMQP_ULONG:" + fmt.Sprint(n),
			"posthouse-priority":       priority(n), "posthouse-type": "order",
			"content-type": "application/octet-stream",
		} {
			if hs[header] != want {
				t.Errorf("record %d: header %s is %q, want %q", n, header, hs[header], want)
			}
		}
		if string(r.Key) != fmt.Sprint("acc-", n%7) || string(r.Value) != string(order(n).GetData()) {
			t.Errorf("record %d: key %q value %q", n, r.Key, r.Value)
		}
		if ms := r.Timestamp.UnixMilli(); ms != 1700000000123+int64(n) {
			t.Errorf("record %d: timestamp %d", n, ms)
		}
	}
	d.stop()
}

// priority is the header that carries message n's: 4 is what AMQP says of a message that states none (part 3, section
// 3.2.1), so no header stands for it.
func priority(n int) string {
	if n%10 == 4 {
		return ""
	}
	return strconv.Itoa(n % 10)
}

func TestKafkaToAMQP(t *testing.T) {
	from, to := broker.Need(t, broker.Kafka), broker.Need(t, broker.Artemis)
	name := "fills" + unique()
	file := topology(t, "kafka-to-amqp.yaml", "127.0.0.1:9092", from, "amqp://127.0.0.1:5672", host(t, to),
		"topic: fills", "topic: "+name, "queue: fills", "queue: "+name, "group: posthouse", "group: "+name)
	createTopic(t, from, name)
	var rs []*kgo.Record
	for n := range volume {
		rs = append(rs, &kgo.Record{
			Key: fmt.Appendf(nil, "k%d", n%5), Value: fmt.Appendf(nil, "fill %d", n), Timestamp: time.UnixMilli(1700000000000 + int64(n)),
			Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, n)}, {Key: "content-type", Value: []byte("text/plain")}},
		})
	}
	produce(t, from, name, rs)
	d := run(t, file, "ARTEMIS_PASSWORD="+password(t, to))
	for n, m := range dialArtemis(t, to).receive(name, volume) {
		if got, want := string(m.GetData()), fmt.Sprint("fill ", n); got != want {
			t.Errorf("message %d: body %q, want %q", n, got, want)
		}
		if m.ApplicationProperties["n"] != fmt.Sprint(n) || m.ApplicationProperties["posthouse-id"] == nil {
			t.Errorf("message %d: application properties %v", n, m.ApplicationProperties)
		}
		if p := m.Properties; p == nil || p.ContentType == nil || *p.ContentType != "text/plain" ||
			p.CreationTime.UnixMilli() != 1700000000000+int64(n) {
			t.Errorf("message %d: properties %+v", n, p)
		}
		if m.Header == nil || !m.Header.Durable {
			t.Errorf("message %d is not durable: Kafka's always are", n)
		}
	}
	d.stop()
	if at, err := committed(testContext(t), from, name+".fills", name); err != nil || at != volume {
		t.Errorf("committed offset %d, %v, want %d", at, err, volume)
	}
}

func TestQuickstart(t *testing.T) {
	paris, berlin := freePort(t), freePort(t)
	file := topology(t, "quickstart.yaml", "127.0.0.1:4222", paris, "127.0.0.1:4223", berlin,
		"quickstart-data", t.TempDir()+"/data")
	d := run(t, file)
	in, out := dialNATS(t, paris), dialNATS(t, berlin)
	var want []string
	for n := range volume {
		m := nats.NewMsg("orders")
		m.Data = fmt.Append(nil, "order ", n)
		m.Header.Set("region", []string{"EU", "UK", "US"}[n%3])
		if n%3 != 2 {
			want = append(want, string(m.Data))
		}
		if _, err := in.PublishMsg(testContext(t), m); err != nil {
			t.Fatal(err)
		}
	}
	c, err := out.CreateConsumer(testContext(t), "ORDERS", jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	for n, body := range want {
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatalf("message %d of %d: %v", n, len(want), err)
		}
		if string(m.Data()) != body || m.Headers().Get("posthouse-id") == "" || m.Headers().Get("region") == "US" {
			t.Errorf("message %d: %q %v, want %q", n, m.Data(), m.Headers(), body)
		}
		if err := m.DoubleAck(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.DeleteConsumer(testContext(t), "ORDERS", c.CachedInfo().Name); err != nil { // a queue has one reader
		t.Fatal(err)
	}
	if got := command(t, nil, "send", "-c", file, "paris/orders", "by hand", "-H", "region=EU"); !strings.HasPrefix(got, "1 of 1") {
		t.Errorf("send: %s", got)
	}
	var got string
	d.await("the message sent by hand", func() bool {
		got = command(t, nil, "receive", "-c", file, "berlin/ORDERS", "-o", "json", "-n", "1", "--timeout", "20s")
		return strings.Contains(got, `"body":"by hand"`)
	})
	if !strings.Contains(got, `["region","EU"]`) || !strings.Contains(got, `"path":["posthouse/orders"]`) {
		t.Errorf("receive: %s", got)
	}
	d.stop()
}

func dialNATS(t *testing.T, addr string) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect("nats://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// freePort returns an address that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// What posthouse test says of the messages of tests/routing.yaml is what the daemon does with them.
func TestRouting(t *testing.T) {
	if got := command(t, nil, "test", "tests/routing.yaml"); got != "5 messages, all as expected\n" {
		t.Errorf("posthouse test: %s", got)
	}
	paris, berlin, london := freePort(t), freePort(t), freePort(t)
	file := topology(t, "routing.yaml", "127.0.0.1:4222", paris, "127.0.0.1:4223", berlin, "127.0.0.1:4224", london, "routing-data", t.TempDir()+"/data")
	d := run(t, file)
	in := dialNATS(t, paris)
	for _, m := range []struct{ region, body string }{{"EU", `{ "total":12.5 }`}, {"EU", `{"total": 20000}`}, {"US", `{"total": 5}`}, {"EU", "total: 5"}} {
		msg := nats.NewMsg("orders")
		msg.Data = []byte(m.body)
		msg.Header.Set("region", m.region)
		msg.Header.Set("x-debug", "1")
		if _, err := in.PublishMsg(testContext(t), msg); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct{ addr, stream, body, desk, debug string }{
		{berlin, "EUROPE", `{ "total":12.5 }`, "europe", ""}, {london, "LARGE", `{"total": 20000}`, "large", "1"}, {london, "OTHERS", `{"total": 5}`, "", "1"},
	} {
		c, err := dialNATS(t, want.addr).CreateConsumer(testContext(t), want.stream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Next(jetstream.FetchMaxWait(patience))
		if err != nil {
			t.Fatalf("%s: %v", want.stream, err)
		}
		if h := m.Headers(); string(m.Data()) != want.body || h.Get("desk") != want.desk || h.Get("x-debug") != want.debug || c.CachedInfo().NumPending > 1 {
			t.Errorf("%s: %s %v, want %+v", want.stream, m.Data(), h, want)
		}
	}
	d.await("the one that is not JSON is set aside", func() bool {
		return d.metric("posthouse_route_dead_lettered_messages_total", `reason="filter-error"`) == 1
	})
	d.stop()
}
