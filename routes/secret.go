package routes

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/posthouse/posthouse/adapters"
	"github.com/posthouse/posthouse/routes/yamltree"
)

// A SecretRef says where a secret is: in a file or in an environment variable, never in the topology itself.
type SecretRef struct {
	Key  string // "credentials.password" or "credentials.token"
	File string // resolved against the directory of the topology; "" when it is a variable
	Env  string
}

// A SecretError says which secret cannot be read, and never what is in it.
type SecretError struct {
	Broker string // "" = none: it is the topology's
	Ref    SecretRef
	Err    error // of the file system; nil for a variable
}

// Error names the broker, the key and the variable or file.
func (e *SecretError) Error() string {
	what := fmt.Sprintf("%s of broker %q: ", e.Ref.Key, e.Broker)
	if e.Broker == "" {
		what = e.Ref.Key + ": "
	}
	if e.Ref.Env != "" {
		return what + fmt.Sprintf("environment variable %s is not set or empty", e.Ref.Env)
	}
	if e.Err == nil {
		return what + fmt.Sprintf("file %s is empty", e.Ref.File)
	}
	return what + fmt.Sprintf("cannot read the file: %v", e.Err)
}

// Unwrap returns the error of the file system.
func (e *SecretError) Unwrap() error { return e.Err }

// maxSecret bounds what is read of a secret file, in bytes.
const maxSecret = 64 << 10

// read fetches the secret; one line break at its end is not part of it.
func (r SecretRef) read(getenv func(string) string) (adapters.Secret, error) {
	var text string
	if r.Env != "" {
		text = getenv(r.Env)
	} else {
		b, err := readFile(r.File)
		if err != nil {
			return adapters.Secret{}, err
		}
		text = string(b)
	}
	text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	if text == "" {
		return adapters.Secret{}, errEmpty
	}
	return adapters.NewSecret(text), nil
}

// Resolve reads the broker's secrets and returns its whole configuration. getenv looks a variable up, as os.Getenv. The
// error is a *SecretError: the environment is at fault, not the file.
func (b *Broker) Resolve(getenv func(string) string) (adapters.Config, error) {
	c := b.Config
	for _, ref := range b.Secrets {
		s, err := ref.read(getenv)
		if err != nil {
			if err == errEmpty {
				err = nil
			}
			return adapters.Config{}, &SecretError{Broker: b.Name, Ref: ref, Err: err}
		}
		c.Credentials = withSecret(c.Credentials, ref.Key, s)
	}
	return c, nil
}

// Key reads the secret that seals paths, the zero Secret if the file has none. The error is a *SecretError.
func (t *Table) Key(getenv func(string) string) (adapters.Secret, error) {
	if t.PathKey == nil {
		return adapters.Secret{}, nil
	}
	s, err := t.PathKey.read(getenv)
	if err == errEmpty {
		err = nil
	}
	if err != nil || s.IsZero() {
		return adapters.Secret{}, &SecretError{Ref: *t.PathKey, Err: err}
	}
	return s, nil
}

func withSecret(c adapters.Credentials, key string, s adapters.Secret) adapters.Credentials {
	if key == "credentials.token" {
		c.Token = s
	} else {
		c.Password = s
	}
	return c
}

// Exposed warns (X002) about every secret file of the table that others may read. It looks at permissions, not inside;
// a file that is absent is Resolve's business.
func (t *Table) Exposed() Findings {
	var out Findings
	for _, b := range t.sorted() {
		for _, ref := range b.Secrets {
			out = append(out, t.exposed(ref, "brokers."+b.Name+"."+ref.Key)...)
		}
	}
	for _, u := range t.Admin.Users {
		if u.Token != nil {
			out = append(out, t.exposed(*u.Token, u.Token.Key)...)
		}
	}
	if t.PathKey != nil {
		out = append(out, t.exposed(*t.PathKey, t.PathKey.Key)...)
	}
	return out
}

func (t *Table) exposed(ref SecretRef, path string) Findings {
	if ref.File == "" {
		return nil
	}
	st, err := os.Stat(ref.File)
	if err != nil || st.Mode().Perm()&0o007 == 0 {
		return nil
	}
	return Findings{{Code: "X002", Severity: Warning, File: t.File, Path: path,
		Message: fmt.Sprintf("secret file %s can be read by every user (mode %04o)", ref.File, st.Mode().Perm()),
		Help:    "chmod 600, and change the secret if others may have seen it"}}
}

// secret reads {file: PATH} or {env: NAME}; a value is refused and never shown.
func (w *walker) secret(n *yamltree.Node, f *Field, path string) any {
	if n.Kind == yamltree.Scalar && n.Form != yamltree.Null {
		w.literal(n, path)
		return nil
	}
	if n.Kind != yamltree.Map || len(n.Pairs) != 1 || n.Pairs[0].Key.Kind != yamltree.Scalar {
		w.at(n, path, Finding{Code: "K003", Message: fmt.Sprintf("%s must be { file: PATH } or { env: NAME }", f.Name),
			Label: describe(n), Help: "write one of the two"})
		return nil
	}
	k, v := n.Pairs[0].Key, n.Pairs[0].Value
	if k.Text != "file" && k.Text != "env" {
		w.at(k, path, Finding{Code: "K001", Message: fmt.Sprintf("unknown key %q in %s", clip(k.Text), f.Name), Label: "not file or env",
			Suggestion: didYouMean(k.Text, []string{"file", "env"}), Help: "write { file: PATH } or { env: NAME }"})
		return nil
	}
	s, ok := w.scalar(v, &Field{Name: k.Text, Type: Text}, join(path, k.Text)).(string)
	if !ok {
		return nil
	}
	if k.Text == "env" {
		return SecretRef{Env: s}
	}
	return SecretRef{File: s}
}

