package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// bridges makes two routes of each bridge, by the same rules as every written one, and appends them to those of t.
func (b *builder) bridges(t *Table, vs []*value) {
	first, at := map[string]*value{}, map[*Bridge]*value{}
	for _, v := range vs {
		name, _ := v.get("name").text()
		if other := first[name]; other != nil && name != "" {
			b.at(v.get("name").node, v.path+".name", Finding{Code: "K006", Message: fmt.Sprintf("two bridges are named %q", name), Label: "again here",
				Help: "give each bridge a name of its own", Note: fmt.Sprintf("the first is at line %d", other.node.Line)})
		}
		if first[name] = v.get("name"); b.incomplete(v) {
			continue
		}
		br := b.bridge(v, name)
		t.Bridges, at[br] = append(t.Bridges, br), v
		ask, answer := b.route(b.half(v, "request", br.Request)), b.route(b.half(v, "reply", br.Reply))
		answer.Filter = nil
		ask.Asks, answer.Answers = br, br
		b.ownReplies(v, br, answer)
		b.finishBridge(v, br, answer)
		t.Routes = append(t.Routes, ask, answer)
	}
	b.checkReplyReaders(t, at)
}

// text is a scalar's text.
func (v *value) text() (string, bool) {
	if v == nil {
		return "", false
	}
	s, ok := v.data.(string)
	return s, ok
}

// incomplete reports a bridge without its reply, or one that cannot be looked at because an end is missing.
func (b *builder) incomplete(v *value) bool {
	if v.subs == nil || v.get("name") == nil {
		return true
	}
	if v.get("reply") == nil {
		b.at(v.get("name").node, v.path+".reply", Finding{Code: "B001", Message: "bridge has no \"reply\"", Label: "how do replies come back?",
			Help: "add " + bridgeShape().field("reply", "").Example})
	}
	for _, end := range [][]string{{"request", "from"}, {"request", "to"}, {"reply", "from"}, {"reply", "to"}} {
		if v.get(end...) == nil || v.get(end...).subs == nil {
			return true
		}
	}
	return b.crossed(v)
}

// crossed reports a way back between other brokers than the way there.
func (b *builder) crossed(v *value) bool {
	there, back := v.get("request"), v.get("reply")
	a, z := there.get("from", "broker"), there.get("to", "broker")
	for _, p := range [][2]*value{{back.get("from", "broker"), z}, {back.get("to", "broker"), a}} {
		if p[0] == nil || p[1] == nil || p[0].data == nil || p[1].data == nil {
			return true // that has been reported
		}
		if p[0].data == p[1].data {
			continue
		}
		f := Finding{Code: "B002", Label: "crossed", Message: fmt.Sprintf("replies are read from %q, but requests go to %q", p[0].data, p[1].data)}
		if p[1] == a {
			f.Message = fmt.Sprintf("replies go to %q, but requests come from %q", p[0].data, p[1].data)
		}
		f.Help = fmt.Sprintf("a bridge goes %s -> %s for requests and %s -> %s for replies", a.data, z.data, z.data, a.data)
		if back.get("from", "broker").data == a.data && back.get("to", "broker").data == z.data {
			f.Help = "swap from and to: " + f.Help
		}
		b.at(p[0].node, p[0].path, f)
		return true
	}
	return false
}

// bridge reads what both halves share.
func (b *builder) bridge(v *value, name string) *Bridge {
	c := chain{[]*value{v}, bridgeShape()}
	br := &Bridge{Name: name, Request: name + ".request", Reply: name + ".reply", Correlate: Correlate(c.text("correlate")), Mode: ReplyTo(c.text("reply_to")),
		Timeout: c.duration("timeout"), Late: LateReply(c.text("late_reply")), MaxOutstanding: c.count("max_outstanding"),
		Many: c.text("replies") == "many", Line: v.node.Line}
	if broker := b.brokers[fmt.Sprint(v.get("request", "from", "broker").data)]; broker != nil {
		br.Makes = broker.Kind
		if d := broker.Config.Options.String("dialect", ""); d != "" {
			br.Makes += "/" + d
		}
	}
	if b.top == nil && !b.meant("spool") && br.Table() {
		b.at(v.get("name").node, v.path+".name", Finding{Code: "B004", Message: fmt.Sprintf("bridge %q, but the file has no \"spool\"", name), Label: "where are its requests remembered?",
			Help: "add spool: { dir: PATH } at the top level, or write reply_to: map with one place for all replies"})
	}
	return br
}

// half is the value of one of the two routes, as if it stood in the file by itself.
func (b *builder) half(v *value, part, name string) *value {
	half := &value{node: v.node, path: v.path + "." + part, subs: map[string]*value{}}
	put := func(key string, s *value) { half.subs[key], half.order = s, append(half.order, key) }
	for _, key := range v.order {
		f := routeShape().field(key, "")
		if f == nil || key == "name" || key == "filter" && part == "reply" {
			continue
		}
		s := *v.subs[key]
		if old, ok := s.text(); ok && key == "renamed_from" {
			s.data = old + "." + part
		}
		put(key, &s)
	}
	own := *v.get("name")
	own.data = name
	put("name", &own)
	put("from", v.get(part, "from"))
	to := *v.get(part, "to")
	to.items = []*value{v.get(part, "to")}
	put("to", &to)
	return half
}

