package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	"pgregory.net/rapid"

	"github.com/posthouse/posthouse/adapters"
)

// request is the frame of a request with nothing behind its header's first fields.
func request(key, version int16) []byte {
	b := binary.BigEndian.AppendUint32(nil, 8)
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	return binary.BigEndian.AppendUint32(b, 1)
}

// refusal is the response to a produce request of version 3 for one partition.
func refusal(code sarama.KError) []byte {
	b := make([]byte, 4)                     // correlation id
	b = binary.BigEndian.AppendUint32(b, 1)  // topics
	b = append(b, 0, 1, 't')                 //
	b = binary.BigEndian.AppendUint32(b, 1)  // partitions
	b = append(b, 0, 0, 0, 0)                // number
	b = append(b, byte(code>>8), byte(code)) //
	b = append(b, make([]byte, 8+8+4)...)    // offset, time, throttle time
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// piped is a connection of n to a broker that the test plays.
func piped(t testing.TB, n *network) (ours net.Conn, broker net.Conn) {
	t.Helper()
	ours, broker = net.Pipe()
	t.Cleanup(func() { _ = broker.Close() })
	n.dial = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
	c, err := n.Dial("tcp", "broker:9092")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, broker
}

func testNetwork() *network {
	return newNetwork(adapters.Config{Heartbeat: time.Second}.WithDefaults(), 1<<10)
}

// TestFramesHoweverCut: whatever portions the bytes come in, each answer is counted, each refusal seen once, and the first
// response beyond the bound ends the connection before it is read.
func TestFramesHoweverCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var seen []sarama.KError
		n := testNetwork()
		n.answers = func(codes []sarama.KError) { seen = append(seen, codes...) }
		c := &conn{net: n}
		var stream []byte
		var want []sarama.KError
		frames := rapid.IntRange(1, 12).Draw(t, "frames")
		for range frames {
			code := rapid.SampledFrom([]sarama.KError{sarama.ErrNoError, sarama.ErrRequestTimedOut, sarama.ErrInvalidRecord}).Draw(t, "code")
			stream = append(stream, refusal(code)...)
			if code != sarama.ErrNoError {
				want = append(want, code)
			}
		}
		c.asked.Store(keyProduce<<16 | 3)
		c.owed.Store(int32(frames))
		for len(stream) > 0 {
			k := rapid.IntRange(1, min(len(stream), 60)).Draw(t, "portion")
			if err := c.measure(stream[:k]); err != nil {
				t.Fatal(err)
			}
			stream = stream[k:]
		}
		if c.owed.Load() != 0 {
			t.Fatalf("%d answers are missed", c.owed.Load())
		}
		if len(seen) != len(want) {
			t.Fatalf("refusals: got %v, want %v", seen, want)
		}
		for i := range want {
			if seen[i] != want[i] {
				t.Fatalf("refusals: got %v, want %v", seen, want)
			}
		}
		if err := c.measure(binary.BigEndian.AppendUint32(nil, 1<<10+1)); !errors.Is(err, errFrame) {
			t.Fatalf("beyond the bound: got %v", err)
		}
	})
}

// TestSilence: only a broker that owes an answer can be silent, only for as long as it owes one, and one that waits for
// the other members of a group is not.
func TestSilence(t *testing.T) {
	for key, counts := range map[int16]bool{keyProduce: true, 1: true, keyJoinGroup: false, keySyncGroup: false} {
		synctest.Test(t, func(t *testing.T) {
			n := testNetwork()
			c, broker := piped(t, n)
			go func() { _, _ = io.Copy(io.Discard, broker) }()
			<-time.After(time.Hour)
			if n.stalled(time.Second) {
				t.Error("a broker that owes nothing is called silent")
			}
			if _, err := c.Write(request(key, 3)); err != nil {
				t.Fatal(err)
			}
			if n.stalled(time.Second) {
				t.Error("silent at once")
			}
			<-time.After(2 * time.Second)
			if got := n.stalled(time.Second); got != counts {
				t.Errorf("request %d without an answer for 2 s: got %v, want %v", key, got, counts)
			}
			go func() { _, _ = broker.Write(refusal(sarama.ErrNoError)) }()
			if _, err := io.ReadFull(c, make([]byte, len(refusal(0)))); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Hour)
			if n.stalled(time.Second) {
				t.Error("after the answer the broker is called silent")
			}
			_ = c.Close()
			_ = broker.Close()
		})
	}
}

// TestRefusedLoginIsDenied: a broker that hangs up on a login says so; one that hangs up on anything else is lost.
func TestRefusedLoginIsDenied(t *testing.T) {
	for key, want := range map[int16]adapters.Kind{keySASLHandshake: adapters.Denied, keySASLAuthenticate: adapters.Denied, 3: adapters.Lost} {
		n := testNetwork()
		c, broker := piped(t, n)
		go func() {
			_, _ = io.ReadFull(broker, make([]byte, 12))
			_ = broker.Close()
		}()
		if _, err := c.Write(request(key, 1)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Read(make([]byte, 10))
		if got := classify("connect", adapters.Address{}, withCause(err, n)).Kind; got != want {
			t.Errorf("hung up after request %d: got %v (%v), want %v", key, got, err, want)
		}
	}
}

// TestCutIsForGood: after cut nothing is written, nothing dialled, and a dial under way ends.
func TestCutIsForGood(t *testing.T) {
	n := testNetwork()
	c, broker := piped(t, n)
	dialling, result := make(chan struct{}), make(chan error, 1)
	n.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	go func() {
		_, err := n.Dial("tcp", "slow:9092")
		result <- err
	}()
	<-dialling
	n.cut()
	select {
	case err := <-result:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the dial under way: got %v", err)
		}
	case <-limited(t).Done():
		t.Fatal("a dial outlives the cut")
	}
	if _, err := c.Write(request(keyProduce, 3)); !errors.Is(err, errCut) {
		t.Errorf("write after the cut: got %v", err)
	}
	if _, err := broker.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the broker sees %v, want the end and no byte", err)
	}
	if _, err := n.Dial("tcp", "late:9092"); !errors.Is(err, errCut) {
		t.Errorf("dial after the cut: got %v", err)
	}
}

// TestLateConnectionIsClosed: a dial that succeeds after the cut leaves nothing open.
func TestLateConnectionIsClosed(t *testing.T) {
	n := testNetwork()
	ours, broker := net.Pipe()
	n.dial = func(context.Context, string, string) (net.Conn, error) {
		n.cut()
		return ours, nil
	}
	if _, err := n.Dial("tcp", "late:9092"); !errors.Is(err, errCut) {
		t.Errorf("got %v, want %v", err, errCut)
	}
	if _, err := broker.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the broker sees %v, want the end", err)
	}
}

// TestFirstCauseStays: what a connection saw first is told, unless the client library's own error says more.
func TestFirstCauseStays(t *testing.T) {
	n := testNetwork()
	if got := withCause(io.EOF, n); got != io.EOF {
		t.Errorf("without a cause: got %v", got)
	}
	_ = n.note(errLogin)
	_ = n.note(errFrame)
	if got := withCause(sarama.ErrOutOfBrokers, n); got != errLogin {
		t.Errorf("a vague error: got %v, want %v", got, errLogin)
	}
	if got := withCause(sarama.ErrTopicAuthorizationFailed, n); !strings.Contains(got.Error(), "not authorized") {
		t.Errorf("an exact error: got %v", got)
	}
}
