package repeater

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes"
)

// What operators do with dead letters that are kept in the journal. A dead letter is marked done only when the message is
// elsewhere: with a target, in a lane's part of the journal, or, given up by name, in the audit log. What ends half way leaves
// it where it is; so a crash between the two may leave a dead letter whose message was delivered.

// A DeadAction is what is done with dead letters.
type DeadAction string

// The actions.
const (
	DeadRetry   DeadAction = "retry"   // send them again, through the lane that they come from
	DeadMove    DeadAction = "move"    // send them to another place, with their reasons
	DeadDiscard DeadAction = "discard" // give them up
)

// Why nothing was done.
var (
	ErrNotKept   = errors.New("dead letters of this route are not kept here: they go to the place that the file names")
	ErrCount     = errors.New("there are not as many messages as was said")
	ErrSelect    = errors.New("it is not said which messages are meant")
	ErrRequests  = errors.New("requests and replies of a bridge cannot be sent again: nobody waits for them")
	errNoWay     = errors.New("no lane of its route would take it")
	errLaneGone  = errors.New("the lane that it comes from is gone")
	errTaken     = errors.New("somebody else has just taken it")
	errReturned  = errors.New("the route has stopped before it could take the message")
	errAgainDead = errors.New("it was refused again, and is another dead letter now")
)

// A DeadAsk says what is to be done.
type DeadAsk struct {
	Route  string
	Action DeadAction
	Selection
	All    bool             // every one is meant, where the Selection is empty
	To     adapters.Address // of move
	Expect *int             // as many must be selected; nil: any number
	DryRun bool             // count only
	By     string
	Why    string
}

// A DeadDone says what became of it. A message that is none of Done, Failed and Pending was not there any more.
type DeadDone struct {
	Route    string     `json:"route"`
	Action   DeadAction `json:"action"`
	DryRun   bool       `json:"dry_run"`
	Selected int        `json:"selected"` // messages that are meant
	Done     int        `json:"done"`     // of them: delivered, or in the journal for their lane; moved; discarded
	Failed   int        `json:"failed"`   // they stay dead letters
	Pending  int        `json:"pending"`  // they are under way: what becomes of them is seen later
	Failures []Failure  `json:"failures"` // of the first hundred of Failed
}

// A Failure says why a message stays where it is.
type Failure struct {
	Seq   uint64 `json:"seq"`
	Error string `json:"error"`
}

// mostFailures are told.
const mostFailures = 100

// deadBatch is how many are under way together.
const deadBatch = 128

func (d *DeadDone) failed(seq uint64, err error) {
	if d.Failed++; len(d.Failures) < mostFailures {
		d.Failures = append(d.Failures, Failure{seq, err.Error()})
	}
}

// DeadLetters does something with dead letters. It goes on until all are through, or ctx ends: what is under way then is
// Pending. Its errors refuse it as a whole, before anything is done: ErrNoSpool, ErrNotYet, ErrNoRoute, ErrNotKept, ErrSelect, ErrCount,
// ErrRequests, *FilterError.
func (r *Repeater) DeadLetters(ctx context.Context, a DeadAsk) (DeadDone, error) {
	out := DeadDone{Route: a.Route, Action: a.Action, DryRun: a.DryRun, Failures: []Failure{}}
	if a.Empty() && !a.All {
		return out, ErrSelect
	}
	run, err := r.keeps(a.Route)
	if err != nil {
		return out, err
	}
	if a.Action == DeadRetry && (run.route.Asks != nil || run.route.Answers != nil) {
		return out, fmt.Errorf("route %s: %w", a.Route, ErrRequests)
	}
	seqs, err := r.selected(ctx, run.dead.name, a.Selection)
	out.Selected = len(seqs)
	switch {
	case err != nil:
		return out, err
	case a.Expect != nil && *a.Expect != len(seqs):
		return out, fmt.Errorf("%w: %d are there, not %d", ErrCount, len(seqs), *a.Expect)
	case a.DryRun || len(seqs) == 0:
		return out, nil
	}
	defer func() {
		r.opts.Log.Warn(msgDead, "route", a.Route, "action", string(a.Action), "messages", out.Done, "failed", out.Failed, "by", a.By, "reason", a.Why)
	}()
	for batch := range slices.Chunk(seqs, deadBatch) {
		if ctx.Err() != nil {
			break
		}
		if run, err = r.keeps(a.Route); err != nil { // a reload may have come between
			return out, nil
		}
		r.batch(ctx, &a, run, batch, &out)
	}
	sync, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := r.journal.open().Sync(sync); err != nil {
		return out, fmt.Errorf("what was done is not noted in the journal: %w", err)
	}
	return out, nil
}

