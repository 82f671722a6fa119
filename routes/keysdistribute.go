package routes

import "slices"

// distributing is the release that brought several targets of which one gets a message.
const distributing = "0.5"

// distributeFields say which of several targets get a message.
func distributeFields() []*Field {
	return []*Field{
		{Name: "distribute", Type: Word, Words: []string{string(Copy), string(Weighted), string(Failover), string(Affinity)}, Since: since, Reload: RestartRoute,
			Doc: "Required with more than one target; it has no default. copy: every message to every target; weighted: each to one, in proportion to weight, with order: per-key all of a key to the same; failover: to the first in the list that can be reached; affinity: those with an equal value of affinity to the same target."},
		{Name: "affinity", Type: Expression, Since: distributing, Reload: RestartRoute,
			Doc: "With distribute: affinity: messages with an equal value go to the same target. What happens where it fails is on_filter_error."},
		{Name: "when_down", Type: Word, Words: []string{string(Wait), string(Move)}, Since: distributing, Reload: RestartRoute,
			Doc: "With weighted and affinity, for messages whose target is down. wait: they are kept for it; move: the others of the best group that is up get those that have not been sent, out of their order; what was sent without an answer, or is in the spool, stays. Left out: wait with affinity and order: per-key, else move."},
		{Name: "failover_after", Type: Duration, Default: "30s", Min: 0.1, Max: 86400, Inherit: true, Since: distributing, Reload: RestartRoute,
			Doc: "With failover: how long the target in use must be down before the next one is used."},
		{Name: "failback_after", Type: Duration, Default: "5m", Min: 0.1, Max: 604800, Inherit: true, Since: distributing, Reload: RestartRoute,
			Doc: "With failover: how long an earlier target must answer without a failure before it is used again; what is in flight is confirmed before."},
	}
}

// shareFields are the keys of a target of which there are several.
func shareFields() []*Field {
	return []*Field{
		{Name: "weight", Type: Count, Default: "1", Min: 0, Max: 100, Unit: "parts", Since: distributing, Reload: RestartRoute,
			Doc: "With weighted and affinity: its share of the messages, in proportion to the weights of the others. 0: none."},
		{Name: "priority", Type: Count, Default: "0", Min: 0, Max: 100, Unit: "groups", Since: distributing, Reload: RestartRoute,
			Doc: "With weighted and affinity, and when_down: move: only targets of the lowest priority of which one is up get messages."},
	}
}

// soleTarget are the keys of a target beside which there is no other.
func soleTarget() (fs []*Field) {
	sharing := shareFields()
	for _, f := range fixedPlaces(targetShape().Fields) {
		if !slices.ContainsFunc(sharing, func(s *Field) bool { return s.Name == f.Name }) {
			fs = append(fs, f)
		}
	}
	return fs
}

// isSharing reports whether a key of a route is about several targets.
func isSharing(name string) bool {
	return slices.ContainsFunc(distributeFields(), func(f *Field) bool { return f.Name == name })
}

const dynamicExample = "{ prefix: alarms-, expr: msg.header.site }"

// dynamicShape is a place that is computed for each message.
func dynamicShape() *Shape {
	return &Shape{Name: "dynamic", Doc: "A topic (kafka) or subject (nats) that is computed for each message. The whole name must have 1 to 200 letters, digits, dots, underscores and dashes, and be allowed; else the message is set aside (target-not-allowed).", Fields: []*Field{
		{Name: "prefix", Type: Text, Required: true, Since: distributing, Reload: RestartRoute, Example: "prefix: alarms-", Doc: "How every name begins."},
		{Name: "expr", Type: Expression, Required: true, Since: distributing, Reload: RestartRoute, Example: "expr: msg.header.site",
			Doc: "What follows. Worked out once, when the message is received, and kept with it. What becomes of a message on which it fails: on_filter_error."},
		{Name: "allow", Type: TextList, Since: distributing, Reload: RestartRoute,
			Doc: "The whole names that are allowed, prefix included. Left out: any, but no more than 100 different ones for a route while it runs."},
	}}
}

// fixedPlaces are keys of a target whose place is written, not computed.
func fixedPlaces(fs []*Field) (out []*Field) {
	for _, f := range fs {
		if f.Type == TextOrObject {
			fixed := *f
			fixed.Type, fixed.Of, fixed.Example = Text, nil, ""
			f = &fixed
		}
		out = append(out, f)
	}
	return out
}
