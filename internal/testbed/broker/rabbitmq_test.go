package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// rabbitAddress is the address of a queue: version 4 takes only the second form of its documents,
// version 3 has but the old one.
func rabbitAddress(major int, queue string) string {
	if major == 4 {
		return "/queues/" + queue
	}
	return "/amq/queue/" + queue
}

// eventually repeats check until it returns "" or time is up; what it returned last is then shown.
func eventually(t *testing.T, check func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		problem := check()
		if problem == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", problem)
		case <-tick.C:
		}
	}
}

func rabbitAdmin(t *testing.T, address string) *RabbitAdmin {
	t.Helper()
	a, err := NewRabbitAdmin(address)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestRabbitKeepsDurableMessagesOverKill(t *testing.T) {
	for major, kind := range map[int]string{4: "quorum", 3: "classic"} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			b := Private(t, fmt.Sprintf("rabbitmq%d", major))
			url, admin := b.Env()[Variable(b.Name())], rabbitAdmin(t, b.Env()[Variable(b.Name())+"_ADMIN"])
			if err := admin.DeclareQueue(deadline(t), "kept", kind, nil); err != nil {
				t.Fatal(err)
			}
			if err := b.Restart(deadline(t)); err != nil { // see DeclareQueue
				t.Fatal(err)
			}
			if err := send(t, session(t, url, nil), rabbitAddress(major, "kept"), "over the crash"); err != nil {
				t.Fatal(err)
			}
			b.Kill()
			if b.Alive() {
				t.Fatal("alive after Kill")
			}
			if err := b.Restart(deadline(t)); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, session(t, url, nil), rabbitAddress(major, "kept")); got != "over the crash" {
				t.Errorf("got %q, want the message of before", got)
			}
		})
	}
}

func TestRabbitAdmin(t *testing.T) {
	for _, major := range []int{4, 3} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			name := fmt.Sprintf("rabbitmq%d", major)
			url := Need(t, name, Variable(name)+"_ADMIN")
			admin := rabbitAdmin(t, os.Getenv(Variable(name)+"_ADMIN"))
			queue := fmt.Sprintf("testbed-%d", os.Getpid())
			for range 2 { // declaring it again is no error
				if err := admin.DeclareQueue(deadline(t), queue, "classic", nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := send(t, session(t, url, nil), rabbitAddress(major, queue), "x"); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() string {
				if ready, _, err := admin.Count(deadline(t), queue); ready != 1 {
					return fmt.Sprintf("%d ready, want 1 (%v)", ready, err)
				}
				return ""
			})
			for range 2 { // deleting it again is no error
				if err := admin.DeleteQueue(deadline(t), queue); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := admin.Count(deadline(t), queue); err == nil {
				t.Error("the queue is still there")
			}
		})
	}
}

func TestRabbitDenied(t *testing.T) {
	url := Need(t, RabbitMQ4, EnvRabbitMQ4Admin)
	admin := rabbitAdmin(t, os.Getenv(EnvRabbitMQ4Admin))
	queue := fmt.Sprintf("%stestbed-%d", DeniedPrefix, os.Getpid())
	if err := admin.DeclareQueue(deadline(t), queue, "classic", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.DeleteQueue(context.Background(), queue) })
	_, err := session(t, url, nil).NewReceiver(deadline(t), rabbitAddress(4, queue), nil)
	var ended *amqp.SessionError // RabbitMQ 4 ends the session, not only the link
	if !errors.As(err, &ended) || ended.RemoteErr == nil || ended.RemoteErr.Condition != amqp.ErrCondUnauthorizedAccess {
		t.Errorf("got error %v, want a session ended by %s", err, amqp.ErrCondUnauthorizedAccess)
	}
}

func TestNewRabbitAdminRefuses(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1:1", "http://127.0.0.1:1", "https://a:b@127.0.0.1:1", "http://a:b@", "http://a:b@[::1"} {
		if _, err := NewRabbitAdmin(bad); err == nil {
			t.Errorf("%q: taken", bad)
		}
	}
}