// keeps finds a route whose dead letters are in the journal.
func (r *Repeater) keeps(route string) (*routeRun, error) {
	if r.journal == nil {
		return nil, ErrNoSpool
	}
	if r.journal.open() == nil {
		return nil, ErrNotYet
	}
	_, run := r.runOf(route)
	switch {
	case run == nil || run.route.Name != route:
		return nil, fmt.Errorf("%q: %w", route, ErrNoRoute)
	case run.dead == nil || !run.dead.local:
		return nil, fmt.Errorf("route %s: %w", route, ErrNotKept)
	}
	return run, nil
}

// selected are the sequences that are meant.
func (r *Repeater) selected(ctx context.Context, lane string, want Selection) (seqs []uint64, err error) {
	j, err := r.laneOf(lane)
	if errors.Is(err, ErrNoLane) { // it never had one
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := newScan(j, want, r.opts.Name)
	if err != nil {
		return nil, err
	}
	err = s.each(ctx, 1, func(f record) bool {
		if f.matches {
			seqs = append(seqs, f.Seq)
		}
		return want.Limit == 0 || len(seqs) < want.Limit
	})
	return seqs, err
}

// batch does what is asked with some letters of a route.
func (r *Repeater) batch(ctx context.Context, a *DeadAsk, run *routeRun, seqs []uint64, out *DeadDone) {
	b := run.dead.store
	var letters []*letter
	for _, seq := range seqs {
		l, err := b.takeLetter(seq)
		switch {
		case err != nil:
			out.failed(seq, err)
		case l != nil:
			letters = append(letters, l)
		}
	}
	switch a.Action {
	case DeadRetry:
		run.retry(ctx, letters, out)
	case DeadMove:
		r.move(ctx, a.To, run, letters, out)
	default:
		for _, l := range letters {
			l.end(true)
			out.Done++
		}
	}
}

// A letter is a dead letter that somebody has taken to do something with it, or a message of an orphan.
type letter struct {
	record
	b    *store                 // of a dead letter
	done func(seq uint64) error // marks that of an orphan
}

// takeLetter takes record seq; nil if it is not there any more.
func (b *store) takeLetter(seq uint64) (*letter, error) {
	b.l.mu.Lock()
	if b.claimed[seq] {
		b.l.mu.Unlock()
		return nil, errTaken
	}
	if b.claimed == nil {
		b.claimed = map[uint64]bool{}
	}
	b.claimed[seq] = true
	b.l.mu.Unlock()
	l := &letter{b: b}
	rec, ready, err := b.j.Reader(seq).TryNext()
	s := scan{j: b.j}
	if l.record = s.judge(rec, err); err == nil && (ready != nil || rec.Seq != seq) {
		l.Seq = seq
		l.end(false)
		return nil, nil
	}
	l.Seq = seq
	return l, nil
}

// end lets the letter go: done, or for somebody else to take.
func (l *letter) end(done bool) {
	if l.b == nil {
		if done {
			_ = l.done(l.Seq) // it was read there
		}
		return
	}
	if done {
		l.b.done(l.Seq)
	}
	l.b.l.mu.Lock()
	defer l.b.l.mu.Unlock()
	delete(l.b.claimed, l.Seq)
	l.b.l.note(nil)
}

// retry sends letters again and waits for their answers.
func (r *routeRun) retry(ctx context.Context, letters []*letter, out *DeadDone) {
	type answer struct {
		l   *letter
		err error
	}
	answers := make(chan answer, len(letters))
	open := map[*letter]bool{}
	for _, l := range letters {
		err := r.again(l, func(err error) { answers <- answer{l, err} })
		if err != nil {
			l.end(false)
			out.failed(l.Seq, err)
			continue
		}
		open[l] = true
	}
	for len(open) > 0 {
		select {
		case a := <-answers:
			if delete(open, a.l); a.err != nil {
				out.failed(a.l.Seq, a.err)
			} else {
				out.Done++
			}
		case <-ctx.Done():
			out.Pending += len(open)
			return
		}
	}
}

// again gives a letter to the lanes that are to have it. told is called once, when all have answered, and the letter has been let go.
func (r *routeRun) again(l *letter, told func(error)) error {
	if l.m == nil {
		return l.err
	}
	lanes, m, err := r.lanesFor(l)
	if err != nil {
		return err
	}
	if r.route.Delivery == routes.AtMostOnce { // it must not be found again when nobody knows whether it has arrived
		return r.atMostOnceMore(l, lanes, m, told)
	}
	j := &joint{open: len(lanes), end: func(done bool, err error) { l.end(done); told(err) }}
	for _, to := range lanes {
		it := r.itemOf(l, to, m)
		it.told = j.answered
		to.push([]*item{it})
	}
	return nil
}

// itemOf makes an item of a letter.
func (r *routeRun) itemOf(l *letter, to *lane, m *adapters.Message) *item {
	own := *m
	own.Received = time.Now().UnixMilli() // or it would be too old for max_age
	return &item{m: &own, size: own.Size(), at: time.Now(), lane: to, id: own.Track.ID, maybe: l.Flags&RecordMaybe != 0, key: to.keyOf(&own)}
}

// atMostOnceMore marks the letter done, on disk, before it is sent.
func (r *routeRun) atMostOnceMore(l *letter, lanes []*lane, m *adapters.Message, told func(error)) error {
	l.end(true)
	if err := l.b.journal.Sync(context.Background()); err != nil {
		return err
	}
	for _, to := range lanes {
		it := r.itemOf(l, to, m)
		it.settled = true
		to.push([]*item{it})
	}
	told(nil)
	return nil
}

// lanesFor are the lanes that get a letter: the one that it comes from, or, if no lane had it, those that the route gives it
// now.
func (r *routeRun) lanesFor(l *letter) ([]*lane, *adapters.Message, error) {
	if l.b != nil && l.dead != nil && l.dead.Lane != r.dead.name {
		i := slices.IndexFunc(r.lanes, func(o *lane) bool { return o.name == l.dead.Lane })
		if i < 0 {
			return nil, nil, fmt.Errorf("%w: %s", errLaneGone, l.dead.Lane)
		}
		return r.lanes[i : i+1], l.m, nil
	}
	d := routes.Decide(nil, []*routes.Route{r.route}, l.m)[0]
	if d.Verdict != routes.Taken {
		return nil, nil, errors.Join(errNoWay, d.Err)
	}
	m := l.m.WithEdits(d.Edits)
	lanes := r.lanes
	if r.route.ByOne() {
		value, err := r.valueOf(m)
		if err != nil {
			return nil, nil, err
		}
		lanes = []*lane{r.pick(value, nil)}
	}
	for _, to := range lanes {
		var err error
		if m, err = to.placed(m); err != nil {
			return nil, nil, err
		}
	}
	return lanes, m, nil
}

// A joint waits for the answers of several lanes for one message.
type joint struct {
	end func(done bool, err error)

	mu   sync.Mutex
	open int
	left bool // some lane has not got it
	err  error
}

// answered notes what became of the message in one lane.
func (j *joint) answered(st itemState) {
	j.mu.Lock()
	switch st {
	case itemConfirmed:
	case itemBuried: // there is another dead letter in its place
		j.err = errors.Join(j.err, errAgainDead)
	default:
		j.left, j.err = true, errors.Join(j.err, errReturned)
	}
	j.open--
	over, done, err := j.open == 0, !j.left, j.err
	j.mu.Unlock()
	if over {
		j.end(done, err)
	}
}
