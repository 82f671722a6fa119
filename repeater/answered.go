package repeater

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/bridge"
	"github.com/posthouse/posthouse/spool"
)

// What is remembered of requests that are answered: a responder that gets a request twice answers twice, and what a daemon has
// not settled before it died comes again. Such a reply is a repeat, no second one, and its requester has it: it is dropped and
// counted. The requests that were answered lately are written together, as one record of the table, before their own records
// are marked done. So at every moment the journal knows each of them as outstanding or as answered.

// sheetSize is how many answered requests one record has at most. While one is written the next ones gather.
const sheetSize = 1024

// sheetType tells the record of a sheet from that of a request.
const sheetType = "answered"

// A sheet is one record of answered requests.
type sheet struct {
	seq  uint64 // of the record; 0 while it has none
	left int    // of its requests that are remembered
}

// An answered is one request of a sheet, in its record.
type answered struct {
	Track  string `json:"t"`
	Digest uint64 `json:"d"`
	Again  bool   `json:"a,omitempty"`
}

// digest tells replies apart by what they say.
func digest(m *adapters.Message) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(m.Body.Form)}) // hash.Hash never returns an error
	_, _ = h.Write(m.Body.Data)
	return h.Sum64()
}

// repeats reports whether a further reply says nothing new: its request may have been asked twice, or it says the same. mu is
// held.
func (e *asked) repeats(d uint64) bool {
	return (e.answers > 0 || e.state == askedAnswered) && (e.again || e.digest == d)
}

// isAnswered takes an entry to those that are answered. mu is held.
func (t *replies) isAnswered(e *asked) {
	if t.lane == nil || t.closed {
		t.unwrite(e)
		return
	}
	t.fresh = append(t.fresh, e)
	signal(t.wake)
}

// flush writes the answered requests, unless others are being written; with closing none is taken from then on.
func (t *replies) flush(closing bool) {
	t.mu.Lock()
	t.closed = t.closed || closing
	n := min(len(t.fresh), sheetSize)
	if closing {
		n = len(t.fresh)
	}
	if n == 0 || t.writing && !closing {
		t.mu.Unlock()
		return
	}
	t.writing = true
	it := t.write(t.fresh[:n:n])
	t.fresh = t.fresh[n:]
	t.mu.Unlock()
	t.lane.push([]*item{it})
}

// write makes the record of a sheet. mu is held.
func (t *replies) write(es []*asked) *item {
	sh, list := &sheet{}, make([]answered, 0, len(es))
	for _, e := range es {
		list = append(list, answered{e.track, e.digest, e.again})
		if e.state == askedAnswered { // or it has been forgotten meanwhile
			e.sheet = sh
			sh.left++
		}
	}
	data, _ := json.Marshal(list) // of strings and numbers
	m := &adapters.Message{Type: sheetType, Body: adapters.Body{Form: adapters.BodyBytes, Data: data}}
	id := t.lane.ids.next()
	t.sheets[id] = func(seq uint64) {
		sh.seq, t.writing = seq, false
		signal(t.wake)
		for _, e := range es {
			t.unwrite(e)
		}
		t.lighten(sh, 0)
	}
	return &item{m: m, size: m.Size(), at: time.Now(), lane: t.lane, id: id, settled: true}
}

// lighten notes that n requests of a sheet are forgotten. With the last one its record goes. mu is held.
func (t *replies) lighten(sh *sheet, n int) {
	if sh == nil {
		return
	}
	if sh.left -= n; sh.left == 0 && sh.seq != 0 {
		t.lane.store.done(sh.seq)
	}
}

// readSheet takes in a sheet of an earlier life, if rec is one. What it has as answered is not outstanding, though its own
// record may be there still.
func (t *replies) readSheet(rec spool.Item, m *adapters.Message, gone time.Duration) bool {
	if m.Type != sheetType {
		return false
	}
	var list []answered
	_ = json.Unmarshal(m.Body.Data, &list) // what cannot be read is as good as forgotten
	until := time.Now().Add(keepLate*t.bridge.Timeout - gone)
	t.mu.Lock()
	defer t.mu.Unlock()
	sh := &sheet{seq: rec.Seq}
	for _, a := range list {
		e := t.asked[a.Track]
		if e == nil {
			e = &asked{track: a.Track, erased: true}
			t.asked[a.Track] = e
		} else {
			t.open--
			t.unwrite(e)
		}
		e.state, e.digest, e.again, e.sheet, e.deadline = askedAnswered, a.Digest, a.Again || t.crashed, sh, until
		sh.left++
		t.past = append(t.past, e)
	}
	t.trim()
	t.lighten(sh, 0)
	return true
}

// trim forgets the oldest of those that are over, if there are too many. mu is held.
func (t *replies) trim() {
	for len(t.past) > t.bridge.MaxOutstanding {
		t.drop(t.past[0])
		t.past[0] = nil
		t.past = t.past[1:]
	}
}

// digestName is the property of an entry's record that tells requests with the same ids apart.
const digestName = "digest"

// sourceKey is what a request is known by that its source gives out again: the source's own name for it, or else all that it
// says.
func sourceKey(source string, q *bridge.Question, sum uint64) string {
	if source != "" {
		return "id " + source
	}
	return fmt.Sprintf("%d %+v %+v %s", sum, q.ID, q.Corr, q.ReplyTo.Name)
}

// comesAgain returns the id that p's request has here, if an earlier life received it and has not settled it; "" if it is new,
// or if nobody can tell. Under the same id a target that remembers ids drops it, and a reply to either is a reply to both.
func (t *replies) comesAgain(p *parcel, q *bridge.Question, sum uint64) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.earlier) == 0 || p.d.SourceID == "" && p.d.Attempt <= 1 {
		return ""
	}
	key := sourceKey(p.d.SourceID, q, sum)
	e := t.earlier[key]
	if delete(t.earlier, key); e == nil || e.state != askedOpen {
		return ""
	}
	e.again = true
	return e.track
}

// askedAgain notes that a request is sent a second time, for nobody knows whether the first time it arrived.
func (t *replies) askedAgain(track string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.asked[track]; e != nil {
		e.again = true
	}
}
