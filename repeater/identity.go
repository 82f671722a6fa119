package repeater

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"strings"
	"sync/atomic"
)

// identity makes posthouse-ids: EPOCH.LANE.SEQUENCE (delivery.md, section 2). Without a spool directory to keep it in,
// the epoch is random for every start, so that no id is ever given twice.
type identity struct {
	epoch string
	lanes atomic.Uint32
}

// epochBits is 64 bits as 13 characters of [a-v0-9].
func newIdentity() *identity {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never returns an error (Go 1.24)
	enc := base32.HexEncoding.WithPadding(base32.NoPadding)
	return &identity{epoch: strings.ToLower(enc.EncodeToString(b[:]))}
}

// laneIDs gives the ids of one lane. Only the flow's receiving goroutine may call next.
type laneIDs struct {
	prefix string
	seq    uint64
}

func (i *identity) lane() *laneIDs {
	n := i.lanes.Add(1)
	lane := hex.EncodeToString([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	return &laneIDs{prefix: i.epoch + "." + lane + "."}
}

func (l *laneIDs) next() string {
	l.seq++
	var b [8]byte
	for i := range b {
		b[i] = byte(l.seq >> (56 - 8*i))
	}
	buf := make([]byte, 0, len(l.prefix)+16)
	buf = append(buf, l.prefix...)
	return string(hex.AppendEncode(buf, b[:]))
}
