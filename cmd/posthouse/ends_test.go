package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsServer is a JetStream server without streams.
func natsServer(t *testing.T) (js jetstream.JetStream, url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	nc, err := natsgo.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return js, s.ClientURL()
}

// site is a JetStream server with two streams, QUEUE (a work queue) and LOG (which keeps its messages), and a file
// that names it "n".
func site(t *testing.T) (js jetstream.JetStream, file string) {
	t.Helper()
	js, url := natsServer(t)
	for _, c := range []jetstream.StreamConfig{
		{Name: "QUEUE", Subjects: []string{"queue"}, Retention: jetstream.WorkQueuePolicy}, {Name: "LOG", Subjects: []string{"log"}},
	} {
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	return js, write(t, "topology.yaml", `version: 1
brokers: { n: { type: nats, addresses: ["`+url+`"] } }
routes: [{ name: r, from: { broker: n, stream: LOG }, to: { broker: n, subject: queue } }]
`)
}

func left(t *testing.T, js jetstream.JetStream, stream string) (messages uint64, consumers int) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	st := s.CachedInfo().State
	return st.Msgs, st.Consumers
}

func TestSendAndReceive(t *testing.T) {
	js, file := site(t)
	posthouse(t, "send", "-c", file, "n/queue", "körper", "--id", "m1", "--correlation-id", "c1", "--reply-to", "answers", "--key", "k",
		"--content-type", "text/plain", "--priority", "7", "-H", "region=EU", "--ttl", "1h").want(t, 0, "1 of 1 messages confirmed by n/queue")
	posthouseIn(t, "\x00\xff", "send", "-c", file, "n/queue", "--file", "-", "-n", "3").want(t, 0, "3 of 3")
	posthouse(t, "send", "-c", file, "n/queue", "--file", write(t, "body", "from a file"), "--transient").want(t, 0, "1 of 1")

	r := posthouse(t, "receive", "-c", file, "n/QUEUE", "-n", "5", "--keep", "-o", "json")
	r.want(t, 0)
	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines for 5 messages: %s", len(lines), r.out)
	}
	var first, second, last shown
	for i, m := range map[int]*shown{0: &first, 1: &second, 4: &last} {
		if err := json.Unmarshal([]byte(lines[i]), m); err != nil {
			t.Fatal(err)
		}
	}
	if first.ID != "m1" || first.Corr != "c1" || first.ReplyTo != "answers" || first.Key != "k" || first.ContentType != "text/plain" ||
		*first.Priority != 7 || !first.Durable || first.Body != "körper" || len(first.Headers) != 1 ||
		first.Headers[0] != [2]string{"region", "EU"} || first.Expires <= time.Now().UnixMilli() {
		t.Errorf("%+v", first)
	}
	if second.Base64 != "AP8=" || second.Body != "" || last.Body != "from a file" {
		t.Errorf("%+v, %+v", second, last)
	}
	if n, c := left(t, js, "QUEUE"); n != 5 || c != 0 {
		t.Errorf("%d messages and %d consumers are left after --keep", n, c)
	}
	posthouse(t, "receive", "-c", file, "n/QUEUE", "-n", "2").want(t, 0, `id: "m1"`, `header region: "EU"`, "\nkörper\n---\n")
	r = posthouse(t, "receive", "-c", file, "n/QUEUE", "-n", "9", "--timeout", "300ms")
	r.want(t, 1, "3 of 9 messages received: no more came in time")
	if n, c := left(t, js, "QUEUE"); n != 0 || c != 0 {
		t.Errorf("%d messages and %d consumers are left", n, c)
	}
}

func TestReceiveFromWorkQueueInUse(t *testing.T) {
	js, file := site(t)
	c := jetstream.ConsumerConfig{Durable: "posthouse_orders", AckPolicy: jetstream.AckExplicitPolicy}
	if _, err := js.CreateConsumer(t.Context(), "QUEUE", c); err != nil {
		t.Fatal(err)
	}
	posthouse(t, "receive", "-c", file, "n/QUEUE").want(t, 1, "another consumer already reads this work queue stream",
		"stop the route that reads it, or look at the route's target instead")
}

func TestReceiveByName(t *testing.T) {
	js, file := site(t)
	posthouse(t, "send", "-c", file, "n/log", "one").want(t, 0)
	posthouse(t, "send", "-c", file, "n/log", "two").want(t, 0)
	for range 2 { // without a name it begins anew
		posthouse(t, "receive", "-c", file, "n/LOG").want(t, 0, "\none\n")
	}
	posthouse(t, "receive", "-c", file, "n/LOG", "--client", "audit").want(t, 0, "\none\n")
	posthouse(t, "receive", "-c", file, "n/LOG", "--client", "audit").want(t, 0, "\ntwo\n")
	if n, c := left(t, js, "LOG"); n != 2 || c != 1 {
		t.Errorf("%d messages and %d consumers, want both and that of --client", n, c)
	}
}

func TestSendToNobody(t *testing.T) {
	_, file := site(t)
	posthouse(t, "send", "-c", file, "n/nowhere", "x").want(t, 1, "0 of 1 messages confirmed by n/nowhere", "no stream takes the subject nowhere")
	posthouse(t, "receive", "-c", file, "n/NOWHERE").want(t, 1, "0 of 1 messages received: ", "no such stream")
	posthouse(t, "check", "--connect", file).want(t, 0, "n: ok, ", server.VERSION)
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	file = write(t, "t.yaml", strings.Replace(string(src), "LOG", "ABSENT", 1))
	posthouse(t, "check", "--connect", file).want(t, 3, "n: not-found: ", "no such stream")
}

// TestReceiveInterrupted ends a receive that has taken some: they are settled, and the rest was never touched.
func TestReceiveInterrupted(t *testing.T) {
	js, file := site(t)
	posthouse(t, "send", "-c", file, "n/queue", "x", "-n", "3").want(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	root := rootCommand()
	root.SetArgs([]string{"receive", "-c", file, "n/QUEUE", "-n", "4", "--timeout", "1h"})
	root.SetOut(&after{lines: 9, do: cancel}) // three messages of three lines
	root.SetErr(os.Stderr)
	if err := root.ExecuteContext(ctx); err == nil || err.Error() != "3 of 4 messages received: interrupted" {
		t.Errorf("got %v", err)
	}
	if n, c := left(t, js, "QUEUE"); n != 0 || c != 0 {
		t.Errorf("%d messages and %d consumers are left", n, c)
	}
}

// after calls do when so many lines have been written.
type after struct {
	lines int
	do    func()
}

func (a *after) Write(p []byte) (int, error) {
	if a.lines -= strings.Count(string(p), "\n"); a.lines <= 0 {
		a.do()
	}
	return len(p), nil
}
