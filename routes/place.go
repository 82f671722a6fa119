package routes

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// homes are the brokers that are listed under more than one name: from a name to the first that has an address in common
// with it. Two names for one broker must hide nothing that its routes do to each other. What only the brokers know, two
// listeners of one broker, is not seen here.
type homes map[string]string

func homesOf(brokers map[string]*Broker) homes {
	h, first := homes{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		b := brokers[name]
		h[name] = name
		for _, a := range b.Config.Addresses {
			if o, ok := first[b.realm()+hostPort(b.Kind, a)]; ok {
				h[name] = h[o]
			}
		}
		for _, a := range b.Config.Addresses {
			first[b.realm()+hostPort(b.Kind, a)] = name
		}
	}
	return h
}

// realm is what two names for one address must have in common to mean the same places: users of a NATS server may belong
// to accounts that see nothing of each other.
func (b *Broker) realm() string {
	if b.Kind == "nats" {
		return fmt.Sprintln(b.Kind, b.Config.Credentials.User, b.Secrets)
	}
	return b.Kind + " "
}

// hostPort is where an address leads to, in one spelling.
func hostPort(kind, address string) string {
	host, scheme := address, kind
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		host, scheme = u.Host, u.Scheme
	}
	if h, port, ok := strings.Cut(strings.TrimSuffix(host, ")"), "("); ok { // HOST(PORT), as IBM MQ writes it
		host = h + ":" + port
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		host += map[string]string{"amqp": ":5672", "amqps": ":5671", "nats": ":4222", "tls": ":4222", "kafka": ":9092", ibmMQ: ":1414"}[scheme]
	}
	return strings.ToLower(host)
}

// of is an address under the first name of its broker.
func (h homes) of(a adapters.Address) adapters.Address {
	if name, ok := h[a.Broker]; ok {
		a.Broker = name
	}
	return a
}

func (h homes) same(a, b adapters.Address) bool      { return samePlace(h.of(a), h.of(b)) }
func (h homes) feeds(to, from adapters.Address) bool { return feeds(h.of(to), h.of(from)) }

func samePlace(a, b adapters.Address) bool {
	return a.Broker == b.Broker && a.Form == b.Form && a.Name == b.Name
}

// feeds reports whether what is written to one end can be seen to arrive at another: the same place, or a subject of
// the stream. A stream's subjects stand in its broker; the file shows those that it reads, and the stream that it makes.
func feeds(to, from adapters.Address) bool {
	if samePlace(to, from) {
		return true
	}
	if from.Form != adapters.Stream || to.Broker != from.Broker {
		return false
	}
	stream, _ := to.Options["stream"].(string)
	subject, _ := from.Options["subject"].(string)
	return stream == from.Name || subject != "" && covers(subject, to.Name)
}

// covers reports whether a subject matches a pattern, in which * stands for one part and > for all that follow.
func covers(pattern, subject string) bool {
	ps, ss := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, p := range ps {
		switch {
		case i >= len(ss):
			return false
		case p == ">":
			return true
		case p != "*" && p != ss[i]:
			return false
		}
	}
	return len(ps) == len(ss)
}
