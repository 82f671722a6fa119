// Package kafka connects Posthouse to Apache Kafka and to brokers that speak its protocol, through github.com/IBM/sarama.
//
// # What it connects to
//
// Topics of Kafka 2.3 and later (static group members need that version), over plain TCP or TLS, with SASL PLAIN,
// SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER with a token that is given (Posthouse fetches and renews none), or a client
// certificate (external). Addresses are host:port; there is no scheme, so the tls section of the file decides about TLS,
// and the name in the server's certificate is checked for each broker's own address. Every connection, also to brokers
// that the cluster names, is made through Config.Dial.
//
// A source is a static member of a consumer group. The group is GROUP.ROUTE, where GROUP is the broker's key group
// [posthouse] and ROUTE what follows the first dot of Config.Client; an end's own key group is the whole name instead.
// Two processes that use one name and one topic fence each other: the older one reports Denied.
//
// # Settle
//
// The grain is Prefix. For each partition the source keeps the gap-free front of what was accepted and commits its end,
// with its own request, so that nil from Settle means that the group's coordinator has recorded it. What is behind a
// delivery that is still open is recorded together with it, and counts towards Limits.Prefetch until then: a message that
// is released for ever holds its source back, all partitions of it, and a restart repeats no more than that. Released deliveries are handed out again by the same source
// with a higher Attempt; after a reopen Kafka does not tell that it delivers again. There is no place for rejected ones.
// When a rebalance takes partitions away, the source hands out nothing more and gives its owner a bounded time to settle
// what is in flight; what is open after that makes the source Lost.
//
// The committed position carries the topic's id. A position that the topic no longer holds, or that belongs to a topic
// deleted and made again under the same name, is Denied with the reason: nothing is ever reset silently.
//
// # Send
//
// An idempotent producer of the target's own, acks from all in-sync replicas, one request in flight per broker. Topics
// are never created. A message is confirmed when the broker has answered for its batch. An error that is no refusal of
// the message itself spends the target: the outcome is unknown, and nothing behind it leaves any more.
//
// # Transactions
//
// OpenTx opens a target of class T-tx. Its transactional id is posthouse-LANE; the lane's position is one record, with the
// lane as its key, in partition 0 of the compacted topic that the broker's key state_topic names [posthouse-state]. The
// topic is made where it is missing, with one partition and the replication factor and min.insync.replicas of the topic
// of the messages. One with a cleanup.policy other than compact is Denied. Consumers must read with
// isolation.level=read_committed: others see what is aborted, too. A transaction takes three or four round trips and a few ms of
// the coordinator's time, however many messages it has; several of its produce requests are on their way at once. The
// user needs Describe and Write on the transactional ids with the prefix posthouse-, Read, Write, Describe and
// DescribeConfigs on the state topic, and Create where Posthouse shall make it.
//
// Every error but a refusal spends the target, and opening the next one ends what was left open. Until then, or for four
// times Limits.Confirm at most (at least a minute), readers of committed records wait behind it.
//
// # Order
//
// Kafka keeps the order of a partition. Messages with an equal key go to the partition that the Java client would choose
// (murmur2). Messages without a key keep to one partition for one Post and move on with the next, so their order holds
// within a Post and, where the topic has one partition, altogether. A refused message does not stop the later ones.
//
// # Errors
//
// The table is in errors.go. A refused login that a broker shows only by closing the connection is Denied, too.
//
// # Limits
//
// A target takes messages up to the topic's max.message.bytes, where it may read that, and Limits.MaxSize. One request is
// on its way to a broker, with one record batch of at most max.message.bytes for each partition. So a partition takes,
// in each round trip, at most max.message.bytes and half of Limits.InFlight, whichever is less: with Kafka's default of
// 1 MiB, 50 ms away, some 17,000 messages of 1 KiB a second. For more, raise in_flight together with max.message.bytes of
// the topic (16384 and 8 MiB: some 60,000), or use more partitions. Compression does not help: a batch is filled by the
// size of its messages before it.
//
// A source asks for 4 KiB for each message of Limits.Prefetch, at least 1 MiB, at most 8 MiB and half of PrefetchBytes,
// over all partitions and in each round trip. It cuts the connection at a response larger than twice what PrefetchBytes
// allows to ask for plus one message of Limits.MaxSize, before it is read: the source is then Denied and says which limit
// to raise. Kafka compresses several messages together, so what was asked for may unpack to a multiple, and up to 100 MiB
// of one batch can be in memory meanwhile. sarama keeps that last bound, and no other, in a package variable of its own.
// Messages beyond 96 MiB are refused.
package kafka
