package routes

// ibmMQ is the type of broker whose keys these are.
const ibmMQ = "ibmmq"

// mqBrokerFields are the keys of a queue manager.
func mqBrokerFields() []*Field {
	mq := []string{ibmMQ}
	return []*Field{
		{Name: "queue_manager", Type: Text, Kinds: mq, Option: true, Since: converting, Reload: RestartBroker,
			Doc: "Name of the queue manager. Left out: whichever answers at the address."},
		{Name: "channel", Type: Text, Kinds: mq, Option: true, Since: converting, Reload: RestartBroker,
			Doc: "The server-connection channel. Required, unless there is a ccdt_url. Its HBINT should be 30 or less: until the queue manager notices that a connection is dead, what it had open stays locked."},
		{Name: "ccdt_url", Type: Text, Kinds: mq, Option: true, Since: converting, Reload: RestartBroker,
			Doc: "A client channel definition table, file:///PATH or https://HOST/PATH, in place of addresses and channel."},
		{Name: "application_name", Type: Text, Kinds: mq, Option: true, Since: converting, Reload: RestartBroker,
			Doc: "What the queue manager shows as the application, at most 28 bytes. Left out: posthouse REPEATER.ROUTE, cut."},
		{Name: "library", Type: Path, Kinds: mq, Option: true, Since: converting, Reload: RestartProcess,
			Doc: "IBM's client library, libmqm_r.so. Left out: POSTHOUSE_MQ_LIB, the loader's own search, /opt/mqm/lib64. One process loads one."},
	}
}

// mqSourceFields are the keys of a queue that is read.
func mqSourceFields() []*Field {
	mq := []string{ibmMQ}
	return []*Field{
		{Name: "exclusive", Type: Flag, Default: "false", Kinds: mq, Option: true, Since: converting, Reload: RestartRoute,
			Doc: "Open the queue for this daemon alone: then its order is kept. While another program has it, the link is down and says so."},
		{Name: "convert", Type: Word, Words: []string{mqConvertNone, mqConvertText}, Default: mqConvertNone, Kinds: mq, Option: true, Since: converting, Reload: RestartRoute,
			Doc: "text: text (MQSTR) in the code pages 37, 500, 819, 1047, 1140 and 1200 becomes UTF-8; what cannot be converted stays as it is. none: bytes travel as they are, with their code page."},
		mqStateField("Left out: none is needed; a message that comes again is known by its id, its time and its body."),
	}
}

// mqTargetFields are the keys of a queue that is written.
func mqTargetFields() []*Field {
	mq := []string{ibmMQ}
	return []*Field{
		mqStateField("Required with delivery: exactly-once, and one for each such target."),
		{Name: "context", Type: Word, Words: []string{"default", "identity", "all"}, Default: "default", Kinds: mq, Option: true, Since: converting, Reload: RestartRoute,
			Doc: "Who says who has put a message and when: the queue manager, or Posthouse for the identity or for all of it, which needs that authority; without it the target is denied (2035)."},
		{Name: "reports", Type: Word, Words: []string{"strip", "pass"}, Default: "strip", Kinds: mq, Option: true, Since: converting, Reload: RestartRoute,
			Doc: "Report options of messages. strip: they travel in posthouse-report; pass: this queue manager is asked for the reports."},
		{Name: "groups", Type: Word, Words: []string{"drop", "keep"}, Default: "drop", Kinds: mq, Option: true, Since: converting, Reload: RestartRoute,
			Doc: "Group ids and sequence numbers. drop: they travel in headers; keep: as the group of the message, and who waits for whole groups waits for every message of it."},
	}
}

func mqStateField(left string) *Field {
	return &Field{Name: "state_queue", Type: Text, Kinds: []string{ibmMQ}, Option: true, Since: converting, Reload: RestartRoute,
		Doc: "A queue of its own for one message that says how far this end has come, in the same unit of work as the messages: DEFINE QLOCAL(NAME) DEFPSIST(YES) SHARE DEFSOPT(EXCL). " + left}
}

// Words of convert.
const (
	mqConvertNone = "none"
	mqConvertText = "text"
)

// ConvertsText reports whether text of the source becomes UTF-8 where it comes from IBM MQ.
func (r *Route) ConvertsText() bool {
	return r.From.Options.String("convert", mqConvertNone) == mqConvertText
}
