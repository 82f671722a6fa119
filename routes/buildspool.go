package routes

import (
	"fmt"
	"time"
)

// The journal needs leastSegments: two in reserve, so that a full disk can get emptier, the one in use, the next, and
// one that still holds what is not done.
const (
	leastSegments = 5
	segmentUnit   = 4096
	shortAge      = time.Hour
)

// spool reads the top-level section; nil when there is none.
func (b *builder) spool(v *value) *Spool {
	if v == nil {
		return nil
	}
	c := chain{[]*value{v}, spoolShape()}
	s := &Spool{Dir: b.path(c.text("dir")), MaxSize: c.size("max_size"), WhenFull: WhenFull(c.text("when_full")), SegmentSize: c.size("segment_size")}
	switch x := c.data("sync").(type) {
	case time.Duration:
		s.Sync.Every = x
	case string:
		s.Sync.Never = x == "never"
	}
	b.checkSpool(v, s)
	return s
}

func (b *builder) checkSpool(v *value, s *Spool) {
	if seg := v.get("segment_size"); seg != nil && seg.data != nil && s.SegmentSize%segmentUnit != 0 {
		b.at(seg.node, seg.path, Finding{Code: "K003", Message: "segment_size is not a multiple of 4KiB", Label: "not in whole blocks",
			Help: "write for example " + formatSize((s.SegmentSize/segmentUnit+1)*segmentUnit)})
		return
	}
	if size := v.get("max_size"); size != nil && size.data != nil && s.MaxSize < leastSegments*s.SegmentSize {
		b.at(size.node, size.path, Finding{Code: "K003", Label: "too small",
			Message: fmt.Sprintf("max_size is less than %d segments of %s", leastSegments, formatSize(s.SegmentSize)),
			Help:    fmt.Sprintf("write at least %s, or a smaller segment_size", formatSize(leastSegments*s.SegmentSize))})
	}
	if s.Sync.Never {
		at := v.get("sync")
		b.at(at.node, at.path, Finding{Code: "P002", Severity: Warning, Message: "what is spooled is not synced to the disk", Label: "a power cut loses messages",
			Help: "write sync: always, or a duration such as 10ms to let more messages share one sync"})
	}
}

// routeSpool reads what a route says of its spool, then what the defaults say.
func (b *builder) routeSpool(v, defaults *value, c chain, r *Route) {
	r.Spool = RouteSpool{Mode: SpoolMode(c.text("spool", "mode")), MaxSize: c.size("spool", "max_size"), MaxAge: c.duration("spool", "max_age"),
		WhenFull: WhenFull(c.text("spool", "when_full")), SlowAfter: c.duration("spool", "slow_after")}
	where := []*value{v.get("spool"), defaults.get("spool")}
	if b.top == nil {
		b.withoutSpool(firstOf(where, "mode"), r)
		return
	}
	if r.Spool.WhenFull == "" {
		r.Spool.WhenFull = b.top.WhenFull
	}
	if r.Spool.Mode == SpoolNever {
		return
	}
	b.checkRouteSize(firstOf(where, "max_size"), r)
	b.checkMessageFits(r)
	b.checkLargest(firstOf([]*value{v, defaults}, "max_message_size"), r)
	b.checkAge(firstOf(where, "max_age"), r)
	b.checkReject(firstOf(append(where, b.root.get("spool")), "when_full"), r)
}

// withoutSpool settles the mode of a route in a file that gives no place to spool to.
func (b *builder) withoutSpool(mode *value, r *Route) {
	if mode != nil && mode.data != nil && r.Spool.Mode != SpoolNever && !b.meant("spool") {
		b.at(mode.node, mode.path, Finding{Code: "K002", Message: fmt.Sprintf("mode %s, but the file has no \"spool\"", r.Spool.Mode),
			Label: "where to?", Help: "add spool: { dir: PATH } at the top level, or write mode: never"})
	}
	b.homeless = b.homeless || mode == nil
	r.Spool = RouteSpool{Mode: SpoolNever, WhenFull: FullPause}
}

// meant reports whether an unknown key of the file was meant to be name: that has been reported.
func (b *builder) meant(name string) bool {
	for _, p := range b.root.node.Pairs {
		if b.root.subs[p.Key.Text] == nil && suggest(p.Key.Text, topologyShape().names("")) == name {
			return true
		}
	}
	return false
}

