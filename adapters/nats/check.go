package nats

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Check looks at c and as without touching the network or a file. Its error is an *adapters.OptionError or several
// joined.
func (*Adapter) Check(c adapters.Config, as ...adapters.Address) error {
	errs := []error{
		c.Options.Unknown(KeyEmbedded, KeyDuplicateWindow, keyTTL),
		checkWindow(c.Options),
		checkCredentials(c),
	}
	if e := c.Options.Sub(KeyEmbedded); e != nil {
		errs = append(errs, checkEmbedded(c, e))
	} else {
		errs = append(errs, checkAddresses(c))
	}
	for _, a := range as {
		errs = append(errs, checkEnd(a))
	}
	return errors.Join(errs...)
}

// keyTTL is the broker option by which the lifetime of messages is given to streams that allow it.
const keyTTL = "nats_ttl"

func wrong(key, help, problem string, args ...any) error {
	return &adapters.OptionError{Key: key, Problem: fmt.Sprintf(problem, args...), Help: help}
}

func checkWindow(o adapters.Options) error {
	if d := o.Duration(KeyDuplicateWindow, defaultWindow); d < 100*time.Millisecond {
		return wrong(KeyDuplicateWindow, "write a duration of at least 100ms, for example 2m", "%v is too short", d)
	}
	return nil
}

func checkAddresses(c adapters.Config) error {
	if len(c.Addresses) == 0 {
		return wrong("addresses", "write at least one nats://HOST:PORT", "no address")
	}
	var errs []error
	for _, a := range c.Addresses {
		if _, err := parseAddress(c, a); err != nil {
			errs = append(errs, wrong("addresses", "write nats://HOST:PORT or tls://HOST:PORT", "%q: %v", a, err))
		}
	}
	return errors.Join(errs...)
}

// endpoint is one address, taken apart.
type endpoint struct {
	hostPort, host string
	tls            bool
}

// parseAddress reads nats://HOST[:PORT], tls://HOST[:PORT] or HOST[:PORT].
func parseAddress(c adapters.Config, s string) (endpoint, error) {
	if !strings.Contains(s, "://") {
		s = "nats://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return endpoint{}, errors.New("not an address")
	}
	switch {
	case u.Scheme != "nats" && u.Scheme != "tls":
		return endpoint{}, fmt.Errorf("unknown scheme %q", u.Scheme)
	case u.Hostname() == "":
		return endpoint{}, errors.New("no host")
	case u.User != nil:
		return endpoint{}, errors.New("credentials do not belong into an address")
	case u.Path != "" || u.RawQuery != "":
		return endpoint{}, errors.New("something follows the port")
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return endpoint{hostPort: net.JoinHostPort(u.Hostname(), port), host: u.Hostname(), tls: u.Scheme == "tls" || c.TLS.On}, nil
}

func checkCredentials(c adapters.Config) error {
	k := c.Credentials
	switch k.Mechanism {
	case "", "plain", "token", "anonymous":
	case "external":
		if c.TLS.CertFile == "" {
			return wrong("credentials.mechanism", "add tls.cert_file and tls.key_file", "external needs a client certificate")
		}
		if k.User != "" || !k.Token.IsZero() {
			return wrong("credentials.mechanism", "leave out user, password and token", "external is the client certificate alone")
		}
	default:
		return wrong("credentials.mechanism", "write plain, token, external or anonymous", "unknown mechanism %q", k.Mechanism)
	}
	if k.User != "" && !k.Token.IsZero() {
		return wrong("credentials.token", "leave one of them out", "user and token exclude each other")
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return wrong("tls.cert_file", "write both or none", "cert_file and key_file belong together")
	}
	return nil
}

func checkEmbedded(c adapters.Config, e adapters.Options) error {
	errs := []error{prefixed(e.Unknown(KeyDir, KeyListen, KeyMaxSize, KeySync))}
	if e.String(KeyDir, "") == "" {
		errs = append(errs, wrong(KeyEmbedded+"."+KeyDir, "write the directory for the streams", "missing"))
	}
	if len(c.Addresses) > 0 {
		errs = append(errs, wrong("addresses", "write addresses or embedded, not both", "an embedded server has no addresses"))
	}
	if c.TLS.On {
		errs = append(errs, wrong("tls", "leave it out, or run a nats-server of its own", "an embedded server offers no TLS"))
	}
	if e.Int(KeyMaxSize, 0) < 0 {
		errs = append(errs, wrong(KeyEmbedded+"."+KeyMaxSize, "write a size, for example 10GiB", "negative"))
	}
	if _, err := parseSync(e); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, checkListen(c, e.String(KeyListen, "")))...)
}

