package kafka

import (
	"sync/atomic"

	"github.com/IBM/sarama"
)

// A spread moves messages without a key on to the next partition with every Post: batches form, and the order of one
// Post is kept.
type spread struct{ n atomic.Int32 }

func (s *spread) next() int32 { return s.n.Add(1) & 0x7fffffff }

// A choice is the partition that a message has chosen; the zero value: none, its key decides.
type choice struct {
	made      bool
	partition int32
}

// A partitioner puts messages with a key where the Java client puts them, others where their Post goes. A reply goes where its
// requester reads.
type partitioner struct{ keyed sarama.Partitioner }

// Partition chooses among n.
func (p *partitioner) Partition(m *sarama.ProducerMessage, n int32) (int32, error) {
	l, ok := m.Metadata.(*letter)
	switch {
	case ok && l.chosen.made:
		return l.chosen.partition, nil
	case ok && m.Key == nil:
		return l.sticky % n, nil
	}
	return p.keyed.Partition(m, n)
}

// RequiresConsistency says that a key counts all partitions, not only those with a leader.
func (p *partitioner) RequiresConsistency() bool { return true }

// MessageRequiresConsistency is the same for one message: without a key any partition that can be written will do.
func (p *partitioner) MessageRequiresConsistency(m *sarama.ProducerMessage) bool {
	l, ok := m.Metadata.(*letter)
	return m.Key != nil || ok && l.chosen.made
}