// warnHomeless tells once that there is nowhere to keep messages, or dead letters. It is advice: a file with mistakes
// gets it when those are mended.
func (b *builder) warnHomeless() {
	at := b.root.get("routes")
	if at == nil {
		at = b.root.get("topology")
	}
	if !b.homeless && !b.placeless || at == nil || b.findings.HasErrors() {
		return
	}
	f := Finding{Code: "P005", Severity: Warning, Message: "nothing is kept here while a target is away", Label: "messages wait at their sources",
		Help: "add spool: { dir: PATH }, or say that it is meant: defaults: { route: { spool: { mode: never } } }"}
	switch {
	case b.homeless && b.placeless:
		f.Message += ", and dead letters have no place: refused messages go back to their source after a pause"
		f.Help = "add spool: { dir: PATH }, or say what is meant: defaults: { route: { spool: { mode: never }, dead_letter: { broker: NAME, queue: NAME } } }"
	case b.placeless:
		f.Message, f.Label = "dead letters have no place: refused messages go back to their source after a pause", "no spool, and no dead_letter"
		f.Help = "add spool: { dir: PATH }, or defaults: { route: { dead_letter: { broker: NAME, queue: NAME } } }"
	}
	b.at(at.key, "spool", f)
}

// checkRouteSize: a lane whose quota no message passes would be full for ever.
func (b *builder) checkRouteSize(at *value, r *Route) {
	if at == nil || at.data == nil {
		return
	}
	least, what := b.top.SegmentSize, "one segment"
	if r.MaxMessageSize > least {
		least, what = r.MaxMessageSize, "one message of max_message_size"
	}
	if r.Spool.MaxSize < least {
		b.at(at.node, at.path, Finding{Code: "K003", Message: fmt.Sprintf("max_size is less than %s, %s", what, formatSize(least)),
			Label: "too small", Help: "write at least " + formatSize(least) + ", or a smaller " + map[bool]string{true: "segment_size", false: "max_message_size"}[what == "one segment"]})
	}
}

// checkMessageFits: the largest message and the reserve must find room in the whole spool.
func (b *builder) checkMessageFits(r *Route) {
	at := b.root.get("spool", "max_size")
	if least := r.MaxMessageSize + 3*b.top.SegmentSize; at != nil && at.data != nil && b.top.MaxSize < least && b.top.MaxSize >= leastSegments*b.top.SegmentSize {
		b.at(at.node, at.path, Finding{Code: "K003", Label: "too small",
			Message: fmt.Sprintf("max_size has no room for one message of max_message_size, %s, beside the reserve", formatSize(r.MaxMessageSize)),
			Help:    fmt.Sprintf("write at least %s, or a smaller max_message_size", formatSize(least))})
	}
}

// largestSpooled is what the journal takes as one record (spool.MaxBody).
const largestSpooled = 64 << 20

// checkLargest: what may be received must fit into the journal, or it would be refused in the outage.
func (b *builder) checkLargest(at *value, r *Route) {
	if at != nil && at.data != nil && r.MaxMessageSize > largestSpooled {
		b.at(at.node, at.path, Finding{Code: "K003", Message: fmt.Sprintf("a route that spools takes messages of at most %s", formatSize(largestSpooled)),
			Label: "too large for the spool", Help: "write at most " + formatSize(largestSpooled) + ", or spool: { mode: never } for this route"})
	}
}

func (b *builder) checkAge(at *value, r *Route) {
	if at != nil && at.data != nil && r.Spool.MaxAge < shortAge {
		b.at(at.node, at.path, Finding{Code: "P004", Severity: Warning, Message: "max_age is short: an outage of that length empties the spool", Label: "less than 1h",
			Help: "write the longest outage to survive, or remove max_age"})
	}
}

// checkReject: handing a message back needs a source that can put it aside.
func (b *builder) checkReject(at *value, r *Route) {
	broker := b.brokers[r.From.Broker]
	if at == nil || at.data == nil || r.Spool.WhenFull != FullReject || broker == nil {
		return
	}
	adapter := b.options.Kinds[broker.Kind]
	if adapter == nil || adapter.Capabilities(broker.Config).RejectAside {
		return
	}
	b.at(at.node, at.path, Finding{Code: "D004", Message: fmt.Sprintf("when_full: reject, but broker %q has no place for messages that are handed back", broker.Name),
		Label: "not with this source", Help: "write when_full: pause", Note: fmt.Sprintf("route %q reads from there", r.Name)})
}

// renames checks the names that routes had before.
func (b *builder) renames(vs []*value, rs []*Route) {
	now, taken := map[string]int{}, map[string]int{}
	for _, r := range rs {
		now[r.Name] = r.Line
	}
	for i, v := range vs {
		old, name := v.get("renamed_from"), rs[i].RenamedFrom
		if old == nil || name == "" {
			continue
		}
		f := Finding{Code: "K006", Message: fmt.Sprintf("two routes were named %q", name), Label: "again here",
			Help: "only one of them can take its spool along", Note: fmt.Sprintf("the first is at line %d", taken[name])}
		if line, ok := now[name]; ok {
			f = Finding{Code: "K006", Message: fmt.Sprintf("a route is still named %q", name), Label: "that spool has an owner",
				Help: "remove renamed_from, or the other route", Note: fmt.Sprintf("it is at line %d", line)}
		} else if taken[name] == 0 {
			taken[name] = old.node.Line
			continue
		}
		b.at(old.node, old.path, f)
	}
}
