package kafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

var errClock = errors.New("the timestamp is that of this machine's clock: set the clock, or widen the topic's message.timestamp.*.max.ms")

// ownStamp reports whether the record of m carries the time at which its producer has made it. Another one is stamped with
// ours: Kafka refuses what seems to come from too far in the future.
func ownStamp(m *adapters.Message, now time.Time) bool {
	return m.Created > 0 && m.Created-now.UnixMilli() <= futureLimit
}

// blameClock is err, the fate of m. Where the broker has refused a timestamp that is ours, m is not to blame and must not
// become a dead letter: the lane waits until somebody has set the clock (C18).
func (s *sender) blameClock(m *adapters.Message, err error) error {
	if !errors.Is(err, sarama.ErrInvalidTimestamp) || ownStamp(m, s.now()) {
		return err
	}
	return &adapters.Error{Op: "send", Addr: s.addr, Kind: adapters.Denied, Err: fmt.Errorf("%w: %w", errClock, reason(err))}
}

// reason is what err says without the kind that it had.
func reason(err error) error {
	var e *adapters.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
