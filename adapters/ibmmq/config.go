package ibmmq

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthouse/posthouse/adapters"
)

// Keys of Config.Options.
const (
	keyManager     = "queue_manager"
	keyChannel     = "channel"
	keyCCDT        = "ccdt_url"
	keyApplication = "application_name"
	keyLibrary     = "library"
)

// Keys of Address.Options.
const (
	keyExclusive = "exclusive"
	keyState     = "state_queue"
	keyContext   = "context"
	keyReports   = "reports"
	keyGroups    = "groups"
	keyConvert   = "convert" // read by the engine: the conversion is the bridge's
)

// Words of those keys.
const (
	contextDefault  = "default"
	contextIdentity = "identity"
	contextAll      = "all"
	reportsStrip    = "strip"
	reportsPass     = "pass"
	groupsDrop      = "drop"
	groupsKeep      = "keep"
)

// Lengths of names in bytes (IBM MQ, "MQ_* string lengths"). The client cuts what is longer, and a message would go elsewhere.
const (
	queueLength   = nameLength
	channelLength = 20
	applLength    = 28
	repoLength    = 256
	cipherLength  = 32
	labelLength   = 64

	// mostInUnit bounds the messages of one unit of work, for it pins the log of the queue manager.
	mostInUnit = 250

	// largest is the largest message in bytes that any queue manager takes.
	largest = 104_857_600

	defaultManagerMax = 4 << 20
	defaultPort       = 1414
)

// settings are what a connection is made with.
type settings struct {
	manager, channel, ccdt, application, library string
	repository, cipher, label                    string
	user, password, token                        string
	heartbeat                                    time.Duration
	maxSize                                      int64
}

func settingsOf(c adapters.Config) settings {
	o := c.Options
	s := settings{
		manager: o.String(keyManager, ""), channel: o.String(keyChannel, ""), ccdt: o.String(keyCCDT, ""),
		application: o.String(keyApplication, ""), library: o.String(keyLibrary, ""),
		repository: strings.TrimSuffix(c.TLS.KeyRepository, ".kdb"), cipher: c.TLS.CipherSpec, label: c.TLS.CertificateLabel,
		user: c.Credentials.User, password: c.Credentials.Password.Reveal(), token: c.Credentials.Token.Reveal(),
		heartbeat: c.Heartbeat, maxSize: min(c.Limits.MaxSize, largest),
	}
	if s.application == "" {
		s.application = clip("posthouse "+c.Client, applLength)
	}
	return s
}

func clip(s string, n int) string { return strings.TrimSpace(s[:min(len(s), n)]) }

// connNames are the addresses as the client wants them, HOST(PORT), to be tried in turn; with a CCDT there is one, "".
func connNames(c adapters.Config) []string {
	if c.Options.String(keyCCDT, "") != "" {
		return []string{""}
	}
	out := make([]string, 0, len(c.Addresses))
	for _, a := range c.Addresses {
		if name, err := connName(a); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// connName reads HOST:PORT, HOST(PORT) and HOST.
func connName(a string) (string, error) {
	host, port := a, strconv.Itoa(defaultPort)
	if h, rest, ok := strings.Cut(a, "("); ok {
		p, closed := strings.CutSuffix(rest, ")")
		if !closed {
			return "", errors.New("a bracket is missing")
		}
		host, port = h, p
	} else if h, p, err := net.SplitHostPort(a); err == nil {
		host, port = h, p
	}
	n, err := strconv.Atoi(port)
	if host == "" || err != nil || n < 1 || n > 65535 || strings.ContainsAny(host, "/ ,()") {
		return "", errors.New("not HOST:PORT")
	}
	return fmt.Sprintf("%s(%d)", host, n), nil
}

// check looks at a broker and its ends without touching anything. With c.Once the ends are targets of routes that promise
// exactly-once.
func check(c adapters.Config, as []adapters.Address) error {
	errs := []error{c.Options.Unknown(keyManager, keyChannel, keyCCDT, keyApplication, keyLibrary)}
	errs = append(errs, checkWay(c), checkLengths(c), checkTLS(c), checkLogin(c))
	for _, a := range as {
		errs = append(errs, checkEnd(a))
		if c.Once && a.Options.String(keyState, "") == "" {
			errs = append(errs, problem(keyState, "missing", needsState))
		}
	}
	return errors.Join(errs...)
}

func problem(key, what, help string) error {
	return &adapters.OptionError{Key: key, Problem: what, Help: help}
}

const needsState = "add state_queue: NAME, a queue for the lane's position alone: DEFINE QLOCAL(NAME) DEFPSIST(YES) SHARE DEFSOPT(EXCL)"

// checkWay looks at how the queue manager is reached: by a CCDT, or by addresses and a channel.
func checkWay(c adapters.Config) error {
	ccdt, channel := c.Options.String(keyCCDT, ""), c.Options.String(keyChannel, "")
	switch {
	case ccdt != "" && (channel != "" || len(c.Addresses) > 0):
		return problem(keyCCDT, "a CCDT says which addresses and which channel are used", "leave out either ccdt_url, or addresses and channel")
	case ccdt != "":
		return nil
	case len(c.Addresses) == 0:
		return problem("addresses", "none given", "list at least one HOST:PORT, or give ccdt_url")
	case channel == "":
		return problem(keyChannel, "missing", "write the name of the server-connection channel, POSTHOUSE.SVRCONN for instance")
	}
	var errs []error
	for _, a := range c.Addresses {
		if _, err := connName(a); err != nil {
			errs = append(errs, problem("addresses", fmt.Sprintf("%q: %v", a, err), "write mq1.example.com:1414 or mq1.example.com(1414)"))
		}
	}
	return errors.Join(errs...)
}

func checkLengths(c adapters.Config) error {
	o := c.Options
	var errs []error
	for _, k := range []struct {
		key, value string
		max        int
	}{{keyManager, o.String(keyManager, ""), queueLength}, {keyChannel, o.String(keyChannel, ""), channelLength},
		{keyApplication, o.String(keyApplication, ""), applLength}, {"tls.key_repository", c.TLS.KeyRepository, repoLength},
		{"tls.cipher_spec", c.TLS.CipherSpec, cipherLength}, {"tls.certificate_label", c.TLS.CertificateLabel, labelLength}} {
		if len(k.value) > k.max {
			errs = append(errs, problem(k.key, fmt.Sprintf("%d bytes, and IBM MQ takes %d", len(k.value), k.max), "shorten it: the client would cut it"))
		}
	}
	for _, k := range []string{keyManager, keyChannel} {
		if s := o.String(k, ""); s != "" && !legalName(s) {
			errs = append(errs, problem(k, fmt.Sprintf("%q is no name of IBM MQ", s), "write letters, digits and . / _ %"))
		}
	}
	if s := o.String(keyLibrary, ""); s != "" && !filepath.IsAbs(s) {
		errs = append(errs, problem(keyLibrary, fmt.Sprintf("%q is not an absolute path", s), "it is code that the daemon loads: write /opt/mqm/lib64/libmqm_r.so for instance"))
	}
	return errors.Join(errs...)
}

// legalName reports whether s is made of the characters that names of objects have (IBM MQ, "Rules for naming IBM MQ objects").
func legalName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("./_%", r)
	}) < 0
}

