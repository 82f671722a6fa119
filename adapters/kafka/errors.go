package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/posthouse/posthouse/adapters"
)

var (
	errLogin    = errors.New("the broker closed the connection during the login: wrong user, password, token or mechanism")
	errCut      = errors.New("the connection was given up")
	errClosed   = errors.New("closed")
	errFrame    = errors.New("a response of the broker is larger than this end may hold: raise max_message_size (or prefetch), or have the large message removed")
	errPosition = errors.New("the group's position is lost")
)

// A verdict is what an error means and, where the broker's own words do not say it, what an operator should know.
type verdict struct {
	kind  adapters.Kind
	words string
}

// verdictOf is the one table from Kafka's error codes to Kinds. Codes that it does not list leave the outcome unknown:
// Lost.
func verdictOf(code sarama.KError) verdict {
	switch code {
	case sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge:
		return verdict{adapters.Permanent, "larger than the topic takes (max.message.bytes)"}
	case sarama.ErrInvalidRecord:
		return verdict{adapters.Permanent, "the broker refused the record: a compacted topic takes no message without a key"}
	case sarama.ErrInvalidTimestamp:
		return verdict{adapters.Permanent, "the broker refused the record's timestamp (message.timestamp.before.max.ms, message.timestamp.after.max.ms)"}
	case sarama.ErrUnsupportedForMessageFormat, sarama.ErrUnsupportedCompressionType:
		return verdict{adapters.Permanent, "the topic's message format cannot hold it"}
	case sarama.ErrTopicAuthorizationFailed:
		return verdict{adapters.Denied, "no right to this topic: grant Describe and Read (source) or Write (target)"}
	case sarama.ErrGroupAuthorizationFailed:
		return verdict{adapters.Denied, "no right to this consumer group: grant Read on it"}
	case sarama.ErrClusterAuthorizationFailed:
		return verdict{adapters.Denied, "no right on the cluster: brokers before 2.8 want IdempotentWrite"}
	case sarama.ErrTransactionalIDAuthorizationFailed:
		return verdict{adapters.Denied, "no right to this transactional id: grant Describe and Write on transactional ids with the prefix " + txPrefix}
	case sarama.ErrInvalidTransactionTimeout:
		return verdict{adapters.Denied, "the broker allows no transactions as long as four times confirm_timeout: raise transaction.max.timeout.ms there"}
	case sarama.ErrSASLAuthenticationFailed, sarama.ErrIllegalSASLState:
		return verdict{adapters.Denied, "the broker refused user and password, or the token"}
	case sarama.ErrUnsupportedSASLMechanism:
		return verdict{adapters.Denied, "the broker does not offer this credentials.mechanism"}
	case sarama.ErrFencedInstancedId:
		return verdict{adapters.Denied, "another process with the same repeater name and route has taken this place in the consumer group: run only one of them"}
	case sarama.ErrInvalidGroupId, sarama.ErrInconsistentGroupProtocol:
		return verdict{adapters.Denied, "the consumer group is in use by consumers of another kind: choose another group"}
	case sarama.ErrInvalidSessionTimeout:
		return verdict{adapters.Denied, "the broker allows no such session timeout (group.min.session.timeout.ms, group.max.session.timeout.ms): three times heartbeat must lie between"}
	case sarama.ErrGroupMaxSizeReached:
		return verdict{adapters.Denied, "the consumer group has as many members as the broker allows (group.max.size)"}
	case sarama.ErrPolicyViolation:
		return verdict{adapters.Denied, "a policy of the broker forbids it"}
	case sarama.ErrOffsetOutOfRange:
		return verdict{adapters.Denied, "the topic no longer holds the group's position (retention, or the topic was made again): set it with kafka-consumer-groups --reset-offsets"}
	case sarama.ErrUnknownTopicOrPartition, sarama.ErrInvalidTopic:
		return verdict{adapters.NotFound, "no such topic; Posthouse creates none"}
	case sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend:
		return verdict{adapters.Transient, "fewer replicas in sync than min.insync.replicas"}
	case sarama.ErrThrottlingQuotaExceeded:
		return verdict{adapters.Transient, "a quota is used up"}
	}
	return verdict{adapters.Lost, ""}
}

// classify makes an *adapters.Error of err. An error that is one already keeps its kind.
func classify(op string, a adapters.Address, err error) *adapters.Error {
	var own *adapters.Error
	if errors.As(err, &own) {
		return &adapters.Error{Op: op, Addr: a, Kind: own.Kind, Err: err}
	}
	v := judge(err)
	if code, _ := codeOf(err); code == sarama.ErrMessageSizeTooLarge {
		err = fmt.Errorf("%w: %w", adapters.ErrTooLarge, err)
	}
	if v.words != "" {
		err = fmt.Errorf("%s: %w", v.words, err)
	}
	return &adapters.Error{Op: op, Addr: a, Kind: v.kind, Err: err}
}

func judge(err error) verdict {
	code, answered := codeOf(err)
	switch {
	case errors.Is(err, errLogin), errors.Is(err, errFrame), errors.Is(err, errPosition), errors.As(err, new(unfit)):
		return verdict{adapters.Denied, ""}
	case errors.Is(err, errCut), errors.Is(err, errClosed):
		return verdict{adapters.Lost, ""}
	case errors.Is(err, sarama.ErrDecompressedBatchTooLarge):
		return verdict{adapters.Denied, "a batch in the topic unpacks to more than this process may hold"}
	case answered:
		return verdictOf(code)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return verdict{adapters.Lost, ""}
	}
	if v := judgeTLS(err); v.words != "" {
		return v
	}
	var cfg sarama.ConfigurationError
	if errors.As(err, &cfg) {
		return verdict{adapters.Permanent, ""}
	}
	return verdict{adapters.Lost, ""}
}

// codeOf finds the broker's error code in err. The client library wraps some of them so that errors.As does not see them.
func codeOf(err error) (sarama.KError, bool) {
	var code sarama.KError
	if errors.As(err, &code) {
		return code, true
	}
	for _, code := range []sarama.KError{sarama.ErrSASLAuthenticationFailed, sarama.ErrIllegalSASLState, sarama.ErrUnsupportedSASLMechanism,
		sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed, sarama.ErrClusterAuthorizationFailed,
		sarama.ErrTransactionalIDAuthorizationFailed, sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch} {
		if errors.Is(err, code) {
			return code, true
		}
	}
	return 0, false
}

// judgeTLS words what went wrong with certificates; words is empty where nothing did.
func judgeTLS(err error) verdict {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return verdict{adapters.Denied, fmt.Sprintf("the broker's certificate %q is valid only from %s to %s", invalid.Cert.Subject,
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))}
	case errors.As(err, &invalid):
		return verdict{adapters.Denied, "the broker's certificate is not valid"}
	case errors.As(err, &unknown):
		return verdict{adapters.Denied, "the broker's certificate is signed by nobody in tls.ca_file"}
	case errors.As(err, &host):
		return verdict{adapters.Denied, "the broker's certificate is for another name (tls.server_name)"}
	case errors.As(err, &record):
		return verdict{adapters.Denied, "the broker speaks no TLS on this port"}
	case strings.Contains(err.Error(), "remote error: tls:"):
		return verdict{adapters.Denied, "the broker refused the TLS handshake: it does not take our certificate (tls.cert_file)"}
	}
	return verdict{adapters.Other, ""}
}

// asLost gives err the kind Lost, for calls on an end that is spent.
func asLost(op string, a adapters.Address, err error) error {
	return &adapters.Error{Op: op, Addr: a, Kind: adapters.Lost, Err: fmt.Errorf("the end is spent: %w", err)}
}
