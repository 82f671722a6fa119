package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/adapters/adaptertest"
	"github.com/posthouse/posthouse/internal/testbed/broker"
)

const patience = 30 * time.Second

// A harness joins tests to one broker, in process or real. Put and Take go through franz-go.
type harness struct {
	seeds  []string
	admin  *kgo.Client
	login  []kgo.Opt // of further independent clients
	change func(*adapters.Config)
}

var (
	_ adaptertest.Harness = (*harness)(nil)
	_ adaptertest.Leaker  = (*harness)(nil)
)

func newHarness(t testing.TB, seeds []string, opts ...kgo.Opt) *harness {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(seeds...)}, opts...)...)
	if err != nil {
		t.Fatalf("independent client: %v", err)
	}
	h := &harness{seeds: seeds, admin: cl}
	t.Cleanup(func() { h.admin.Close() })
	return h
}

// startFake runs Kafka's protocol in this process.
func startFake(t testing.TB, opts ...kfake.Opt) (*kfake.Cluster, *harness) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatalf("kfake: %v", err)
	}
	t.Cleanup(c.Close)
	return c, newHarness(t, c.ListenAddrs())
}

// realKafka joins the test to the broker named in the environment.
func realKafka(t testing.TB) *harness {
	t.Helper()
	return newHarness(t, []string{broker.Need(t, broker.Kafka)})
}

// requireEnv is one of the variables that come with the shared broker.
func requireEnv(t testing.TB, name string) string {
	t.Helper()
	broker.Need(t, broker.Kafka, name)
	return os.Getenv(name)
}

func (h *harness) Adapter() adapters.Adapter { return New() }

func (h *harness) Config(_ testing.TB, dial adaptertest.DialFunc) adapters.Config {
	c := adapters.Config{Name: "k", Addresses: h.seeds, Client: "here.route", Dial: dial, Heartbeat: time.Second,
		Limits: adapters.Limits{Confirm: 10 * time.Second}}
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if h.change != nil {
		h.change(&c)
	}
	return c
}

// topic makes a topic with the given partitions and settings.
func (h *harness) topic(t testing.TB, partitions int32, config map[string]*string) string {
	t.Helper()
	name := fmt.Sprintf("t-%d-%d", os.Getpid(), time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	adm := kadm.NewClient(h.admin)
	r, err := adm.CreateTopic(ctx, partitions, 1, config, name)
	if err != nil || r.Err != nil {
		t.Fatalf("make topic: %v %v", err, r.Err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = adm.DeleteTopics(ctx, name)
	})
	h.awaitTopic(ctx, t, name)
	return name
}

// awaitTopic returns when the broker serves a topic: in KRaft that is a little after it was made.
func (h *harness) awaitTopic(ctx context.Context, t testing.TB, name string) {
	t.Helper()
	adm := kadm.NewClient(h.admin)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ends, err := adm.ListEndOffsets(ctx, name)
		if err == nil && ends.Error() == nil && len(ends[name]) > 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("topic %s is not served: %v", name, errors.Join(err, ends.Error()))
		}
	}
}

func (h *harness) at(topic string) adapters.Address {
	return adapters.Address{Broker: "k", Form: adapters.Topic, Name: topic, Options: adapters.Options{"group": topic + ".g"}}
}

func (h *harness) Place(t testing.TB) adaptertest.Place {
	t.Helper()
	a := h.at(h.topic(t, 1, nil))
	return adaptertest.Place{Source: a, Target: a}
}

func (h *harness) Put(t testing.TB, p adaptertest.Place, ms ...adaptertest.Native) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rs := make([]*kgo.Record, len(ms))
	for i, m := range ms {
		rs[i] = &kgo.Record{Topic: p.Source.Name, Key: m.Key, Value: m.Body}
		for _, hd := range m.Headers {
			rs[i].Headers = append(rs[i].Headers, kgo.RecordHeader{Key: hd.Name, Value: []byte(hd.Value)})
		}
	}
	if err := h.admin.ProduceSync(ctx, rs...).FirstErr(); err != nil {
		t.Fatalf("put: %v", err)
	}
}

func (h *harness) Take(t testing.TB, p adaptertest.Place, n int) []adaptertest.Native {
	t.Helper()
	rs := h.records(t, p.Target.Name, n)
	ms := make([]adaptertest.Native, len(rs))
	for i, r := range rs {
		ms[i] = adaptertest.Native{Body: r.Value, Key: r.Key, Durable: true}
		for _, hd := range r.Headers {
			ms[i].Headers = append(ms[i].Headers, adaptertest.Header{Name: hd.Key, Value: string(hd.Value)})
		}
	}
	return ms
}

// records reads the first n records that the topic has not yet given to this harness: Kafka removes nothing, so the
// place reached is remembered in a group of the harness's own.
func (h *harness) records(t testing.TB, topic string, n int) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	adm := kadm.NewClient(h.admin)
	group := topic + ".taken"
	var done kadm.OffsetResponses
	err := coordinated(ctx, func() (err error) {
		done, err = adm.FetchOffsets(ctx, group)
		return err
	})
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		t.Fatalf("take: %v", err)
	}
	from := map[int32]kgo.Offset{}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatalf("take: %v", err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		from[o.Partition] = kgo.NewOffset().AtStart()
		if at, ok := done.Lookup(topic, o.Partition); ok && at.At >= 0 {
			from[o.Partition] = kgo.NewOffset().At(at.At)
		}
	})
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(h.seeds...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted())}, h.login...)...)
	if err != nil {
		t.Fatalf("take: %v", err)
	}
	defer cl.Close()
	var rs []*kgo.Record
	for len(rs) < n {
		fs := cl.PollRecords(ctx, n-len(rs))
		if ctx.Err() != nil {
			t.Fatalf("take: got %d of %d messages", len(rs), n)
		}
		fs.EachRecord(func(r *kgo.Record) { rs = append(rs, r) })
	}
	next := kadm.Offsets{}
	for _, r := range rs {
		next.AddOffset(topic, r.Partition, r.Offset+1, -1)
	}
	if err := coordinated(ctx, func() error { return adm.CommitAllOffsets(ctx, group, next) }); err != nil {
		t.Fatalf("take: %v", err)
	}
	return rs
}

// coordinated calls f until the broker has a coordinator for the group.
func coordinated(ctx context.Context, f func() error) (err error) {
	for {
		if err = f(); !errors.Is(err, kerr.CoordinatorNotAvailable) && !errors.Is(err, kerr.CoordinatorLoadInProgress) && !errors.Is(err, kerr.NotCoordinator) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// committed is the group's position in a partition, -1 if there is none.
func (h *harness) committed(t testing.TB, a adapters.Address, partition int32) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var os kadm.OffsetResponses
	err := coordinated(ctx, func() (err error) {
		os, err = kadm.NewClient(h.admin).FetchOffsets(ctx, groupOf(h.Config(t, nil), a))
		return err
	})
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		t.Fatalf("positions: %v", err)
	}
	if o, ok := os.Lookup(a.Name, partition); ok {
		return o.At
	}
	return -1
}

// count is how many records a topic of one partition holds.
func (h *harness) count(t testing.TB, topic string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ends, err := kadm.NewClient(h.admin).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatalf("count: %v", err)
	}
	o, _ := ends.Lookup(topic, 0)
	return int(o.Offset)
}
