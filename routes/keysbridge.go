package routes

import "slices"

// bridging is the release that brought bridges.
const bridging = "0.5"

// bridgeShape is the table of keys of a bridge.
func bridgeShape() *Shape {
	s := &Shape{Name: "bridge", Doc: "A request route and a reply route that belong together. It makes the routes NAME.request and NAME.reply; every setting of a route may stand here too, for both.", Fields: []*Field{
		{Name: "name", Type: Name, Required: true, Since: bridging, Reload: RestartRoute, Example: "name: pricing", Doc: "Its name everywhere; unique in the file."},
		{Name: "request", Type: Object, Of: requestShape(), Required: true, Since: bridging, Reload: RestartRoute,
			Example: "request: { from: { broker: NAME, queue: SQ1 }, to: { broker: NAME, queue: TQ1 } }", Doc: "The way of the requests."},
		{Name: "reply", Type: Object, Of: replyShape(), Since: bridging, Reload: RestartRoute,
			Example: "reply: { from: { broker: NAME, queue: SQ2 }, to: { broker: NAME, queue: TQ2 } }",
			Doc:     "Required (B001). The way back: from the broker to which the requests go to the one from which they come (B002)."},
		{Name: "correlate", Type: Word, Words: []string{string(CorrelateAuto), string(CorrelateMessage), string(CorrelateCorrelation)}, Default: "auto", Since: bridging, Reload: RestartRoute,
			Doc: "The correlation id of a reply, as its requester expects it. auto: the correlation id of the request where the responder copied that, its message id where it took that; message-id, correlation-id: always that one, where the request has it."},
		{Name: "reply_to", Type: Word, Words: []string{string(ReplyRewrite), string(ReplyMap), string(ReplyKeep)}, Default: "rewrite", Since: bridging, Reload: RestartRoute,
			Doc: "rewrite: requests go out with the bridge's reply address and ids of their own, and a table in the spool knows whose they are; map: with the bridge's reply address and their ids, and all replies go to the one place of reply.to, so nothing is kept; keep: as they are, where both brokers know the same names."},
		{Name: "timeout", Type: Duration, Default: "30s", Min: 0.1, Max: 30 * 86400, Since: bridging, Reload: RestartRoute,
			Doc: "From the reception of a request until its reply is late. The request expires then, if not before, and is not sent any more."},
		{Name: "late_reply", Type: Word, Words: []string{string(LateDeadLetter), string(LateDeliver), string(LateDrop)}, Default: "dead-letter", Since: bridging, Reload: RestartRoute,
			Doc: "What becomes of a reply after the timeout, for as long as its request is remembered: ten timeouts. One that nobody asked for is always a dead letter."},
		{Name: "max_outstanding", Type: Count, Unit: "requests", Default: "10000", Min: 1, Max: 1e6, Since: bridging, Reload: RestartRoute,
			Doc: "Requests without a reply. More wait at their source."},
		{Name: "replies", Type: Word, Words: []string{"one", "many"}, Default: "one", Since: bridging, Reload: RestartRoute,
			Doc: "one: the first reply ends the request, and another is a dead letter; many: all that come within the timeout are delivered."},
	}}
	for _, f := range routeShape().Fields {
		if !slices.Contains([]string{"name", "from", "to"}, f.Name) && !isSharing(f.Name) {
			s.Fields = append(s.Fields, f)
		}
	}
	return s
}

func requestShape() *Shape {
	return &Shape{Name: "request", Doc: "The way of the requests. A filter of the bridge is about them.", Fields: []*Field{
		{Name: "from", Type: Object, Of: sourceShape(), Required: true, Since: bridging, Reload: RestartRoute,
			Example: "from: { broker: NAME, queue: SQ1 }", Doc: "Where requesters send to."},
		{Name: "to", Type: Object, Of: requestTargetShape(), Required: true, Since: bridging, Reload: RestartRoute,
			Example: "to: { broker: NAME, queue: TQ1 }", Doc: "Where responders read."},
	}}
}

func requestTargetShape() *Shape {
	return &Shape{Name: "request.to", Doc: "The target of the requests of a bridge.", Fields: soleTarget()}
}

func replyShape() *Shape {
	return &Shape{Name: "reply", Doc: "The way back of the replies.", Fields: []*Field{
		{Name: "from", Type: Object, Of: replySourceShape(), Required: true, Since: bridging, Reload: RestartRoute,
			Example: "from: { broker: NAME, queue: SQ2 }", Doc: "Where responders send replies to: the reply address that they see. It belongs to this bridge alone (B003)."},
		{Name: "to", Type: Object, Of: replyTargetShape(), Required: true, Since: bridging, Reload: RestartRoute,
			Example: "to: { broker: NAME, queue: TQ2 }", Doc: "Where the replies go: one place, or those that the requests name and allow permits."},
	}}
}

func replySourceShape() *Shape {
	s := sourceShape()
	return &Shape{Name: "reply.from", Doc: "The source of the replies of a bridge.", Fields: append(s.Fields, &Field{
		Name: "per_repeater", Type: Flag, Since: bridging, Reload: RestartRoute,
		Doc: "true: the name of the repeater, after a dash, is added to the place (and the subject), so that each of several repeaters on one bridge gets the replies to its own requests. Left out: only one repeater may serve the bridge.",
	})}
}

func replyTargetShape() *Shape {
	return &Shape{Name: "reply.to", Doc: "The target of the replies of a bridge. A request that names a reply address which is not allowed is a dead letter (target-not-allowed).", Fields: append(soleTarget(), &Field{
		Name: "allow", Type: TextList, Since: bridging, Reload: RestartRoute,
		Doc: "Reply addresses that a request may name, besides the one place: names, prefixes that end with *, ibmmq: QUEUE@MANAGER for a queue of another queue manager, and the word temporary for destinations that the broker itself has named.",
	})}
}
