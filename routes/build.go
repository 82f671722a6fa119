package routes

import (
	"crypto/tls"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes/yamltree"
)

// A builder makes a Table of a checked file. It goes on after errors, so that all are found, with zero values for what
// is wrong.
type builder struct {
	*reporter
	options Options
	dir     string // of the file
	root    *value
	brokers map[string]*Broker
	values  map[string]*value // of brokers
	homes   homes

	top       *Spool // the file's spool section; nil = none
	homeless  bool   // some route says nothing of its spool, and there is none
	placeless bool   // some route has no place for its dead letters
	asides    []aside
	promised  []promised

	repeats map[*value]*Repeat // generated routes, and those in their place
	origins map[*Route]*value
	pattern *Topology
	pathKey *SecretRef
}

func (b *builder) table() *Table {
	t := &Table{Brokers: map[string]*Broker{}}
	b.brokers, b.values, b.origins = t.Brokers, map[string]*value{}, map[*Route]*value{}
	for _, v := range b.root.get("brokers").named() {
		t.Brokers[v.key.Text], b.values[v.key.Text] = b.broker(v), v
	}
	b.anyBroker(b.root.get("brokers"))
	b.homes = homesOf(b.brokers)
	b.top = b.spool(b.root.get("spool"))
	t.Spool = b.top
	t.Routes = b.routes(b.planned())
	if v := b.root.get("bridges"); v != nil {
		b.bridges(t, v.items)
	}
	b.anyRoute()
	b.checkAsides(t.Routes)
	b.checkPromises()
	b.checkMatches()
	t.PathKey, t.Topology, t.Repeaters = b.pathKey, b.pattern, b.repeaters(b.root.get("repeaters"))
	b.serve(t)
	b.checkLoops(t)
	t.homes, t.traffic = b.homes, b.homes.trafficOf(t.Routes)
	t.trust()
	b.compare(t.Routes)
	t.Admin = b.admin(b.root.get("admin"))
	b.warnHomeless()
	return t
}

func (b *builder) anyBroker(v *value) {
	if v != nil && v.node.Kind == yamltree.Map && len(v.order) == 0 && len(v.node.Pairs) == 0 {
		b.at(v.key, "brokers", Finding{Code: "K002", Message: "there is no broker", Label: "empty", Help: "add one: " + v.field.Example})
	}
}

// anyRoute demands routes, or something that makes them.
func (b *builder) anyRoute() {
	makers := []string{"routes", "bridges", "topology"}
	if !slices.ContainsFunc(makers, func(key string) bool { return b.root.get(key) != nil || b.meant(key) }) {
		b.at(b.root.node, "routes", Finding{Code: "K002", Message: "file has no \"routes\"", Label: "in this file",
			Help: "add " + topologyShape().field("routes", "").Example})
	}
}

// trust marks the brokers that an enabled route writes to: a fellow repeater may have stamped what is found there. Dead
// letters do not count: nobody carries them on.
func (t *Table) trust() {
	for _, r := range t.Routes {
		for _, to := range r.To {
			if broker := t.Brokers[to.Addr.Broker]; broker != nil && r.Enabled {
				broker.Trusted = true
			}
		}
	}
}

// A chain is where a setting is looked for: in the object itself, then in the defaults, then in the table of keys.
type chain struct {
	values []*value
	shape  *Shape
}

// data returns the value of a setting, nil when it is absent everywhere or wrong where it was found.
func (c chain) data(names ...string) any {
	for _, v := range c.values {
		if s := v.get(names...); s != nil {
			if s.data != nil {
				return s.data
			}
			break
		}
	}
	return c.shape.fallback(names...)
}

// fallback is a key's default.
func (s *Shape) fallback(names ...string) any {
	f := s.field(names[0], "")
	for _, n := range names[1:] {
		f = f.Of.field(n, "")
	}
	return f.initial()
}

// initial is the default of a key as a value.
func (f *Field) initial() any {
	switch f.Type {
	case Flag:
		return f.Default == "true"
	case Count:
		n, _ := strconv.ParseInt(f.Default, 10, 64) // "" is 0
		return n
	case Ratio:
		x, _ := strconv.ParseFloat(f.Default, 64)
		return x
	case Duration, WordOrDuration:
		if d, ok := parseDuration(f.Default); ok || f.Type == Duration {
			return d
		}
	case Size:
		n, _ := parseSize(f.Default)
		return n
	}
	return f.Default
}

func (c chain) text(names ...string) string   { s, _ := c.data(names...).(string); return s }
func (c chain) flag(names ...string) bool     { v, _ := c.data(names...).(bool); return v }
func (c chain) count(names ...string) int     { n, _ := c.data(names...).(int64); return int(n) }
func (c chain) size(names ...string) int64    { n, _ := c.data(names...).(int64); return n }
func (c chain) ratio(names ...string) float64 { x, _ := c.data(names...).(float64); return x }
func (c chain) duration(names ...string) time.Duration {
	d, _ := c.data(names...).(time.Duration)
	return d
}

