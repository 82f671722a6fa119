package kafka

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

// A guarded harness logs in as a user whose rights can be taken away; its independent client keeps all of them.
type guarded struct {
	*harness
	user string
}

// An owned harness has a broker to itself.
type owned struct {
	guarded
	b *broker.Broker
}

var (
	_ adaptertest.Refuser   = guarded{}
	_ adaptertest.Restarter = owned{}
)

// guard makes h log in at addresses.
func guard(h *harness, addresses []string, user, password string) guarded {
	h.change = func(c *adapters.Config) {
		c.Addresses = addresses
		c.Credentials = adapters.Credentials{User: user, Password: adapters.NewSecret(password)}
	}
	return guarded{h, user}
}

// FullPlace skips the check: retention removes the oldest records of a topic, it never refuses new ones, and a broker
// whose disk is full stops.
func (guarded) FullPlace(t testing.TB) (adaptertest.Place, func()) {
	t.Skip("a Kafka topic is never full")
	return adaptertest.Place{}, nil
}

// DeniedPlace is a topic with a rule against the user.
func (g guarded) DeniedPlace(t testing.TB) adaptertest.Place {
	p := g.Place(t)
	g.deny(t, p.Source.Name)
	return p
}

// deny takes every right to a topic away from the user until the test ends.
func (g guarded) deny(t testing.TB, topic string) {
	t.Helper()
	rule := kadm.NewACLs().Topics(topic).ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpAll).Deny("User:" + g.user).DenyHosts("*")
	adm := kadm.NewClient(g.admin)
	if rs, err := adm.CreateACLs(limited(t), rule); err != nil || rs[0].Err != nil {
		t.Fatalf("make the rule: %v %v", err, rs)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = adm.DeleteACLs(ctx, rule)
	})
}

// MissingPlace is never made: brokers make no topics by themselves here.
func (g guarded) MissingPlace(testing.TB) adaptertest.Place {
	a := g.at("no-such-topic")
	return adaptertest.Place{Source: a, Target: a}
}

// KillAndRestart kills the broker as a crash does and waits until it is there again.
func (o owned) KillAndRestart(t testing.TB) {
	t.Helper()
	o.b.Kill()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	if err := o.b.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	o.admin.Close() // it has several connections and would tell of the end of each, one by one
	cl, err := kgo.NewClient(kgo.SeedBrokers(o.seeds...))
	if err != nil {
		t.Fatal(err)
	}
	o.harness.admin = cl
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for adm := kadm.NewClient(cl); ; { // the coordinators load
		_, err := adm.FetchOffsets(ctx, "none")
		if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after the restart: %v", err)
		}
	}
}

// fakeGuarded is a broker in this process with a login and access rules.
func fakeGuarded(t testing.TB) guarded {
	t.Helper()
	all := func(r kmsg.ACLResourceType) kfake.ACL {
		return kfake.ACL{Resource: r, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationAll, Allow: true}
	}
	const root, user, password = "root", "posthouse", "right"
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", root, password),
		kfake.User("PLAIN", user, password, all(kmsg.ACLResourceTypeTopic), all(kmsg.ACLResourceTypeGroup), all(kmsg.ACLResourceTypeTransactionalId)))
	if err != nil {
		t.Fatalf("kfake: %v", err)
	}
	t.Cleanup(c.Close)
	login := []kgo.Opt{kgo.SASL(plain.Auth{User: root, Pass: password}.AsMechanism())}
	h := newHarness(t, c.ListenAddrs(), login...)
	h.login = login
	return guard(h, h.seeds, user, password)
}

// realGuarded is the shared broker.
func realGuarded(t testing.TB) guarded {
	t.Helper()
	h := realKafka(t)
	return guard(h, []string{requireEnv(t, broker.EnvKafkaSASL)}, requireEnv(t, broker.EnvUser), requireEnv(t, broker.EnvPassword))
}