func checkTLS(c adapters.Config) error {
	t := c.TLS
	ccdt := c.Options.String(keyCCDT, "") != ""
	switch {
	case t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "" || t.MinVersion != 0 || t.SkipVerify:
		return problem("tls", "IBM's client reads no PEM files and knows nothing of these keys", "write key_repository, cipher_spec and certificate_label")
	case !t.On || ccdt:
		return nil
	case t.CipherSpec == "":
		return problem("tls.cipher_spec", "missing, so TLS would not be used", "write the SSLCIPH of the channel, ANY_TLS12_OR_HIGHER for instance")
	case t.KeyRepository == "":
		return problem("tls.key_repository", "missing: TLS needs a key repository", "write the path of a .kdb or .p12 file")
	}
	return nil
}

func checkLogin(c adapters.Config) error {
	cr := c.Credentials
	switch {
	case cr.Mechanism != "":
		return problem("credentials.mechanism", "IBM MQ has none", "leave it out: a password or a token says how to log in")
	case !cr.Token.IsZero() && (cr.User != "" || !cr.Password.IsZero()):
		return problem("credentials.token", "both a token and a user", "give one of them")
	case cr.User == "" && !cr.Password.IsZero():
		return problem("credentials.user", "missing beside a password", "give both")
	}
	return nil
}

// checkEnd looks at one end.
func checkEnd(a adapters.Address) error {
	errs := []error{a.Options.Unknown(keyExclusive, keyState, keyContext, keyReports, keyGroups, keyConvert)}
	if a.Form != adapters.Queue && a.Form != adapters.Topic {
		errs = append(errs, problem(string(a.Form), fmt.Sprintf("IBM MQ has no %s", a.Form), "write queue"))
	}
	if a.Form == adapters.Queue && (!legalName(a.Name) || len(a.Name) > queueLength) {
		errs = append(errs, problem("queue", fmt.Sprintf("%q is no name of a queue", a.Name), "1 to 48 letters, digits and . / _ %"))
	}
	if s, ok := a.Options[keyState].(string); ok && (!legalName(s) || len(s) > queueLength || s == a.Name) {
		errs = append(errs, problem(keyState, fmt.Sprintf("%q cannot be the state queue", s), "name a queue of its own, 1 to 48 letters, digits and . / _ %"))
	}
	for key, words := range map[string][]string{
		keyContext: {contextDefault, contextIdentity, contextAll}, keyReports: {reportsStrip, reportsPass}, keyGroups: {groupsDrop, groupsKeep},
	} {
		if v, ok := a.Options[key]; ok && !slices.Contains(words, fmt.Sprint(v)) {
			errs = append(errs, problem(key, fmt.Sprintf("unknown word %q", fmt.Sprint(v)), "write "+strings.Join(words, " or ")))
		}
	}
	return errors.Join(errs...)
}
