package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// statePartition holds all positions, however many partitions the state topic has: a position that moves to another
// partition when somebody adds some would be lost.
const statePartition = 0

// A stored position is the value of a record in the state topic; its key is the lane.
type stored struct {
	Version int `json:"version"`
	adapters.Position
}

const storedVersion = 1

// maxPosition in bytes: a record of that size is taken by every topic with Kafka's default for max.message.bytes.
const maxPosition = 900_000

func encodePosition(p adapters.Position) ([]byte, error) {
	value, err := json.Marshal(stored{storedVersion, p})
	if err == nil && len(value) > maxPosition {
		err = fmt.Errorf("the lane's position has %d holes and does not fit into a record: settle what is set aside", len(p.Holes))
	}
	return value, err
}

func decodePosition(value []byte) (adapters.Position, error) {
	if value == nil { // an operator has made the lane start again
		return adapters.Position{}, nil
	}
	var s stored
	if err := json.Unmarshal(value, &s); err != nil {
		return adapters.Position{}, fmt.Errorf("the position is unreadable: %w", err)
	}
	if s.Version != storedVersion {
		return adapters.Position{}, fmt.Errorf("the position has version %d and this Posthouse reads version %d: a newer one has written it", s.Version, storedVersion)
	}
	return s.Position, nil
}

// positions is the state topic of one target, seen from the side of the broker.
type positions struct {
	state  string
	data   string // topic of the messages; "" where each names its own
	broker string // address, for the words to an operator
}

// prepare makes the state topic where there is none, and refuses one from which positions could vanish.
func (o positions) prepare(ctx context.Context, client sarama.Client) error {
	err := client.RefreshMetadata(o.topics()...) // tells who the controller is
	if err != nil && !(o.data == "" && errors.Is(err, sarama.ErrUnknownTopicOrPartition)) {
		return err
	}
	admin, err := sarama.NewClusterAdminFromClient(client) // its Close would close the client, and there is nothing else to close
	if err != nil {
		return err
	}
	policy, err := o.setting(admin, o.state, "cleanup.policy")
	if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		return o.make(ctx, admin, client)
	}
	if err != nil {
		return o.answered(err, "its cleanup.policy cannot be read, grant DescribeConfigs")
	}
	if policy != "compact" {
		return o.denied(fmt.Errorf("its cleanup.policy is %s, which throws positions away; mend it with: "+
			"kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config cleanup.policy=compact", policy, o.broker, o.state))
	}
	return nil
}

// unfit is what is wrong with the state topic or in it: an operator has to act.
type unfit struct{ error }

func (u unfit) Unwrap() error { return u.error }

func (o positions) denied(err error) error {
	return unfit{fmt.Errorf("state topic %s: %w", o.state, err)}
}

// answered is denied where the broker has said no, and err itself where it has not been heard or asks for patience.
func (o positions) answered(err error, words string) error {
	code, yes := codeOf(err)
	if !yes && !errors.Is(err, errUntold) || repeated(code) || code == sarama.ErrNotController {
		return err
	}
	return o.denied(fmt.Errorf("%s: %w", words, err))
}

var errUntold = errors.New("the broker does not tell it")

// setting is one of a topic's.
func (o positions) setting(admin sarama.ClusterAdmin, topic, name string) (string, error) {
	results, err := admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{name}}},
		sarama.DescribeConfigsOptions{})
	if err != nil {
		return "", err
	}
	for _, r := range results {
		if r.ErrorCode != sarama.ErrNoError {
			return "", r.ErrorCode
		}
		for _, e := range r.Configs {
			if e.Name == name {
				return e.Value, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w", name, errUntold)
}

// topics are those that a look at the cluster asks for.
func (o positions) topics() []string {
	if o.data == "" {
		return []string{o.state} // all of them might be many
	}
	return []string{o.data}
}

// copies is how many the state topic gets: as many as the messages have; where these go to several topics, three, or one on
// each broker of a smaller cluster.
func (o positions) copies(client sarama.Client) (int, error) {
	if o.data == "" {
		return max(1, min(3, len(client.Brokers()))), nil
	}
	replicas, err := client.Replicas(o.data, 0)
	return len(replicas), err
}

// make creates the state topic with as many copies as the messages have. Small segments keep it short: Kafka compacts only
// those that are full, and every OpenTx reads all of it.
func (o positions) make(ctx context.Context, admin sarama.ClusterAdmin, client sarama.Client) error {
	replicas, err := o.copies(client)
	if err != nil {
		return err
	}
	text := func(s string) *string { return &s }
	settings := map[string]*string{"cleanup.policy": text("compact"), "segment.bytes": text(strconv.Itoa(4 << 20)), "min.cleanable.dirty.ratio": text("0.1")}
	if o.data != "" {
		if n, err := o.setting(admin, o.data, "min.insync.replicas"); err == nil {
			settings["min.insync.replicas"] = &n
		}
	}
	err = admin.CreateTopic(o.state, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: int16(replicas), ConfigEntries: settings}, false)
	if err != nil && !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return o.answered(err, fmt.Sprintf("it is not there and cannot be made; make it with: kafka-topics.sh --bootstrap-server %s --create --topic %s "+
			"--partitions 1 --replication-factor %d --config cleanup.policy=compact", o.broker, o.state, replicas))
	}
	return o.await(ctx, client)
}

