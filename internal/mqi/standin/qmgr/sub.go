package qmgr

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posthouse/posthouse/internal/mqi/standin/mqc"
)

// subscription is a managed durable one: its publications wait on a queue of its own.
type subscription struct {
	Name, Topic, Queue string
	inUse              bool
}

// subscribe is MQSUB, for managed durable subscriptions with a name.
func (c *conn) subscribe(in *request, out *reply) code {
	var sd subDesc
	raw := in.bytes()
	read(&sd, raw)
	sd.topic, sd.name = in.text(), in.text()
	c.m.mu.Lock()
	s, wait, res := c.m.subscription(sd)
	if res != done {
		c.m.mu.Unlock()
		return res
	}
	s.inUse = true
	q := c.m.queueFor(s.Queue)
	q.inputs++
	obj := c.hold(&handle{q: q, def: q.def, options: mqc.OO_INPUT_SHARED | mqc.OO_INQUIRE | mqc.OO_BROWSE, cursor: start})
	sub := c.hold(&handle{sub: s})
	c.m.mu.Unlock()
	if wait() != nil {
		return failed(mqc.RC_RESOURCE_PROBLEM)
	}
	out.bytes(write(&sd, raw))
	out.bytes([]byte(s.Topic))
	out.long(obj)
	out.long(sub)
	return done
}

// subscription finds or makes what sd asks for.
func (m *Manager) subscription(sd subDesc) (*subscription, func() error, code) {
	durable := int32(mqc.SO_DURABLE | mqc.SO_MANAGED)
	s := m.subs[sd.name]
	switch {
	case sd.options&durable != durable || sd.name == "":
		return nil, nothing, failed(mqc.RC_FUNCTION_NOT_SUPPORTED) // by the stand-in
	case s == nil && sd.options&mqc.SO_CREATE == 0:
		return nil, nothing, failed(mqc.RC_NO_SUBSCRIPTION)
	case s != nil && sd.options&mqc.SO_RESUME == 0:
		return nil, nothing, failed(mqc.RC_SUB_ALREADY_EXISTS)
	case s != nil && s.inUse:
		return nil, nothing, failed(mqc.RC_SUBSCRIPTION_IN_USE)
	case s != nil:
		return s, nothing, done
	case sd.topic == "":
		return nil, nothing, failed(mqc.RC_TOPIC_STRING_ERROR)
	}
	m.ids++
	s = &subscription{Name: sd.name, Topic: sd.topic, Queue: fmt.Sprintf("SYSTEM.MANAGED.DURABLE.%016X", m.ids)}
	def := Queue{Name: s.Queue}
	m.define(def)
	m.subs[s.Name] = s
	wait, err := m.log(&record{Define: &def, Sub: s})
	if err != nil {
		return nil, nothing, failed(mqc.RC_RESOURCE_PROBLEM)
	}
	return s, wait, done
}

// unsubscribe removes a subscription and what waits for it.
func (m *Manager) unsubscribe(s *subscription) code {
	delete(m.subs, s.Name)
	delete(m.queues, s.Queue)
	if _, err := m.log(&record{Unsub: s.Name}); err != nil {
		return failed(mqc.RC_RESOURCE_PROBLEM)
	}
	return done
}

// subscribers are the queues that a publication goes to.
func (m *Manager) subscribers(topic string) []*queue {
	var qs []*queue
	for _, s := range m.subs {
		if topicMatches(strings.Split(s.Topic, "/"), strings.Split(topic, "/")) {
			qs = append(qs, m.queueFor(s.Queue))
		}
	}
	return qs
}

// topicMatches compares level by level: + stands for one level, # for any number of them.
func topicMatches(pattern, topic []string) bool {
	switch {
	case len(pattern) == 0:
		return len(topic) == 0
	case pattern[0] == "#":
		return topicMatches(pattern[1:], topic) || len(topic) > 0 && topicMatches(pattern, topic[1:])
	case len(topic) == 0:
		return false
	}
	return (pattern[0] == "+" || pattern[0] == topic[0]) && topicMatches(pattern[1:], topic[1:])
}

// Subscribe makes a managed durable subscription without connecting, for tests.
func (m *Manager) Subscribe(name, topic string) error {
	m.mu.Lock()
	_, wait, res := m.subscription(subDesc{options: mqc.SO_DURABLE | mqc.SO_MANAGED | mqc.SO_CREATE | mqc.SO_RESUME, name: name, topic: topic})
	m.mu.Unlock()
	if res != done {
		return fmt.Errorf("subscribe %s to %s: reason %d", name, topic, res.reason)
	}
	return errors.Join(wait())
}
