package ibmmq

import (
	"errors"
	"fmt"

	"github.com/posthouse/posthouse/adapters"
)

// The queue manager counts how often a message was backed out and does nothing about it: to set a message aside that comes
// again and again is the application's duty (IBM MQ, "Backing out messages").

// rejectedCode is the reason in the MQDLH of a message that was settled with Rejected.
const rejectedCode = feedbackFirst + 1

// A backout is what a queue says about such messages, BOTHRESH and BOQNAME.
type backout struct {
	threshold int32 // 0 = never
	queue     string
}

func (b backout) reached(w *Wire) bool { return b.threshold > 0 && w.MD.BackoutCount >= b.threshold }

// askQueue reads them. For an alias it asks the base queue; the name returned is that of the queue that was asked.
func askQueue(l *link, q object) (backout, string, error) {
	name := l.at.Name
	kind, err := q.inquire(mqiaQueueType)
	if err != nil {
		return backout{}, "", err
	}
	if number(kind[mqiaQueueType]) == mqqtAlias {
		got, err := q.inquire(mqcaBaseQueue)
		if err != nil {
			return backout{}, "", err
		}
		name = text(got[mqcaBaseQueue])
		if q, err = l.conn.open(objectName{queue: name}, mqooInquire); err != nil {
			return backout{}, "", err
		}
		defer func() { _ = q.close() }() // a handle that is not closed ends with the connection
	}
	got, err := q.inquire(mqiaBackoutThreshold, mqcaBackoutQueue)
	if err != nil {
		return backout{}, "", err
	}
	return backout{number(got[mqiaBackoutThreshold]), text(got[mqcaBackoutQueue])}, name, nil
}

// setAside puts w, which was got last and backed out too often, where the queue says, in the unit of work that got it.
func (s *source) setAside(w *Wire) error {
	if err := s.putAside(w, mqrcBackoutThreshold); err != nil {
		_ = s.conn.back()
		return classify("receive", s.at, err)
	}
	s.cfg.Log.Warn("a message was backed out too often and is set aside", "queue", s.name, "msg_id", fmt.Sprintf("%x", w.MD.MsgID), "times", w.MD.BackoutCount)
	return nil
}

// putAside puts w, which was got last, to the backout queue, or with an MQDLH to the dead-letter queue of the queue manager.
func (s *source) putAside(w *Wire, reason int32) error {
	var errs []error
	if q := s.backout.queue; q != "" {
		err := s.putTo(q, *w)
		if err == nil || kindOf(err) == adapters.Lost {
			return err
		}
		errs = append(errs, fmt.Errorf("backout queue %s: %w", q, err))
	}
	if q := s.facts.deadLetters; q != "" {
		err := s.putTo(q, withDLH(*w, DLH{Reason: reason, Queue: s.name, Manager: s.facts.name, ApplName: s.cfg.Options.String(keyApplication, "posthouse"), Put: s.cfg.Now()}, s.facts.ccsid))
		if err == nil || kindOf(err) == adapters.Lost {
			return err
		}
		errs = append(errs, fmt.Errorf("dead-letter queue %s: %w", q, err))
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("the queue has no BOQNAME and the queue manager no DEADQ"))
	}
	return &adapters.Error{Op: "settle", Addr: s.at, Kind: adapters.Denied,
		Err: fmt.Errorf("a message has to be set aside and there is no place for it: %w: ALTER QLOCAL(%s) BOQNAME(...), or make room there", errors.Join(errs...), s.name)}
}

// putTo puts w in the unit of work, with the context of the message that was got last.
func (s *source) putTo(queue string, w Wire) error {
	q, err := s.conn.open(objectName{queue: queue}, mqooOutput|mqooPassAllContext)
	if err != nil {
		return err
	}
	err = q.put(w, putOptions{context: passContext, from: s.queue})
	return errors.Join(err, q.close())
}
