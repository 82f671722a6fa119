package routes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posthouse/posthouse/adapters"
)

// MaxNames is how many names the dynamic ends of a route may have together that list none with allow.
const MaxNames = 100

// A Dynamic computes where each message of a target goes.
type Dynamic struct {
	Prefix string   // how every name begins
	Expr   *Expr    // what follows
	Allow  []string // the whole names that are allowed; nil: any, but no more than MaxNames
}

// A NameError is why a message cannot go where its route computes: to no such place may this route send.
type NameError struct {
	Name   string
	Reason string
}

// Error is the name, as far as it can be shown, and the reason.
func (e *NameError) Error() string { return fmt.Sprintf("%q: %s", clip(e.Name), e.Reason) }

// legalName reports whether s is what a computed name must be as a whole (operating.md, section 2.4): of what a message says
// nothing else becomes part of an address.
func legalName(s string) bool {
	odd := func(c rune) bool {
		return c != '.' && c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	}
	return s != "" && len(s) <= 200 && !strings.ContainsFunc(s, odd)
}

// Place is where m goes. Its error is an *EvalError, or a *NameError when the name is not allowed.
func (d *Dynamic) Place(m *adapters.Message, route string) (string, error) {
	rest, err := d.Expr.String(m, route)
	if err != nil {
		return "", err
	}
	return d.name(rest)
}

// PlaceOfFailed is where a message goes for which the expression has no value, and which the route takes all the same.
func (d *Dynamic) PlaceOfFailed() (string, error) { return d.name("") }

func (d *Dynamic) name(rest string) (string, error) {
	name := d.Prefix + rest
	switch {
	case !legalName(name):
		return "", &NameError{name, "a name has 1 to 200 letters, digits, dots, underscores and dashes"}
	case d.Allow != nil && !slices.Contains(d.Allow, name):
		return "", &NameError{name, "it is not in allow"}
	}
	return name, nil
}

// Places are the addresses that a target may send to: those that allow lists, or one that stands for all.
func (t *Target) Places() []adapters.Address {
	if t.Dynamic == nil || t.Dynamic.Allow == nil {
		return []adapters.Address{t.Addr}
	}
	var out []adapters.Address
	for _, name := range t.Dynamic.Allow {
		a := t.Addr
		a.Name, a.Dynamic = name, false
		out = append(out, a)
	}
	return out
}
