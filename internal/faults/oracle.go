package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Headers of the oracle. They are text, which every protocol carries as it is.
const (
	headerID     = "oracle-id"  // LANE/SEED/NUMBER
	headerKey    = "oracle-key" // of the ordering key
	headerKeySeq = "oracle-key-number"
	headerWord   = "oracle-word" // made up
	headerSum    = "oracle-sum"  // of the body and the headers above
	headerPrefix = "oracle-"
)

// Headers of Posthouse that the checker looks at.
const (
	headerPosthouseID = "posthouse-id"
	headerPossibleDup = "posthouse-possible-duplicate"
	headerDeadTries   = "posthouse-dead-attempts"
)

const (
	keys    = 7     // ordering keys of a lane
	minBody = 1024  // bytes
	maxBody = 15360 // so that a thousand messages are some 8 MiB
)

// An oracle makes the messages of one run. All that is in a message follows from the seed, its lane and its number.
type oracle struct {
	seed   uint64
	small  bool // bodies of some hundred bytes
	huge   bool // bodies of 64 MiB
	poison int  // every so many-th message is larger than the target takes; 0 = none
}

// Bodies of small oracles. A target that refuses what is larger than refusedBody makes poison of some.
const (
	smallBody   = 512
	refusedBody = 4096
	poisonBody  = 8192
	hugeBody    = 64<<20 - 16<<10 // with its headers 64 MiB
)

// poisonous reports whether the target refuses message n.
func (o oracle) poisonous(n int) bool { return o.poison > 0 && n%o.poison == o.poison/2 }

// bodySize is how long the body of message n is.
func (o oracle) bodySize(n int, r *rand.Rand) int {
	switch {
	case o.poisonous(n):
		return poisonBody
	case o.huge:
		return hugeBody
	case o.small:
		return smallBody/4 + r.IntN(smallBody)
	}
	return minBody + r.IntN(maxBody-minBody+1)
}

// A message as it travels: what every protocol has.
type message struct {
	headers map[string]string
	body    []byte
}

// make returns message n of a lane, from 0.
func (o oracle) make(lane string, n int) message {
	source := rand.NewChaCha8(sha256.Sum256(fmt.Appendf(nil, "%x/%s/%d", o.seed, lane, n)))
	r := rand.New(source)
	m := message{body: make([]byte, o.bodySize(n, r))}
	_, _ = source.Read(m.body) // ChaCha8.Read never returns an error
	m.headers = map[string]string{
		headerID:     fmt.Sprintf("%s/%x/%d", lane, o.seed, n),
		headerKey:    keyOf(n),
		headerKeySeq: strconv.Itoa(n / keys),
		headerWord:   strconv.FormatUint(r.Uint64(), 36),
	}
	m.headers[headerSum] = m.sum()
	return m
}

func keyOf(n int) string { return fmt.Sprintf("key-%d", n%keys) }

// sum is the checksum of the body and the oracle's headers.
func (m message) sum() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(m.headers)) {
		if strings.HasPrefix(name, headerPrefix) && name != headerSum {
			fmt.Fprintf(h, "%s=%q\n", name, m.headers[name])
		}
	}
	h.Write(m.body)
	return hex.EncodeToString(h.Sum(nil))
}

// read says what a message is that came at the target of a lane.
func (o oracle) read(lane string, m message) arrival {
	a := arrival{number: -1, id: m.headers[headerPosthouseID], flagged: m.headers[headerPossibleDup] == "true"}
	a.tries, _ = strconv.Atoi(m.headers[headerDeadTries]) // none is none
	part := strings.Split(m.headers[headerID], "/")
	if len(part) != 3 || part[1] != strconv.FormatUint(o.seed, 16) {
		a.wrong, a.detail = foreign, fmt.Sprintf("%s %q, %d bytes", headerID, m.headers[headerID], len(m.body))
		return a
	}
	n, err := strconv.Atoi(part[2])
	if err != nil || n < 0 {
		a.wrong, a.detail = foreign, fmt.Sprintf("%s %q", headerID, m.headers[headerID])
		return a
	}
	a.number = n
	switch what := o.make(part[0], n).differs(m); {
	case what != "":
		a.wrong, a.detail = corrupt, fmt.Sprintf("message %d: %s", n, what)
	case part[0] != lane:
		a.wrong, a.detail = misrouted, fmt.Sprintf("message %d of lane %s is at lane %s", n, part[0], lane)
	case a.id == "":
		a.wrong, a.detail = corrupt, fmt.Sprintf("message %d: no %s", n, headerPosthouseID)
	}
	return a
}

// differs says what of got is not as in m, empty if nothing.
func (m message) differs(got message) string {
	if sum := got.headers[headerSum]; sum != got.sum() {
		return fmt.Sprintf("its checksum %q does not fit", sum)
	}
	for name, want := range m.headers {
		if got.headers[name] != want {
			return fmt.Sprintf("header %s is %q, want %q", name, got.headers[name], want)
		}
	}
	if !bytes.Equal(m.body, got.body) {
		return fmt.Sprintf("another body (%d bytes, want %d)", len(got.body), len(m.body))
	}
	return ""
}
