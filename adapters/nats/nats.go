// Package nats connects Posthouse to NATS JetStream.
//
// # What it connects to
//
// A NATS server with JetStream, 2.10 or later, over nats:// or tls:// (default port 4222), or a server inside this
// process (embedded). Core NATS without JetStream confirms nothing and is not offered. A source is a stream, read by a
// durable pull consumer with explicit acks; a target is a subject that some stream takes. Credentials: user and
// password, token, or a client certificate (mechanism external). The client library never reconnects by itself: a lost
// connection is Kind Lost and the owner opens another. Addresses that a server advertises are not used.
//
// # Settle
//
// Each delivery by itself, confirmed: an ack goes out with a reply address and Settle returns when the server has
// answered all of a batch (a double ack). Accepted is +ACK, Released is -NAK. Rejected is refused, because +TERM would
// drop the message. What is held is kept alive by +WPI, so that it is not given out twice while the connection lives;
// after a lost connection the server gives it out again when the ack wait of three heartbeats has passed.
//
// # Send
//
// Published with a reply address, many at a time, each answered by the stream. Track.ID travels as Nats-Msg-Id, so the
// stream drops an id that it has seen within its duplicate window; an answer that says "duplicate" is a confirmation,
// and is counted (Duplicates). A message with a destination of its own (Message.Dest: a reply whose request named it) goes to
// the stream that takes that subject; where none does, and to inboxes, it is published to whoever listens: confirmed means then
// that somebody did, and that the server has handed it to that connection, not that it is stored. Where nobody listens it is
// Permanent with ErrGone. Repeats of such a message are not recognised.
//
// # Order
//
// A stream hands out first deliveries in its own order. What was released or timed out comes later, when the server
// gives it out again. A refused message does not stop the ones sent behind it.
//
// # Errors
//
// No stream for the subject, or no such stream: NotFound. A stream that is full and discards new messages, or a server
// without storage: Full. Larger than max_payload or than the stream's max_msg_size: Permanent, found before sending.
// Wrong credentials, a certificate that is not believed, a subject without permission: Denied. Everything that ends
// the connection: Lost.
//
// # Limits
//
// Header values are text without line breaks and without blanks at the ends; names are tokens (RFC 9110, 5.6.2); the
// order of headers with different names is lost. There is no reply address: JetStream uses NATS' reply subject for its
// own answers, and does not store that of a requester, so ReplyTo travels in Posthouse's own header, and nats.Request at a
// subject of a stream gets the stream's answer. A message larger than Limits.MaxSize at the head of a
// source is never fetched: Receive then returns an error of Kind Permanent, and the message stays in its stream.
// Streams are made only if asked (create: true). Such a stream is a queue: files on disk, WorkQueue retention (a
// settled message is gone, and one consumer reads it), discard new (a full stream refuses and drops nothing). With keep it
// has Limits retention instead: each consumer gets a copy, and what is older than keep is gone, read or not.
package nats

import "time"

// The keys of a nats broker (Config.Options).
const (
	// KeyEmbedded holds an object: run a JetStream server in this process instead of connecting to addresses.
	KeyEmbedded = "embedded"
	// KeyDuplicateWindow is a duration: what a created stream remembers of ids [2m]; a target whose stream remembers
	// less than what is stated here is refused.
	KeyDuplicateWindow = "duplicate_window"
)

// The keys inside embedded.
const (
	KeyDir     = "dir"      // string, required: the store directory, used by one process at a time
	KeyListen  = "listen"   // string, host:port: also accept TCP clients there; "" = reachable from this process only
	KeyMaxSize = "max_size" // int64, bytes of all streams together; 0 = three quarters of the free disk
	KeySync    = "sync"     // "always" (default), "never", or a duration between two syncs
)

// The keys of an end (Address.Options).
const (
	// KeySubject is a string, source only: receive only messages of this subject; wildcards allowed.
	KeySubject = "subject"
	// KeyCreate is a bool: a source makes its stream, with the subject or else its own name as subject; a target makes
	// a stream for its subject when no stream takes it.
	KeyCreate = "create"
	// KeyKeep is a duration: a stream that KeyCreate makes keeps messages so long, whoever has read them, so that each
	// consumer gets a copy. Without it such a stream is a queue.
	KeyKeep = "keep"
	// KeyConsumer is a string, source only: the durable's name; sources with an equal name share the messages. The
	// default is made of Config.Client.
	KeyConsumer = "consumer"
	// KeyTemporary is a bool, source only: the consumer is removed at Close, and one minute after a crash. For
	// trials; a position in a stream with limits retention is lost with it.
	KeyTemporary = "temporary"
	// KeyStream is a string, target only, with create: the stream to make; the default is the subject with "_" for ".".
	KeyStream = "stream"
)

const (
	defaultPort   = "4222"
	defaultWindow = 2 * time.Minute
	// sizeSlack is what JetStream counts beside body and headers of a message: its ack subject and ours.
	sizeSlack = 1024
)
