package routes

import (
	"slices"
	"strings"
)

// A Type is what a key's value may be.
type Type uint8

// The types.
const (
	Text           Type = iota // any text
	Name                       // lower-case letters, digits and dashes, at most 63
	RouteName                  // a Name, or several joined by dots: that of a generated route
	Word                       // one of Field.Words
	Flag                       // true or false
	Count                      // a whole number
	Ratio                      // a number with a point
	Duration                   // 500ms, 30s, 7d
	Size                       // 64KiB, 1GiB, 1GB
	Predicate                  // an expression whose result is true or false
	Expression                 // an expression whose result is text
	Expressions                // a map from names of headers to expressions whose results are their values
	Plain                      // anything, which is looked at where it is used
	Path                       // a file or directory, relative to the file it stands in
	SecretValue                // {file: PATH} or {env: NAME}
	TextList                   // a list of texts
	URLList                    // a list of addresses
	BrokerRef                  // the name of a broker of the file
	WordOrDuration             // one of Field.Words, or a duration
	WordOrObject               // one of Field.Words, or Field.Of
	TextOrObject               // any text, or Field.Of
	Object                     // Field.Of
	Objects                    // a list of Field.Of
	OneOrMany                  // Field.Of, or a list of them
	Named                      // a map from names to Field.Of
)

// Reload says what a reload does when a key's value has changed.
type Reload uint8

// The reload classes.
const (
	Live           Reload = iota // applied to what is running
	RestartRoute                 // that route is restarted
	RestartBroker                // all routes on that broker are restarted
	RestartProcess               // the reload is refused: C001
)

// String is the class in one word.
func (r Reload) String() string { return [...]string{"live", "route", "broker", "process"}[r] }

// A Field is one key that a file may hold. Everything that is known of a key stands in its row: the check of a file,
// the defaults, the suggestions, the schema and the reference page are made from it.
type Field struct {
	Name     string
	Type     Type
	Required bool
	Default  string            // as it would be written in the file; "" = none
	Min, Max float64           // of Count, Ratio, Duration (seconds) and Size (bytes); Max 0 = no limit
	Words    []string          // of Word, WordOrDuration and WordOrObject
	Refused  map[string]string // words that somebody will try, and what to say to that
	Of       *Shape            // of Object, Objects, OneOrMany, Named, WordOrObject and TextOrObject
	Unit     string            // what a Count counts
	Doc      string
	Example  string // of a required key, in flow form
	Since    string // the release that brought it
	Outdated string // what to write instead, when it is deprecated
	Reload   Reload
	Kinds    []string // only for these types of broker; nil = all
	Option   bool     // handed to the adapter in Options
	Place    bool     // names the place of an end: one of these per end
	Inherit  bool     // may stand under defaults:
	With     string   // required beside this other key
}

// A Shape is the set of keys of one object.
type Shape struct {
	Name   string // what messages call it: "route"
	Doc    string
	Fields []*Field
}

// field finds the row of a key for a kind of broker; where the kind is not known, the first row of that name.
func (s *Shape) field(name, kind string) *Field {
	for _, f := range s.Fields {
		if f.Name == name && (kind == "" || f.fits(kind)) {
			return f
		}
	}
	return nil
}

// fits reports whether a key may stand with a kind of broker.
func (f *Field) fits(kind string) bool { return f.Kinds == nil || slices.Contains(f.Kinds, kind) }

// kinds lists the types of broker that have a key.
func (s *Shape) kinds(name string) []string {
	var out []string
	for _, f := range s.Fields {
		if f.Name == name {
			out = append(out, f.Kinds...)
		}
	}
	return out
}

// names are the keys of an object, without those of other kinds.
func (s *Shape) names(kind string) []string {
	var out []string
	for _, f := range s.Fields {
		if (kind == "" || f.fits(kind)) && !slices.Contains(out, f.Name) {
			out = append(out, f.Name)
		}
	}
	return out
}

// inherited is the shape of the keys that may stand under defaults:.
func (s *Shape) inherited() *Shape {
	d := &Shape{Name: "defaults." + s.Name, Doc: "For every " + s.Name + " that does not say otherwise."}
	for _, f := range s.Fields {
		if f.Inherit {
			d.Fields = append(d.Fields, f)
		}
	}
	return d
}

// shapes lists the objects of the file once each, in the order of the reference.
func (s *Shape) shapes() []*Shape {
	out := []*Shape{s}
	for i := 0; i < len(out); i++ {
		for _, f := range out[i].Fields {
			if f.Of != nil && !slices.ContainsFunc(out, func(o *Shape) bool { return o.Name == f.Of.Name }) {
				out = append(out, f.Of)
			}
		}
	}
	return out
}

// list is the sentence part "a, b or c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