// ownReplies reads the address that responders see.
func (b *builder) ownReplies(v *value, br *Bridge, answer *Route) {
	from := v.get("reply", "from")
	if own := from.get("per_repeater"); own != nil && own.data == true && answer.From.Name != "" {
		answer.From.Name += "-" + b.options.Repeater
		if s := answer.From.Options.String("subject", ""); s != "" {
			answer.From.Options["subject"] = s + "-" + b.options.Repeater
		}
	}
	if share, own := v.get("share"), from.get("per_repeater"); share != nil && share.data == true && br.Table() && (own == nil || own.data != true) {
		b.at(share.node, share.path, Finding{Code: "B005", Message: fmt.Sprintf("several repeaters on bridge %q would read one reply queue: %s", br.Name, answer.From), Label: "a reply may come to one that knows nothing of its request",
			Help: "write per_repeater: true in reply.from, and make a queue for each"})
	}
	br.ReplyFrom = adapters.Addr{Name: answer.From.Name, Form: formOf(answer.From.Form)}
	if answer.From.Form != adapters.Stream {
		return
	}
	subject := answer.From.Options.String("subject", "")
	if subject == "" || strings.ContainsAny(subject, "*>") {
		b.at(place(from), from.path, Finding{Code: "K002", Message: "reply.from names a stream, but not the one subject to which responders send", Label: "in this reply.from",
			Help: "add subject: NAME, without wildcards"})
	}
	br.ReplyFrom.Name = subject
}

// formOf is what kind of destination a place is to those who send to it.
func formOf(f adapters.Form) adapters.AddrForm {
	if f == adapters.Queue {
		return adapters.AddrQueue
	}
	return adapters.AddrTopic
}

// finishBridge reads where replies may go.
func (b *builder) finishBridge(v *value, br *Bridge, answer *Route) {
	if len(answer.To) == 1 && answer.To[0].Addr.Name != "" {
		br.Fixed = adapters.Addr{Name: answer.To[0].Addr.Name, Form: formOf(answer.To[0].Addr.Form)}
	}
	allow := v.get("reply", "to", "allow")
	if allow == nil {
		return
	}
	names, _ := allow.data.([]string)
	for _, n := range names {
		if n == "temporary" {
			br.Temporary = true
			continue
		}
		if i := strings.IndexByte(n, '*'); n == "" || n == "*" || i >= 0 && i < len(n)-1 {
			b.at(allow.node, allow.path, Finding{Code: "K003", Message: fmt.Sprintf("allow: %q is neither a name nor a prefix that ends with *", clip(n)), Label: "in this list",
				Help: "write a name, the beginning of names and *, or temporary"})
		}
		br.Allow = append(br.Allow, n)
	}
	b.checkModes(v, br, allow)
}

// checkModes: what the requests name is known only where a table keeps it, and what is temporary only where the broker's
// make is known.
func (b *builder) checkModes(v *value, br *Bridge, allow *value) {
	if mode := v.get("reply_to"); !br.Table() && mode != nil {
		b.at(allow.node, allow.path, Finding{Code: "K003", Message: fmt.Sprintf("allow is of no use with reply_to: %s", br.Mode), Label: "nothing is kept of a request",
			Help: "remove it, or write reply_to: rewrite"})
	}
	if !b.capabilities(v.get("request", "from", "broker")).Directed {
		b.at(allow.node, allow.path, Finding{Code: "K003", Message: "allow: a target of this type of broker sends to one place only", Label: "in this list",
			Help: "remove it, and let requesters name the one place of reply.to"})
	}
	if makes := []string{"amqp/artemis", "amqp/qpid", "nats", "mem"}; br.Temporary && !slices.Contains(makes, br.Makes) {
		b.at(allow.node, allow.path, Finding{Code: "K003", Message: "allow: temporary, but it is not known what temporary destinations of this broker are called", Label: "in this list",
			Help: "write dialect: artemis or qpid at the broker if it is one; else name them by a prefix"})
	}
}

// capabilities are those of the broker that ref names.
func (b *builder) capabilities(ref *value) adapters.Capabilities {
	broker := b.brokers[fmt.Sprint(ref.data)]
	if broker == nil || b.options.Kinds[broker.Kind] == nil {
		return adapters.Capabilities{Directed: true} // that has been reported
	}
	return b.options.Kinds[broker.Kind].Capabilities(broker.Config)
}

// checkReplyReaders: what another route takes from a reply queue never comes back to its requester.
func (b *builder) checkReplyReaders(t *Table, where map[*Bridge]*value) {
	for _, br := range t.Bridges {
		own := t.Routes[slices.IndexFunc(t.Routes, func(r *Route) bool { return r.Answers == br })]
		for _, r := range t.Routes {
			if r == own || !b.homes.same(r.From, own.From) || own.From.Name == "" || slices.Index(t.Routes, r) < slices.Index(t.Routes, own) && r.Answers != nil {
				continue
			}
			at := where[br].get("reply", "from")
			b.at(place(at), at.path, Finding{Code: "B003", Message: fmt.Sprintf("route %q reads the replies of bridge %q too: %s", r.Name, br.Name, own.From), Label: "replies would be lost to their requesters",
				Help: "give the bridge a place of its own for replies", Note: fmt.Sprintf("that route is at line %d", r.Line)})
		}
	}
}