// await returns when the new topic is served: its leader is found a little after it was made.
func (o positions) await(ctx context.Context, client sarama.Client) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := client.RefreshMetadata(o.state)
		if err == nil {
			_, err = client.GetOffset(o.state, statePartition, sarama.OffsetNewest)
		}
		if _, answered := codeOf(err); err == nil || !answered {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// read reads the state topic to its end. Its caller has the lane, so every transaction of the lane is decided and
// has its marker. It reads what is not yet committed, too, and goes by the markers: a reader of committed records would be
// held up by what other lanes have open, and stopping there would miss a position behind it.
func (o positions) read(client sarama.Client, lane string) (adapters.Position, error) {
	at, err := client.GetOffset(o.state, statePartition, sarama.OffsetOldest)
	if err != nil {
		return adapters.Position{}, err
	}
	end, err := client.GetOffset(o.state, statePartition, sarama.OffsetNewest)
	if err != nil {
		return adapters.Position{}, err
	}
	leader, err := client.Leader(o.state, statePartition)
	if err != nil {
		return adapters.Position{}, err
	}
	s := scan{lane: lane, open: make(map[int64][]byte)}
	for at < end {
		batches, err := fetch(leader, o.state, at)
		if err != nil {
			return adapters.Position{}, err
		}
		for _, b := range batches {
			s.batch(b)
			at = max(at, b.LastOffset()+1)
		}
	}
	p, err := decodePosition(s.last)
	if err != nil {
		return p, o.denied(fmt.Errorf("lane %s: %w", lane, err))
	}
	return p, nil
}

// fetch reads some record batches; with none the broker has kept us waiting for new ones, and there is nothing more.
func fetch(leader *sarama.Broker, topic string, at int64) ([]*sarama.RecordBatch, error) {
	const most = 4 << 20
	req := &sarama.FetchRequest{Version: 11, MaxWaitTime: 250, MinBytes: 1, MaxBytes: most, Isolation: sarama.ReadUncommitted, SessionEpoch: -1}
	req.AddBlock(topic, statePartition, at, most, -1)
	res, err := leader.Fetch(req)
	if err != nil {
		return nil, err
	}
	block := res.GetBlock(topic, statePartition)
	switch {
	case block == nil:
		return nil, sarama.ErrIncompleteResponse
	case block.Err != sarama.ErrNoError:
		return nil, block.Err
	}
	var batches []*sarama.RecordBatch
	for _, set := range block.RecordsSet {
		if set.RecordBatch != nil && !set.RecordBatch.PartialTrailingRecord {
			batches = append(batches, set.RecordBatch)
		}
	}
	if len(batches) == 0 {
		return nil, fmt.Errorf("the broker holds back what is in the topic from offset %d on", at)
	}
	return batches, nil
}

// A scan finds the last committed value of one lane.
type scan struct {
	lane string
	last []byte
	open map[int64][]byte // by producer id: of a transaction that is not decided
}

func (s *scan) batch(b *sarama.RecordBatch) {
	if b.Control {
		s.marker(b)
		return
	}
	for _, r := range b.Records {
		switch {
		case string(r.Key) != s.lane:
		case b.IsTransactional:
			s.open[b.ProducerID] = r.Value
		default:
			s.last = r.Value // by an operator's hand
		}
	}
}

// marker decides the transaction of its producer (Kafka, ControlRecordType: version and type, 16 bits each; 1 is commit).
func (s *scan) marker(b *sarama.RecordBatch) {
	value, ours := s.open[b.ProducerID]
	for _, r := range b.Records {
		if ours && len(r.Key) >= 4 && r.Key[3] == 1 {
			s.last = value
		}
	}
	delete(s.open, b.ProducerID)
}
