package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/posthouse/posthouse/adapters"
)

// apiRow says what one error of the JetStream API means.
type apiRow struct {
	code jetstream.ErrorCode
	kind adapters.Kind
	text string // plain words; "" = the server's own
}

// apiRows is the table of JetStream's errors (nats-server, server/errors.json). What is not in it goes by its class:
// 4xx Permanent, 404 NotFound, 5xx Transient.
func apiRows() []apiRow {
	return []apiRow{
		{10023, adapters.Full, "the server has no resources left"},
		{10028, adapters.Full, "the server has no memory left for streams"},
		{10047, adapters.Full, "the server has no storage left for streams"},
		{10039, adapters.NotFound, "JetStream is not enabled for this account"},
		{10076, adapters.NotFound, "JetStream is not enabled on this server"},
		{10014, adapters.NotFound, ""},
		{10059, adapters.NotFound, "no such stream"},
		{tooLarge, adapters.Permanent, "larger than the stream's max_msg_size"},
		{10109, adapters.Denied, "the stream is sealed"},
		{10100, adapters.Denied, "another consumer already reads this work queue stream, or these subjects of it"},
		{10099, adapters.Denied, "another consumer already reads this work queue stream"},
		{10065, adapters.Denied, "another stream already takes this subject"},
		{10058, adapters.Denied, "a stream of this name exists with other settings"},
	}
}

// storeFailed is the code with which a stream says that it did not store; the text says why.
const storeFailed = 10077

// tooLarge is the code for a message above the stream's max_msg_size.
const tooLarge = 10054

// classifyAPI finds kind and words for an answer of the JetStream API.
func classifyAPI(e *jetstream.APIError) (adapters.Kind, error) {
	if e.ErrorCode == storeFailed && strings.Contains(e.Description, "exceeded") {
		return adapters.Full, fmt.Errorf("the stream is full: %s", e.Description)
	}
	for _, r := range apiRows() {
		if r.code != e.ErrorCode {
			continue
		}
		if r.text == "" {
			return r.kind, errors.New(e.Description)
		}
		if r.code == tooLarge {
			return r.kind, fmt.Errorf("%w: %s (%s, %d)", adapters.ErrTooLarge, r.text, e.Description, e.ErrorCode)
		}
		return r.kind, fmt.Errorf("%s (%s, %d)", r.text, e.Description, e.ErrorCode)
	}
	err := fmt.Errorf("%s (%d)", e.Description, e.ErrorCode)
	switch {
	case e.Code == 404:
		return adapters.NotFound, err
	case e.Code >= 400 && e.Code < 500:
		return adapters.Permanent, err
	}
	return adapters.Transient, err
}

// classify finds kind and words for an error of the client library, of TLS or of the server.
func classify(err error) (adapters.Kind, error) {
	var own *adapters.Error
	var api *jetstream.APIError
	var js jetstream.JetStreamError
	switch {
	case errors.As(err, &own):
		return own.Kind, own.Err
	case errors.As(err, &api):
		return classifyAPI(api)
	case errors.As(err, &js) && js.APIError() != nil:
		return classifyAPI(js.APIError())
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, natsgo.ErrNoResponders):
		return adapters.NotFound, errors.New("nobody answers: no such stream, or JetStream is not enabled")
	case errors.Is(err, natsgo.ErrPermissionViolation):
		return adapters.Denied, err
	case errors.Is(err, natsgo.ErrMaxPayload):
		return adapters.Permanent, fmt.Errorf("%w: %w", adapters.ErrTooLarge, err)
	case errors.Is(err, natsgo.ErrBadHeaderMsg), errors.Is(err, natsgo.ErrBadSubject):
		return adapters.Permanent, err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return adapters.Transient, err
	}
	if denied := classifyLogin(err); denied != nil {
		return adapters.Denied, denied
	}
	return adapters.Lost, err
}

// classifyLogin returns plain words for a refused login or certificate, or nil.
func classifyLogin(err error) error {
	switch {
	case errors.Is(err, natsgo.ErrAuthorization):
		return errors.New("the server refuses these credentials (user, password or token)")
	case errors.Is(err, natsgo.ErrAuthExpired), errors.Is(err, natsgo.ErrAccountAuthExpired), errors.Is(err, natsgo.ErrAuthRevoked):
		return fmt.Errorf("the credentials are no longer valid: %w", err)
	case errors.Is(err, natsgo.ErrSecureConnWanted):
		return errors.New("the server offers no TLS: write nats:// without tls, or give the server a certificate")
	}
	return classifyCertificate(err)
}

// classifyCertificate returns plain words for a TLS handshake that failed, or nil.
func classifyCertificate(err error) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var alert tls.AlertError
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("the server's certificate%s is signed by an authority that tls.ca_file does not hold", named(unknown.Cert))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the server's certificate%s is not valid now: it runs from %s to %s", named(invalid.Cert),
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &invalid):
		return fmt.Errorf("the server's certificate%s is not valid: %w", named(invalid.Cert), err)
	case errors.As(err, &host):
		return fmt.Errorf("the server's certificate%s is for another name: %w (tls.server_name can state it)", named(host.Certificate), err)
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls:"),
		errors.Is(err, natsgo.ErrTLS): // in TLS 1.3 the refusal of a client certificate comes after the handshake
		return fmt.Errorf("the server refuses our certificate (tls.cert_file), or wants one: %w", err)
	}
	return nil
}

func named(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf(" %q", c.Subject.CommonName)
}

// fail makes the *adapters.Error of one operation.
func fail(op string, a adapters.Address, err error) *adapters.Error {
	kind, words := classify(err)
	return &adapters.Error{Op: op, Addr: a, Kind: kind, Err: words}
}

// lost makes an error of Kind Lost, whatever the cause.
func lost(op string, a adapters.Address, err error) *adapters.Error {
	return &adapters.Error{Op: op, Addr: a, Kind: adapters.Lost, Err: err}
}
