// Package ibmmq is how a message looks to IBM MQ: the descriptor (MQMD), the message properties and the MQRFH2 header, and
// their mapping from and to the canonical message. It is pure: it needs neither IBM's client library nor cgo, and opens no
// connection. The adapter that does is not there yet.
//
// # Facts
//
// Field names and values are those of IBM's reference (MQMD, MQRFH2, message properties, "Mapping JMS fields onto IBM MQ
// fields"). Ids are 24 bytes, expiry is relative in tenths of a second, times are GMT in hundredths, names of queues have 48
// characters. Properties are typed and their names are Java identifiers; the folder usr is left out of a name.
//
// # What is read and not written
//
// BackoutCount, UserIdentifier, PutApplName, groups, and the reply address of JMS: without context authority the queue
// manager sets them itself, and an incomplete group blocks who waits for all of it. Report options are read and written as
// 0: the reports would come from the wrong queue manager.
package ibmmq
