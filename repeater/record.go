package repeater

import (
	"fmt"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/spool"
)

// A record of the journal holds one message for one lane. Its body is the binary form of the canonical message, whose
// Track.ID is the posthouse-id that it keeps for every send. Its id is the source's own name for the delivery; of a
// dead letter, why it is one.

// RecordMaybe is a flag of a record: its message was sent before it was spooled, and nobody knows whether it arrived.
const RecordMaybe uint16 = 1

// RecordCertain is a flag of a record: since it was written its route has promised exactly-once or at-most-once. One
// without it may have been sent before under another promise.
const RecordCertain uint16 = 2

// encodeRecord makes the record of it.
func encodeRecord(it *item) (spool.Record, error) {
	m := *it.m
	m.Track.ID = it.id
	if m.Track.Origin == "" {
		m.Track.Origin = it.id
	}
	if m.Received == 0 {
		m.Received = it.at.UnixMilli()
	}
	body, err := m.AppendBinary(make([]byte, 0, it.size))
	if err != nil {
		return spool.Record{}, err
	}
	r := spool.Record{Body: body}
	if it.maybe {
		r.Flags = RecordMaybe
	}
	if certain(it.lane.of.route.Delivery) {
		r.Flags |= RecordCertain
	}
	switch {
	case it.dead != nil:
		r.ID = encodeDead(it.dead)
	case it.p != nil:
		r.ID = []byte(it.p.d.SourceID)
	}
	return r, nil
}

// DecodeRecord returns the message of a record that a lane has written. It keeps body.
func DecodeRecord(body []byte) (*adapters.Message, error) {
	m := new(adapters.Message)
	if err := m.UnmarshalBinary(body); err != nil {
		return nil, fmt.Errorf("record of the spool: %w", err)
	}
	return m, nil
}

// decodeItem makes an item of l of what the journal gave back.
func (l *lane) decodeItem(rec spool.Item) (*item, error) {
	m, err := DecodeRecord(rec.Body)
	if err != nil {
		return nil, err
	}
	return &item{
		m: m, size: m.Size(), at: time.UnixMilli(m.Received), lane: l, id: m.Track.ID,
		maybe: rec.Flags&RecordMaybe != 0, certain: rec.Flags&RecordCertain != 0, key: l.keyOf(m), seq: rec.Seq, dead: DecodeDead(rec.ID),
	}, nil
}