func (w *walker) literal(n *yamltree.Node, path string) {
	w.hide(n)
	w.add(Finding{Code: "X001", Line: n.Line, Col: n.Col, EndCol: n.Col + len(masked), Path: path,
		Message: "secret written as a value", Label: "masked in this report",
		Help: "write { file: PATH } or { env: NAME }, and change this secret: it has been in a file"})
}

// address refuses user names and passwords inside an address.
func (w *walker) address(n *yamltree.Node, s, path string) bool {
	from, to, ok := userinfo(s)
	if !ok {
		return true
	}
	col := n.Col
	if ps := w.doc.Positions(n); ps != nil && ps[len(ps)-1].Line == n.Line {
		a, b := utf8.RuneCountInString(s[:from]), utf8.RuneCountInString(s[:to])
		col = ps[a].Col
		w.masks = append(w.masks, mask{n.Line, ps[a].Col, ps[b].Col})
	} else {
		w.hide(n)
	}
	w.add(Finding{Code: "X001", Line: n.Line, Col: col, EndCol: col + len(masked), Path: path,
		Message: "credentials written into an address", Label: "masked in this report",
		Help: "put them under credentials:, and change this secret: it has been in a file"})
	return false
}

// userinfo finds what stands before the last @ of an address's authority.
func userinfo(s string) (from, to int, ok bool) {
	if i := strings.Index(s, "://"); i >= 0 {
		from = i + 3
	}
	end := len(s)
	if i := strings.IndexAny(s[from:], "/?#"); i >= 0 && strings.Contains(s[from:from+i], "@") {
		end = from + i
	}
	to = strings.LastIndex(s[from:end], "@")
	return from, from + to, to >= 0
}

// The forms of what looksSecret finds, compiled once: a file may have ten thousand lines.
var (
	secretKey       = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`([\w-]+)["']?\s*:\s+`) })
	secretReference = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\{\s*(file|env):\s*[^\s,{}]+\s*\}$`) })
	secretInfo      = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`://([^\s@,"'\]]+)@`) })
	secretValue     = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^("(?:[^"\\]|\\.)*"?|'[^']*'?|\{[^}]*\}?|[^\s{"',}\]][^,}\]]*)`)
	})
)

// looksSecret finds, in one line of a file that may not even be YAML, what may be a secret: the value of a key with a
// telling name, and what stands before the @ of an address.
func (r *reporter) looksSecret(line string) []mask {
	var out []mask
	hide := func(from, to int) {
		to = from + len(strings.TrimRight(line[from:to], " \t"))
		out = append(out, mask{0, 1 + utf8.RuneCountInString(line[:from]), 1 + utf8.RuneCountInString(line[:to])})
	}
	for _, k := range secretKey().FindAllStringSubmatchIndex(line, -1) {
		if !r.telling(strings.ToLower(line[k[2]:k[3]])) {
			continue
		}
		if v := secretValue().FindString(line[k[1]:]); v != "" && !secretReference().MatchString(v) {
			hide(k[1], k[1]+len(v))
		}
	}
	for _, m := range secretInfo().FindAllStringSubmatchIndex(line, -1) {
		hide(m[2], m[3])
	}
	return out
}

// secretKeys hides the values of keys with telling names wherever they stand, misspelt and misplaced ones too, before a
// finding can quote them.
func (r *reporter) secretKeys(n *yamltree.Node, within bool) {
	if n == nil {
		return
	}
	if n.Kind == yamltree.Scalar && within && (n.Form != yamltree.Null || n.Anchor || n.Tag != "") {
		r.hide(n)
	}
	for _, it := range n.Items {
		r.secretKeys(it, within)
	}
	for _, p := range n.Pairs {
		name := strings.ToLower(p.Key.Text)
		switch {
		case within && (name == "file" || name == "env") && len(n.Pairs) == 1:
		default:
			r.secretKeys(p.Value, within || r.telling(name))
		}
	}
}

// telling is telling, and remembers the answer: a file has many keys of few names.
func (r *reporter) telling(name string) bool {
	yes, ok := r.names[name]
	if !ok && r.names == nil {
		r.names = map[string]bool{}
	}
	if !ok {
		yes = telling(name)
		r.names[name] = yes
	}
	return yes
}

// telling reports whether a key's name says that its value is a secret.
func telling(name string) bool {
	for _, w := range []string{"passw", "passphrase", "pwd", "secret", "token"} {
		if strings.Contains(name, w) {
			return true
		}
	}
	return near(name, "password") || near(name, "token")
}