func ownKafka(t testing.TB) owned {
	t.Helper()
	b := broker.Private(t, broker.Kafka)
	env := b.Env()
	h := newHarness(t, []string{env[broker.EnvKafka]})
	return owned{guard(h, []string{env[broker.EnvKafkaSASL]}, broker.User, broker.Password), b}
}

func TestConformance(t *testing.T) {
	t.Run("kfake", func(t *testing.T) { adaptertest.Run(t, fakeGuarded(t)) })
	t.Run("kafka", func(t *testing.T) { adaptertest.Run(t, realGuarded(t)) })
}

// TestOwnBroker runs what needs a broker of its own: one that may be killed, one that takes tokens.
func TestOwnBroker(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a broker of its own")
	}
	o := ownKafka(t)
	for _, c := range adaptertest.Checks() {
		if c.Name == "AcceptedIsDurable" {
			t.Run(c.Group+"/"+c.Name, func(t *testing.T) { c.Run(t, o) })
		}
	}
	t.Run("Token", func(t *testing.T) { loginByToken(t, o.harness, o.b.Env()[broker.EnvKafkaOAuth]) })
	t.Run("TransactionsOnce", func(t *testing.T) { transactionsAcrossKills(t, o) })
	t.Run("NothingIsLost", func(t *testing.T) { killedWhileForwarding(t, o) })
}

// killedWhileForwarding: the broker dies with receipts and settlements under way; the ends say Lost, are opened anew, and
// every message is at the target, in order by first arrival. What was settled does not come again.
func killedWhileForwarding(t *testing.T, o owned) {
	const n = 3000
	from, to := o.Place(t), o.Place(t)
	o.Put(t, from, numbered(n)...)
	c := o.Config(t, nil)
	var killed sync.WaitGroup
	var once sync.Once
	settled := forwardUntil(t, c, from.Source, to.Target, func(done int) bool {
		if done >= n/3 {
			once.Do(func() { killed.Go(o.b.Kill) })
		}
		return false
	})
	killed.Wait()
	o.KillAndRestart(t)
	if got := o.committed(t, from.Source, 0); got < int64(settled) || got == n {
		t.Errorf("position after the kill: got %d of %d, %d were settled", got, n, settled)
	}
	forwardUntil(t, c, from.Source, to.Target, func(int) bool { return o.committed(t, from.Source, 0) == n })
	var seen []adaptertest.Native
	known := map[string]bool{}
	for _, m := range o.Take(t, to, o.count(t, to.Target.Name)) {
		if !known[string(m.Body)] {
			known[string(m.Body)] = true
			seen = append(seen, m)
		}
	}
	if len(seen) != n {
		t.Fatalf("%d different messages arrived, want %d", len(seen), n)
	}
	wantNumbered(t, seen, n)
}

// forwardUntil moves messages until stop, asked after each settled batch, says so or an end is lost; it returns how many
// were settled.
func forwardUntil(t *testing.T, c adapters.Config, from, to adapters.Address, stop func(done int) bool) (done int) {
	t.Helper()
	s, tg := mustSource(t, c, from), mustTarget(t, c, to)
	defer func() {
		_ = s.Close()
		_ = tg.Close()
	}()
	for ctx := limited(t); !stop(done); {
		ds, err := s.Receive(ctx, 50)
		if err == nil {
			_, err = tg.Send(ctx, messagesOf(ds))
		}
		if err == nil {
			err = s.Settle(ctx, adapters.Accepted, ds...)
		}
		if err != nil {
			if adapters.KindOf(err) != adapters.Lost {
				t.Fatalf("after %d: %v (%v), want Lost", done, err, adapters.KindOf(err))
			}
			return done
		}
		done += len(ds)
	}
	return done
}

func messagesOf(ds []adapters.Delivery) []*adapters.Message {
	ms := make([]*adapters.Message, len(ds))
	for i := range ds {
		ms[i] = ds[i].Message
	}
	return ms
}
