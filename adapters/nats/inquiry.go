package nats

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// inquiries are the questions about streams that are on their way. Five hundred routes of one stream all want to know it when
// they start; who comes while an answer is awaited joins the next question, with all others that do. So nobody gets an
// answer that is older than its question. The zero value has none.
type inquiries struct {
	mu   sync.Mutex
	last map[string]*inquiry // by stream
}

// An inquiry is one question, and whoever waits for its answer.
type inquiry struct {
	begun bool          // nobody may join it any more; guarded by inquiries.mu
	done  chan struct{} // closed when there is an answer
	info  *jetstream.StreamInfo
	err   error
}

// ask returns what get learns, or what another one learns who asks after this call. An error belongs to whoever asked: the others
// ask for themselves.
func (q *inquiries) ask(ctx context.Context, name string, get func() (*jetstream.StreamInfo, error)) (*jetstream.StreamInfo, error) {
	in, before, mine := q.join(name)
	if mine {
		if before != nil {
			before.wait(ctx)
		}
		q.begin(in)
		in.info, in.err = get()
		q.end(name, in)
		return in.info, in.err
	}
	if in.wait(ctx); ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if in.err != nil {
		return get()
	}
	return in.info, nil
}

func (in *inquiry) wait(ctx context.Context) {
	select {
	case <-in.done:
	case <-ctx.Done():
	}
}

// join returns the question about name that the caller may join, or makes one, which is the caller's to ask when the one before
// it has its answer.
func (q *inquiries) join(name string) (in, before *inquiry, mine bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last := q.last[name]
	if last != nil && !last.begun {
		return last, nil, false
	}
	if q.last == nil {
		q.last = map[string]*inquiry{}
	}
	in = &inquiry{done: make(chan struct{})}
	q.last[name] = in
	return in, last, true
}

func (q *inquiries) begin(in *inquiry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	in.begun = true
}

func (q *inquiries) end(name string, in *inquiry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last[name] == in {
		delete(q.last, name)
	}
	close(in.done)
}
