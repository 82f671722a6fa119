package bridge

import (
	"encoding/base32"
	"encoding/hex"
	"strings"
)

// The ids of a request go out as text, which does not fit into the 24 bytes of IBM MQ. A hash would: but the reply brings back
// nothing else, and its request must be read from it. So what the text says is packed: a mark, which of the two ids it is, and
// epoch, lane and sequence of the posthouse-id as numbers.

const (
	packedSize = 24
	packedMark = "PHQ"
	packedID   = 'i'
	packedCorr = 'c'
)

// epochCode is how an epoch is written: 64 bits in 13 characters.
var epochCode = base32.HexEncoding.WithPadding(base32.NoPadding)

// packAsked packs the text of AskedID or AskedCorr. ok is false for every other text.
func packAsked(s string) (b []byte, ok bool) {
	text, found := strings.CutPrefix(s, idMark)
	text, byCorr := strings.CutSuffix(text, corrMark)
	parts := strings.Split(text, ".")
	if !found || len(parts) != 3 {
		return nil, false
	}
	b = append([]byte(packedMark), packedID)
	if byCorr {
		b[len(packedMark)] = packedCorr
	}
	epoch, err := epochCode.DecodeString(strings.ToUpper(parts[0]))
	if err != nil {
		return nil, false
	}
	b = append(b, epoch...)
	for _, p := range parts[1:] {
		n, err := hex.DecodeString(p)
		if err != nil {
			return nil, false
		}
		b = append(b, n...)
	}
	back, ok := unpackAsked(b)
	return b, ok && back == s
}

// unpackAsked is the reverse.
func unpackAsked(b []byte) (s string, ok bool) {
	if len(b) != packedSize || string(b[:3]) != packedMark || b[3] != packedID && b[3] != packedCorr {
		return "", false
	}
	s = idMark + strings.ToLower(epochCode.EncodeToString(b[4:12])) + "." + hex.EncodeToString(b[12:16]) + "." + hex.EncodeToString(b[16:])
	if b[3] == packedCorr {
		s += corrMark
	}
	return s, true
}
