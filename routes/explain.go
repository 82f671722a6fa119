package routes

import "strings"

// A code is one kind of finding. Codes are never used again for something else.
type code struct {
	code string
	text string // one line for the reference, then more for explain
}

// Explain tells what a code means and what to do, and for "fields" what an expression may use; ok is false for codes
// that this program does not use.
func Explain(name string) (text string, ok bool) {
	if name == "fields" {
		return ExplainFields(), true
	}
	return explainCode(name)
}

func explainCode(name string) (text string, ok bool) {
	for _, c := range codes() {
		if strings.EqualFold(c.code, name) {
			return c.code + ": " + c.text, true
		}
	}
	return "", false
}

func codes() []code {
	return []code{
		{"Y001", "The file is not YAML, or not UTF-8.\nThe line shown is the first that cannot be read with those before it. Often an expression begins with a quote, bracket or asterisk: quote the whole expression, or put it under a | block. Indent with spaces, never with tabs."},
		{"Y002", "The file is empty, or holds a second document.\nOnly one document is read. A line --- begins another one."},
		{"Y003", "A YAML tag.\nAn unquoted ! at the start of a value is a tag to YAML, not a negation: the filter would be empty and match every message. Write not, or quote the expression."},
		{"Y004", "The same key twice in one object.\nParsers differ in which of the two they take, so neither is taken."},
		{"Y005", "A merge key, or too many aliases.\nMerge keys (<<) are not read, and a file may use 20 aliases. Shared settings belong under defaults:."},
		{"Y006", "A number or boolean in an old form.\nYAML reads 010 as 8, and yes as a boolean or as text, depending on the parser. Write 8 or 10, true or false."},
		{"Y007", "A comment ends an expression.\nYAML ends an unquoted value at a blank and #. Put the expression in single quotes or under a | block; comments inside of it are written // or /* */. A comment behind a whole expression is accepted when two blanks stand before it."},
		{"Y008", "The file is too large or nested too deep.\nA file has at most 4 MiB, 64 levels and 400,000 values, values behind aliases counted at every use."},
		{"K001", "An unknown key.\nKeys are written in lower case with underscores. Some belong to one type of broker only; the reference page says which. Nothing that is unknown is ignored."},
		{"K002", "A required key is missing.\nThe help line shows what to add."},
		{"K003", "A value of the wrong type, or one that cannot be used.\nNumbers, booleans and text are told apart: what YAML reads as a number must be quoted to be text. Values out of range, and values that the adapter of a broker refuses, have this code too."},
		{"K004", "A duration or size without a unit.\nWrite 500ms, 30s, 5m, 2h, 7d; or 512B, 64KiB, 1MiB, 2GiB, and KB, MB, GB for powers of ten."},
		{"K005", "A word that is not in the list for this key."},
		{"K006", "A bad name, or one that is used twice.\nNames are lower-case letters, digits and dashes, at most 63, beginning with a letter or digit. They become metric labels, directory names and consumer groups."},
		{"K007", "The file's version is not known to this program.\nWrite version: 1, or use a newer posthouse."},
		{"K008", "A key that will be removed in a later version."},
		{"C001", "A key differs that only a restart of the daemon can take.\nThe reload is refused as a whole, and what runs goes on. These are: spool.dir, spool.max_size, spool.sync, spool.segment_size, a spool section that comes or goes, everything under admin but log.level, and embedded of a broker. Put the old value back and reload, or restart the daemon; messages in the spool stay."},
		{"R001", "An end names a broker that is not defined under brokers:."},
		{"R002", "No repeater serves a route.\nA repeater serves the routes whose brokers are all in its list, that of their dead letters included, or only those that it names under routes:. A route that nobody serves would wait for ever."},
		{"R003", "A route with several targets does not say how to distribute.\nCopying and balancing must not be guessed: add distribute."},
		{"R004", "Messages would go round in a circle.\nThe report shows the places in the order in which a message would come to them. A filter that keeps messages from coming round is not seen here: write loop_ok: true in the route that may close the circle. What comes by a route a second time becomes a dead letter all the same, reason loop. Two names for one broker hide nothing: names with a common address are one broker here, and with --connect and while running those that tell the same identity."},
		{"R005", "Two readers compete for one source.\nA message of a queue, a subscription or a group goes to one of those who read it. Two routes with an equal source share one reader in one daemon; two daemons, or two routes whose sources differ in spelling only, take messages away from each other. Write share: true where that is meant: repeaters that share the load of a route. An embedded broker runs inside one daemon."},
		{"R006", "A target equals the source of its route, or another target.\nA route that writes to where it reads would feed itself for ever."},
		{"R007", "All weights of a route are 0.\nA weight of 0 takes a target out: it gets no new message, and what it has is still delivered. With all at 0 every message would wait for ever."},
		{"R008", "order: strict with messages that go to several targets.\nThe order of a whole source holds on one lane. Write order: per-key, which keeps all messages of a key on one target; or distribute: failover, whose targets are one lane; or copy. affinity can be strict for each value, with when_down: wait."},
		{"R009", "An end does not fit its type of broker.\namqp has queues and topics; kafka has topics; nats reads a stream and writes to a subject. An end names exactly one of them."},
		{"R010", "A filter is always true or always false.\nIt looks at nothing of the message, so it is either useless or a mistake."},
		{"R012", "The routes of one source contradict each other.\nRoutes with an equal source share one reader. Each is asked in file order: match: all takes what its filter wants; of those with match: first only the first whose filter says yes; match: otherwise, at most one and without a filter, what no other takes. What nobody takes has one fate, unrouted, for all of them; leave is not possible at a source that is settled in its order (kafka)."},
		{"R013", "A route that never gets a message.\nAnother route of its source takes every message before it, or, for match: otherwise, there is no other route."},
		{"R011", "There is no route of that name.\nposthouse topology lists the routes of a file, the generated ones too."},
		{"R020", "A key that means nothing with this way to distribute, or one in the wrong place.\nweight, priority and when_down belong to weighted and affinity, affinity to affinity, failover_after and failback_after to failover. With order: per-key and weighted the key stands at the route, for it picks the target."},
		{"R021", "A target that never gets a message.\nTargets with a higher priority stand in when all of a lower one are down. With when_down: wait messages are kept for a target that is down, so nobody ever stands in."},
		{"R022", "A computed name that cannot be.\nWhere a topic (kafka) or subject (nats) is computed, every name begins with prefix and has letters, digits, dots, underscores and dashes only, 200 at most; allow lists whole names. Other brokers take fixed names only, and so do the targets of distribute: failover, one of which may get what was meant for another."},
		{"R023", "when_down: move gives the messages of a key or value another target.\nWhen a target goes down, what has not been sent goes to others, and what was sent without an answer, or is in the spool, stays; when it comes back new messages go to it again. So newer messages of a key may arrive before older ones. wait keeps them for their target."},
		{"F001", "An expression cannot be read.\nThe caret stands where reading stopped. An empty expression is refused because it would match every message: leave the key out for that."},
		{"F002", "A message has no such field.\nA header is msg.header.NAME, or msg.header[\"NAME\"] where the name is no word."},
		{"F003", "An expression in SQL's style.\nAND, OR, =, <>, LIKE, BETWEEN and IS NULL are written otherwise here; the help line shows how."},
		{"F004", "An expression has the wrong type of result.\nA filter must give true or false, a key must give text."},
		{"F005", "An expression exceeds a limit.\nThere is no way to stop an evaluation, so what could run long is refused before: length, nesting, number of terms, loops within loops, and text inside of loops."},
		{"F006", "A function or form that is not available.\nSome could fill the memory or would answer differently at the next try."},
		{"F007", "A value is used without conversion.\nHeaders are text, and what msg.json holds may be anything: write int(...), float(...) or string(...), or compare with text in quotes."},
		{"F009", "A filter is slow: it has taken more than 50 ms over one message.\nIn the log of the daemon, once. All messages of its source wait for it. Most often a pattern, or JSON, is looked for in large bodies: ask for a header, msg.type or msg.size first, with and."},
		{"D001", "A target cannot take part in exactly-once delivery.\nWhen a confirm is lost, only the target can tell whether it has the message. kafka: yes, transactions hold the position of the lane (T-tx); readers must use read_committed. amqp with dialect: artemis: yes, while all that is in flight fits in duplicate_window (T-window). nats: yes, while an outage is no longer than duplicate_window (T-window). Every other amqp broker, RabbitMQ among them: no (T-none). There at-least-once repeats at most in_flight messages per lane after an unclean stop, each marked as a possible duplicate with the same posthouse-id."},
		{"D002", "A target forgets ids too soon for exactly-once.\nArtemis remembers so many ids per address: all that may be in flight there at once, over all lanes of the file, must be fewer than duplicate_window, which must not be above the broker's own id-cache-size. A JetStream stream remembers ids for a time: max_outage must be stated, and not be above duplicate_window."},
		{"D004", "when_full: reject on a source that cannot take a message back.\nA rejected message needs a place of the source's own, such as a dead-letter address. Kafka and JetStream have none, and not every AMQP broker does: write when_full: pause, which stops reading until there is room."},
		{"D005", "The source, the spool or the targets of a route rule out exactly-once.\nThe source must give each message a position (kafka, nats) or an id: amqp with unique_ids: true in from, where no two messages ever have the same message-id. Else a redelivery looks like a new message. And every message needs a record in the spool, or a crash between confirm and settle gives it a new id: the file needs spool: { dir: PATH }, and the route must not say mode: never. And with distribute: failover the second target does not know what the first has."},
		{"D006", "Dead letters would go where messages are under way.\nA dead_letter that equals a source of the file is read again and comes round for ever; one that equals a target of its route passes for a delivered message. Name a place that nothing else here uses, or write dead_letter: local, which keeps them in the directory of the spool."},
		{"D007", "order: strict with several messages in flight.\nMost brokers take the messages behind one that they have refused, so that it comes late or is missing while the later ones are there. Left out, in_flight is 1 for such a target. Written beside the order it stays, and the order holds only as long as nothing is refused."},
		{"D008", "Routes with one source do not agree when to settle.\nThey share one reader, which settles each message once: before it is sent (at-most-once), or after. Give them the same delivery, or a subscription, group or queue of its own to each. at-least-once and exactly-once may share a source."},
		{"D009", "order: per-key without a place in the spool.\nA message that the target refuses holds its key: what has the same key waits behind it, in the spool, while other keys pass. So the file needs spool: { dir: PATH }, and the route must not say mode: never. order: strict needs no spool: it stops the whole lane."},
		{"B001", "A bridge has no reply.\nIt is two ways: request goes from the requesters' broker to the responders', reply comes back. A way there alone is a route."},
		{"B002", "The two ways of a bridge do not belong together.\nReplies are read from the broker to which the requests go, and go to the one from which the requests come."},
		{"B003", "Another route reads the replies of a bridge.\nA reply that it takes never gets to its requester. Two bridges need two reply queues."},
		{"B004", "A bridge in a file without spool.\nWhose reply a reply is, and what ids its requester expects, must outlive the daemon: it is kept in the journal. With reply_to: map nothing has to be kept: ids stay as they are, and all replies go to one place."},
		{"H001", "A target loses something that the source's messages may say.\nOnly check --strict tells. Everything travels in headers posthouse-... and is itself again behind the next repeater, but the target's broker does not act on it: nothing expires there, for instance, and programs that read there must look into posthouse-expires themselves. Or the broker cannot take some kinds of bodies. posthouse explain ROUTE lists what becomes of messages on each lane; losses: accept in the route, or in defaults, says that this is known."},
		{"B005", "Several repeaters share a bridge and its reply queue.\nOnly the repeater that sent a request knows whose it is; a reply that another one reads would be a dead letter. per_repeater: true in reply.from gives each its own: the name, a dash, and the name of the repeater."},
		{"P002", "What is spooled is not synced.\nsync: never leaves writing to the operating system: messages are settled at their source while they are only in memory. A power cut or a crash of the machine loses them; a crash of the daemon alone does not. sync: 10ms costs little and loses nothing."},
		{"P004", "max_age is short.\nMessages older than max_age are given up. Below one hour that empties the spool during the outage for which it exists. Left out, nothing is given up because time passed."},
		{"P005", "The file has no spool.\nWhile a target is away, messages wait at their source, which must keep them that long: nothing is kept on this machine. Dead letters have no place either, unless dead_letter names an end: a message that the target refuses, or that a filter cannot judge, goes back to its source after a pause and comes round until the cause is mended. Add spool: { dir: PATH } at the top level. If it is meant, write defaults: { route: { spool: { mode: never }, dead_letter: { broker: NAME, queue: NAME } } }."},
		{"T001", "No repeater has both brokers of a generated route.\nOn a bus that is a gap: nothing would carry messages from one side to the other. Add a broker to the list of a repeater, or a repeater."},
		{"T002", "A broker of the topology and the destinations under at do not match.\nAn entry says for each broker that takes part what the destination is called there, and for no other."},
		{"T003", "A queue is repeated to several targets, or both ways.\nA message of a queue moves: it exists once in the network of brokers. Who reads it there takes it away from all others, so it can go to one target only, and what a route writes into a queue must not be read by the route back. Use a topic, which gives each route a copy, or a written route with distribute: copy."},
		{"T004", "A repeater of a bus has brokers that are no neighbours.\nIt carries nothing between them. Perhaps the order of the chain is another one."},
		{"T005", "A repeater of a mesh lacks a member.\nThe routes of that member run without it: when the others are down, it cannot stand in for them."},
		{"T006", "A direction that this kind of topology does not have.\nhub-and-spoke: outward, inward or both. bus: forward, backward or both. mesh: both."},
		{"T007", "Messages go both ways, and no path_key protects their path.\nWhat has been at a broker is known by the header posthouse-path. It is believed from brokers to which some route of the file writes, so whoever can write to them can forge one, and keep a message from being repeated. With path_key, one secret for all repeaters of the file, a path is believed only if a repeater has sealed it."},
		{"T008", "A name of a generated route is taken, too long, or missing.\nGenerated routes are named NAME.FROM.TO, at most 63 characters. A written route of that name needs override: true and stands in its place; one with override: true needs a generated route."},
		{"T009", "The order of a shared route holds within each repeater only.\nEach repeater has a spool of its own, and the source gives its messages to all of them: what one of them still has on its disk, the other overtakes. From Kafka each partition has one reader, so with spool: { mode: never } order per key holds while no partition changes its reader. Write order: none if no order is needed, or let one repeater serve the route."},
		{"T010", "order: strict on a shared route.\nTwo readers of one source overtake each other, so the order cannot be kept. Let one repeater serve the route."},
		{"X001", "A secret is written as a value.\nWrite { file: PATH } or { env: NAME }, and change the secret: the file has been copied, printed or committed."},
		{"X002", "A secret file can be read by every user of the machine.\nchmod 600 FILE, owned by the user of the daemon."},
		{"X003", "Certificates are not verified.\nAnybody between the daemon and the broker can read and change messages. Name the authority with tls.ca_file instead."},
		{"X004", "The admin listener would be reachable from other machines.\nBeyond loopback it needs TLS and users, each with a token or a client certificate: admin.tls and admin.users. Or listen on loopback, and put a proxy with TLS and users before it."},
		{"X005", "A user of the API that cannot prove who it is.\nGive the user a token, in a file or an environment variable, or the common name of a client certificate, whose authority stands in admin.tls.client_ca_file."},
	}
}
