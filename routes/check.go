package routes

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes/yamltree"
)

// checkBroker asks the adapter about a broker.
func (b *builder) checkBroker(br *Broker, v *value) {
	adapter := b.options.Kinds[br.Kind]
	if adapter == nil || b.faulty(v.path) {
		return // one cause, one finding
	}
	if o, ok := adapter.(adapters.Optional); ok && o.Missing() != nil {
		at := v.get("type")
		b.at(at.node, at.path, Finding{Code: "E104", Message: fmt.Sprintf("broker %q: %v", br.Name, o.Missing()), Label: "not in this program",
			Help: "posthouse adapters lists what this program has"})
		return
	}
	for _, e := range optionErrors(adapter.Check(filled(br))) {
		b.optionError(e, v, "broker "+br.Name)
	}
}

// checkEnd asks the adapter about an end and reports whether it is well.
func (b *builder) checkEnd(br *Broker, a adapters.Address, v *value) bool {
	if b.faulty(v.path) || b.faulty("brokers."+br.Name) {
		return false
	}
	adapter := b.options.Kinds[br.Kind]
	errs := optionErrors(adapter.Check(filled(br), a))
	for _, e := range errs {
		b.optionError(e, v, v.field.Name)
	}
	return len(errs) == 0
}

// filled is a broker's configuration with something in place of each secret, so that an adapter sees which are there.
func filled(br *Broker) adapters.Config {
	c := br.Config
	for _, ref := range br.Secrets {
		c.Credentials = withSecret(c.Credentials, ref.Key, adapters.NewSecret("not read yet"))
	}
	return c
}

// faulty reports whether there is an error at a path or below it.
func (b *builder) faulty(path string) bool {
	for _, f := range b.findings {
		if f.Severity == Error && (f.Path == path || strings.HasPrefix(f.Path, path+".") || strings.HasPrefix(f.Path, path+"[")) {
			return true
		}
	}
	return false
}

// optionErrors takes joined errors apart.
func optionErrors(err error) []*adapters.OptionError {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var out []*adapters.OptionError
		for _, e := range many.Unwrap() {
			out = append(out, optionErrors(e)...)
		}
		return out
	}
	var e *adapters.OptionError
	if errors.As(err, &e) {
		return []*adapters.OptionError{e}
	}
	return []*adapters.OptionError{{Problem: err.Error()}}
}

// optionError reports what an adapter found, at the key that it names, or at the nearest one above.
func (b *builder) optionError(e *adapters.OptionError, v *value, what string) {
	keys := strings.Split(strings.TrimPrefix(strings.TrimPrefix(e.Key, "from."), "to."), ".")
	at, path := v, v.path
	for _, k := range keys {
		name, _, _ := strings.Cut(k, "[")
		if at.get(name) == nil {
			break
		}
		at = at.get(name)
		path = at.path
	}
	var node *yamltree.Node = at.node
	if at == v && v.key != nil {
		node = v.key
	}
	msg := fmt.Sprintf("%s: %s", what, e.Problem)
	if e.Key != "" {
		msg = fmt.Sprintf("%s: %s: %s", what, e.Key, e.Problem)
	}
	b.at(node, path, Finding{Code: "K003", Message: clip(msg), Label: "here", Help: clip(e.Help)})
}
