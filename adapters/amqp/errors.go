package amqp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/posthouse/posthouse/adapters"
)

// kindOf is the table of error conditions (part 2, section 2.8.14 to 2.8.18) when the broker answers a message with
// rejected: what it means for that message.
func kindOf(condition string) adapters.Kind {
	switch amqp.ErrCond(condition) {
	case amqp.ErrCondResourceLimitExceeded:
		return adapters.Full
	case amqp.ErrCondNotFound, amqp.ErrCondResourceDeleted:
		return adapters.NotFound
	case amqp.ErrCondUnauthorizedAccess, amqp.ErrCondNotAllowed:
		return adapters.Denied
	case amqp.ErrCondMessageSizeExceeded, amqp.ErrCondDecodeError, amqp.ErrCondInvalidField, amqp.ErrCondNotImplemented,
		amqp.ErrCondPreconditionFailed:
		return adapters.Permanent
	case amqp.ErrCondInternalError, amqp.ErrCondResourceLocked, amqp.ErrCondIllegalState:
		return adapters.Transient
	}
	return adapters.Permanent
}

// attachKind is kindOf for an attach: there is no message yet, and a place that is full or locked is tried again.
// Artemis calls it an internal error when the user may not create what is not there (AMQ229032).
func attachKind(condition, text string) adapters.Kind {
	if strings.Contains(text, "AMQ229032") {
		return adapters.Denied
	}
	switch k := kindOf(condition); k {
	case adapters.NotFound, adapters.Denied:
		return k
	case adapters.Permanent:
		if amqp.ErrCond(condition) == amqp.ErrCondNotImplemented || amqp.ErrCond(condition) == amqp.ErrCondInvalidField {
			return k
		}
	}
	return adapters.Lost
}

// attachError classifies a failed attach. RabbitMQ answers with the end of the session, others with a detach.
func (l *link) attachError(ctx context.Context, err error) error {
	var end *endError
	var remote *amqp.Error
	condition, text := "", ""
	if errors.As(l.w.why(), &end) {
		condition, text, err = end.condition, end.text, end
	} else if errors.As(err, &remote) {
		condition, text = string(remote.Condition), remote.Description
	}
	if condition == "" && ctx.Err() != nil {
		err = fmt.Errorf("the broker did not answer the attach: %w", ctx.Err())
	}
	if condition != "" {
		err = fmt.Errorf("the broker refused %s %q: %w", l.at.Form, l.p.address(l.at, true), err)
	}
	return &adapters.Error{Op: "attach", Addr: l.at, Kind: attachKind(condition, text), Err: err}
}

// saslError says what a failed open was about. Some brokers answer a wrong password with silence.
func (l *link) saslError(err error) error {
	err = l.reason(err)
	if l.w.sasl.Load() == 1 {
		return &deniedError{fmt.Errorf("the broker did not answer the %s login: possibly wrong credentials: %w",
			mechanism(l.cfg.Credentials), err)}
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "auth failed"):
		return &deniedError{fmt.Errorf("the broker refused the login (%s, user %q)", mechanism(l.cfg.Credentials), l.cfg.Credentials.User)}
	case strings.Contains(text, "no supported auth mechanism"):
		return &deniedError{fmt.Errorf("the broker does not offer the login mechanism %s: %w", mechanism(l.cfg.Credentials), err)}
	}
	return err
}

// A deniedError is a refusal that an operator has to mend.
type deniedError struct{ err error }

func (e *deniedError) Error() string { return e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

// connectError classifies why an address did not come up.
func connectError(cfg adapters.Config, a adapters.Address, err error) *adapters.Error {
	if a.Broker == "" {
		a.Broker = cfg.Name
	}
	kind, cause := adapters.Lost, err
	var ours *adapters.Error
	var denied *deniedError
	var remote *amqp.Error
	if plain, ok := tlsError(err); ok {
		kind, cause = adapters.Denied, fmt.Errorf("%w%s", plain, ownCertificate(cfg.TLS, cfg.Now()))
	} else if errors.As(err, &ours) {
		kind, cause = ours.Kind, fmt.Errorf("%s: %w", ours.Op, ours.Err)
	} else if errors.As(err, &denied) {
		kind = adapters.Denied
	} else if errors.As(err, &remote) && attachKind(string(remote.Condition), remote.Description) == adapters.Denied {
		kind = adapters.Denied
	}
	return &adapters.Error{Op: "connect", Addr: a, Kind: kind, Err: cause}
}

// tlsError puts the ways in which certificates fail into plain words.
func tlsError(err error) (error, bool) {
	var (
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		host    x509.HostnameError
		alert   tls.AlertError
		record  tls.RecordHeaderError
		op      *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("the broker's certificate%s is not signed by a CA we know: set tls.ca_file: %w", subject(unknown.Cert), err), true
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		return expired(invalid.Cert, err), true
	case errors.As(err, &invalid):
		return fmt.Errorf("the broker's certificate%s is not valid: %w", subject(invalid.Cert), err), true
	case errors.As(err, &host):
		return fmt.Errorf("the broker's certificate is for another host: set tls.server_name: %w", err), true
	case errors.As(err, &record):
		return fmt.Errorf("the broker does not speak TLS at this port: use amqp:// or another port: %w", err), true
	case errors.As(err, &alert):
		return alertError(alert, err), true
	case errors.As(err, &op) && op.Op == "remote error":
		return alertError(0, err), true
	}
	return nil, false
}

// ownCertificate says that our client certificate is out of date, where it is: brokers only say that they do not like it.
func ownCertificate(t adapters.TLS, now time.Time) string {
	if t.CertFile == "" {
		return ""
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil || pair.Leaf == nil || now.Before(pair.Leaf.NotAfter) {
		return ""
	}
	return fmt.Sprintf("; our client certificate (%s) in %s expired on %s", pair.Leaf.Subject, t.CertFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
}

func subject(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf(" (%s)", c.Subject)
}

func expired(c *x509.Certificate, err error) error {
	if time.Now().Before(c.NotBefore) {
		return fmt.Errorf("the broker's certificate (%s) is not valid before %s: %w", c.Subject, c.NotBefore.UTC().Format(time.RFC3339), err)
	}
	return fmt.Errorf("the broker's certificate (%s) expired on %s: %w", c.Subject, c.NotAfter.UTC().Format(time.RFC3339), err)
}

// alertError explains what the broker's TLS said. All of these are about our certificate or version.
func alertError(alert tls.AlertError, err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "certificate required"), strings.Contains(text, "bad certificate"):
		return fmt.Errorf("the broker wants a client certificate it can verify: set tls.cert_file and tls.key_file: %w", err)
	case strings.Contains(text, "expired certificate"):
		return fmt.Errorf("our client certificate has expired: renew the one in tls.cert_file: %w", err)
	case strings.Contains(text, "unknown certificate"), strings.Contains(text, "certificate unknown"):
		return fmt.Errorf("the broker does not accept our client certificate: %w", err)
	case strings.Contains(text, "protocol version"):
		return fmt.Errorf("the broker speaks no TLS version that we may use: %w", err)
	}
	return fmt.Errorf("the broker refused the TLS connection (alert %d): %w", alert, err)
}

// rejectKind is the kind of a rejection. Artemis answers a full address and others with conditions of their own; what
// is known of their texts is here, at the edge, and nowhere else.
func rejectKind(e *amqp.Error) adapters.Kind {
	text := strings.ToLower(e.Description)
	if strings.Contains(text, "is full") || strings.Contains(text, "address_full") {
		return adapters.Full
	}
	return kindOf(string(e.Condition))
}
