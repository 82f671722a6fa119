package kafka

import (
	"context"
	"fmt"
	"strings"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

// metadataPrefix marks the text that a commit carries beside the position: the id of the topic it belongs to.
const metadataPrefix = "posthouse topic-id "

// A position of one partition, to be committed.
type position struct {
	claim  *claim
	offset int64
}

// commit records the positions of cs at the group's coordinator and waits for its answer. The client library's own
// commit reports no errors to its caller, so the request is made here.
func (s *source) commit(ctx context.Context, cs []*claim) error {
	select {
	case s.committing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-s.committing }()
		done <- s.commitNow(s.snapshot(cs))
	}()
	select {
	case err := <-done:
		if err != nil {
			s.fail("settle", err)
			return asLost("settle", s.addr, s.failure())
		}
		return nil
	case <-s.spent:
		return asLost("settle", s.addr, s.failure())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// snapshot reads the positions after the token was taken, so that none goes backwards.
func (s *source) snapshot(cs []*claim) []position {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps := make([]position, 0, len(cs))
	for _, c := range cs {
		if c.due() {
			ps = append(ps, position{c, c.next})
		}
	}
	return ps
}

func (s *source) commitNow(ps []position) error {
	if len(ps) == 0 {
		return nil
	}
	t := ps[0].claim.term
	err := s.requestCommit(t, ps)
	if moved(err) {
		if err = s.control.RefreshCoordinator(s.group); err == nil {
			err = s.requestCommit(t, ps)
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range ps {
		p.claim.committed = max(p.claim.committed, p.offset)
	}
	return nil
}

// moved reports whether the answer only says to look for the coordinator again.
func moved(err error) bool {
	return err == sarama.ErrNotCoordinatorForConsumer || err == sarama.ErrConsumerCoordinatorNotAvailable
}

func (s *source) requestCommit(t *term, ps []position) error {
	b, err := s.control.Coordinator(s.group)
	if err != nil {
		return err
	}
	req := sarama.NewOffsetCommitRequest(s.control.Config(), s.group)
	req.ConsumerGroupGeneration, req.ConsumerID, req.GroupInstanceId = t.generation, t.member, optional(s.instance)
	meta := ""
	if s.facts.topicID != "" {
		meta = metadataPrefix + s.facts.topicID
	}
	for _, p := range ps {
		req.AddBlockWithLeaderEpoch(s.addr.Name, p.claim.partition, p.offset, -1, 0, meta)
	}
	res, err := b.CommitOffset(req)
	if err != nil {
		return err
	}
	for _, p := range ps {
		code, ok := res.Errors[s.addr.Name][p.claim.partition]
		if !ok {
			return sarama.ErrIncompleteResponse
		}
		if code != sarama.ErrNoError {
			return code
		}
	}
	return nil
}

// positions looks at what the group has committed for the partitions of t. A position of another topic id is lost. A
// partition without a position that is to start at the newest message gets one at once: else a stop before the first
// commit would step over what arrives meanwhile.
func (s *source) positions(session sarama.ConsumerGroupSession, t *term) error {
	if len(t.claims) == 0 {
		return nil
	}
	parts := make([]int32, 0, len(t.claims))
	for p := range t.claims {
		parts = append(parts, p)
	}
	res, err := s.fetchPositions(parts)
	if err != nil {
		return err
	}
	var pins []position
	for _, p := range parts {
		block := res.GetBlock(s.addr.Name, p)
		switch {
		case block == nil:
			return sarama.ErrIncompleteResponse
		case block.Err != sarama.ErrNoError:
			return block.Err
		case block.Offset >= 0:
			err = s.sameTopic(p, block.Metadata)
		case s.startAt == sarama.OffsetNewest:
			pins, err = s.pin(session, t.claims[p], pins)
		}
		if err != nil {
			return err
		}
	}
	return s.commitNow(pins)
}

func (s *source) fetchPositions(parts []int32) (*sarama.OffsetFetchResponse, error) {
	b, err := s.control.Coordinator(s.group)
	if err != nil {
		return nil, err
	}
	return b.FetchOffset(sarama.NewOffsetFetchRequest(protocolVersion, s.group, map[string][]int32{s.addr.Name: parts}))
}

func (s *source) sameTopic(partition int32, metadata string) error {
	id, ok := strings.CutPrefix(metadata, metadataPrefix)
	if !ok || s.facts.topicID == "" || id == s.facts.topicID {
		return nil
	}
	return &adapters.Error{Op: "attach", Addr: s.addr, Kind: adapters.Denied, Err: fmt.Errorf("%w: the topic was deleted and made again; "+
		"the position of group %s in partition %d belongs to the old one: set it with kafka-consumer-groups --reset-offsets", errPosition, s.group, partition)}
}

func (s *source) pin(session sarama.ConsumerGroupSession, c *claim, pins []position) ([]position, error) {
	offset, err := s.control.GetOffset(s.addr.Name, c.partition, sarama.OffsetNewest)
	if err != nil {
		return nil, err
	}
	session.MarkOffset(s.addr.Name, c.partition, offset, "") // where the library starts to read; it commits nothing itself
	return append(pins, position{c, offset}), nil
}