func (b *builder) broker(v *value) *Broker {
	defaults := b.root.get("defaults", "broker")
	c := chain{[]*value{v, defaults}, brokerShape()}
	br := &Broker{Name: v.key.Text, Kind: c.text("type"), Site: c.text("site"), TrustValues: c.flag("trusted_headers"), Line: v.key.Line,
		Reconnect: Reconnect{c.duration("reconnect", "delay"), c.duration("reconnect", "max_delay"), c.ratio("reconnect", "jitter")}}
	br.Fit = c.fitting(br.Kind)
	if shape := brokerShape(); shape.field("failback", br.Kind) != nil {
		br.Tries, br.Failback = c.count("tries"), c.duration("failback")
	}
	br.Config = adapters.Config{Name: br.Name, Heartbeat: c.duration("heartbeat"), TLS: b.tls(c, v, defaults), Options: b.brokerOptions(v)}
	if as := v.get("addresses"); as != nil {
		br.Config.Addresses, _ = as.data.([]string)
	}
	br.Config.Credentials.User = c.text("credentials", "user")
	br.Config.Credentials.Mechanism = c.text("credentials", "mechanism")
	br.Secrets = b.secrets(v.get("credentials"))
	if br.Reconnect.Delay > br.Reconnect.MaxDelay {
		b.order(v.get("reconnect"), defaults.get("reconnect"))
	}
	b.reachable(v)
	b.checkBroker(br, v)
	return br
}

// secrets are the references of a broker's credentials.
func (b *builder) secrets(credentials *value) (out []SecretRef) {
	for _, key := range []string{"password", "token"} {
		if s := credentials.get(key); s != nil {
			if ref, ok := s.data.(SecretRef); ok {
				ref.Key, ref.File = "credentials."+key, b.path(ref.File)
				out = append(out, ref)
			}
		}
	}
	return out
}

// order reports a first pause that is longer than the longest.
func (b *builder) order(vs ...*value) {
	if at := firstOf(vs, "delay", "max_delay"); at != nil {
		b.at(at.node, at.path, Finding{Code: "K003", Message: "delay is longer than max_delay", Label: "the first pause must be the shortest",
			Help: "make delay smaller or max_delay larger"})
	}
}

// firstOf is the first of keys that the first of vs has.
func firstOf(vs []*value, keys ...string) *value {
	for _, v := range vs {
		for _, key := range keys {
			if at := v.get(key); at != nil {
				return at
			}
		}
	}
	return nil
}

// reachable demands addresses, or an embedded server, but not both.
func (b *builder) reachable(v *value) {
	as, embedded := v.get("addresses"), v.get("embedded")
	typ := v.get("type")
	switch {
	case v.get("ccdt_url") != nil: // the adapter looks at the two
	case as == nil && embedded == nil && v.subs != nil && typ != nil && typ.data != nil && !b.strange(v, "addresses"):
		b.at(v.key, v.path+".addresses", Finding{Code: "K002", Message: "broker has no \"addresses\"", Label: "in this broker",
			Help: "add addresses: [HOST:PORT]"})
	case as != nil && embedded != nil:
		b.at(as.key, as.path, Finding{Code: "K003", Message: "an embedded broker has no addresses", Label: "not with embedded",
			Help: "remove addresses, or embedded"})
	}
}

// strange reports whether a misspelt key of v was meant to be name: that has been reported.
func (b *builder) strange(v *value, name string) bool {
	for _, p := range v.node.Pairs {
		if v.subs[p.Key.Text] == nil && suggest(p.Key.Text, brokerShape().names("")) == name {
			return true
		}
	}
	return false
}

// tls reads the section of a broker over that of the defaults. An embedded server has none, whatever the defaults say, and IBM's
// client reads no PEM files.
func (b *builder) tls(c chain, vs ...*value) adapters.TLS {
	if vs[0].get("embedded") != nil || c.text("type") == ibmMQ {
		c.values, vs = vs[:1], vs[:1]
	}
	t := adapters.TLS{CAFile: b.path(c.text("tls", "ca_file")), CertFile: b.path(c.text("tls", "cert_file")), KeyFile: b.path(c.text("tls", "key_file")),
		ServerName: c.text("tls", "server_name"), SkipVerify: c.flag("tls", "insecure_skip_verify"),
		KeyRepository: b.path(c.text("tls", "key_repository")), CipherSpec: c.text("tls", "cipher_spec"), CertificateLabel: c.text("tls", "certificate_label")}
	if c.text("tls", "min_version") == "1.3" {
		t.MinVersion = tls.VersionTLS13
	}
	t.On = slices.ContainsFunc(vs, func(v *value) bool { return v.get("tls") != nil })
	b.warnUnverified(vs)
	return t
}

func (b *builder) warnUnverified(vs []*value) {
	for _, v := range vs {
		if s := v.get("tls", "insecure_skip_verify"); s != nil {
			if s.data == true {
				b.at(s.node, s.path, Finding{Code: "X003", Severity: Warning, Message: "certificates are not verified: anybody on the way can read and change messages",
					Label: "any certificate is believed", Help: "remove it, and name the authority with ca_file"})
			}
			return
		}
	}
}

// path makes a path of the file absolute or relative to the working directory: it is relative to the file it stands in.
func (b *builder) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(b.dir, p)
}

// brokerOptions are the keys of one type of broker, as they are handed to the adapter: only those that the file has.
func (b *builder) brokerOptions(v *value) adapters.Options {
	var o adapters.Options
	for _, name := range v.order {
		s := v.subs[name]
		if !s.field.Option {
			continue
		}
		if o == nil {
			o = adapters.Options{}
		}
		if x := b.brokerOption(s); x != nil {
			o[name] = x
		}
	}
	return o
}

// brokerOption is one of them, nil when it is wrong. A section is there even if it is empty.
func (b *builder) brokerOption(s *value) any {
	switch s.field.Type {
	case Object:
		o := adapters.Options{}
		maps.Copy(o, b.brokerOptions(s))
		return o
	case Path:
		return b.path(fmt.Sprint(s.data))
	}
	return s.data
}