// prefixed puts "embedded." before the keys of joined OptionErrors.
func prefixed(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		errs = append(errs, embeddedKey(e))
	}
	return errors.Join(errs...)
}

func embeddedKey(err error) error {
	var o *adapters.OptionError
	if !errors.As(err, &o) {
		return err
	}
	return &adapters.OptionError{Key: KeyEmbedded + "." + o.Key, Problem: o.Problem, Help: o.Help}
}

func checkListen(c adapters.Config, listen string) error {
	if listen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return wrong(KeyEmbedded+"."+KeyListen, "write HOST:PORT, for example 127.0.0.1:4222", "%q: %v", listen, err)
	}
	ip := net.ParseIP(host)
	if host != "localhost" && (ip == nil || !ip.IsLoopback()) && c.Credentials.User == "" && c.Credentials.Token.IsZero() {
		return wrong(KeyEmbedded+"."+KeyListen, "listen on 127.0.0.1, or state credentials, which clients must then show",
			"%q is open to everybody", listen)
	}
	return nil
}

func checkEnd(a adapters.Address) error {
	switch a.Form {
	case adapters.Stream:
		return errors.Join(a.Options.Unknown(KeySubject, KeyCreate, KeyKeep, KeyConsumer, KeyTemporary), checkStreamEnd(a))
	case adapters.Subject:
		errs := a.Options.Unknown(KeyCreate, KeyKeep, KeyStream)
		errs = errors.Join(errs, checkSubject(a))
		if s := a.Options.String(KeyStream, ""); s != "" && !isName(s) {
			errs = errors.Join(errs, wrong(KeyStream, nameHelp, "%q is no name of a stream", s))
		}
		return errs
	}
	return wrong(string(a.Form), "a source is a stream, a target is a subject", "nats has no %s", a.Form)
}

// checkSubject looks at a target's subject, or at how its subjects begin.
func checkSubject(a adapters.Address) error {
	name := a.Name
	if a.Dynamic {
		if a.Options[KeyCreate] != nil || a.Options[KeyStream] != nil {
			return wrong(KeyCreate, "make a stream that takes them, for example with the subject "+name+">", "no stream is made for subjects that messages name")
		}
		name += "x" // what follows is not known
	}
	if problem := badSubject(name, false); problem != "" {
		return wrong("subject", "", "%q: %s", a.Name, problem)
	}
	return nil
}

const nameHelp = "no blanks and none of . * > / \\"

func checkStreamEnd(a adapters.Address) error {
	var errs []error
	if !isName(a.Name) {
		errs = append(errs, wrong("stream", nameHelp, "%q is no name of a stream", a.Name))
	}
	if s := a.Options.String(KeyConsumer, ""); s != "" && !isName(s) {
		errs = append(errs, wrong(KeyConsumer, nameHelp, "%q is no name of a consumer", s))
	}
	if s := a.Options.String(KeySubject, ""); s != "" {
		if problem := badSubject(s, true); problem != "" {
			errs = append(errs, wrong(KeySubject, "", "%q: %s", s, problem))
		}
	}
	return errors.Join(errs...)
}

// isName reports whether s can name a stream or a consumer (ADR-6, at most 255 bytes).
func isName(s string) bool {
	return s != "" && len(s) <= 255 && !strings.ContainsAny(s, ".*>/\\ \t\r\n\x00")
}

// badSubject says what is wrong with a subject, or "" (NATS protocol, subject names).
func badSubject(s string, wildcards bool) string {
	if strings.ContainsAny(s, " \t\r\n\x00") {
		return "a subject has no blanks"
	}
	tokens := strings.Split(s, ".")
	if tokens[0] == "$JS" || tokens[0] == "$SYS" || tokens[0] == "_INBOX" {
		return "this subject belongs to the server"
	}
	for i, t := range tokens {
		switch {
		case t == "":
			return "an empty part between dots"
		case !wildcards && (t == "*" || t == ">"):
			return "a target has no wildcard"
		case t == ">" && i < len(tokens)-1:
			return "\">\" stands at the end only"
		}
	}
	return ""
}
