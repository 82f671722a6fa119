package routes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/posthouse/posthouse/adapters"
)

// readBad loads one of the bad files.
func readBad(t testing.TB, name string) Findings {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata/bad", name))
	if err != nil {
		t.Fatal(err)
	}
	_, fs := Load(name, src, Options{Kinds: testKinds()})
	return fs
}

// TestJSON compares with the form that operating.md promises to programs.
func TestJSON(t *testing.T) {
	var f Finding
	for _, x := range readBad(t, "design.yaml") {
		if x.Code == "F002" {
			f = x
		}
	}
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"code":"F002","severity":"error","file":"design.yaml","line":25,"col":11,"end_col":20,"path":"routes[0].filter","message":"filter: a message has no field \"prioritty\"","suggestion":"did you mean \"priority\"?"}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}
}

// TestJSONHoldsNoSecret: the text form is masked; the forms for programs must not quote either.
func TestJSONHoldsNoSecret(t *testing.T) {
	for _, name := range []string{"secrets.yaml", "secret-block.yaml", "secret-in-address.yaml", "syntax-secret.yaml", "design.yaml"} {
		var b bytes.Buffer
		fs := readBad(t, name)
		_ = json.NewEncoder(&b).Encode(fs)
		_ = fs.GitHub(&b)
		for _, canary := range []string{"s3c", "hunter2", "verysecret", "12345"} {
			if strings.Contains(b.String(), canary) {
				t.Errorf("%s: %s is shown", name, canary)
			}
		}
	}
}

func TestGitHub(t *testing.T) {
	fs := Findings{
		{Code: "K001", Severity: Error, File: "a,b.yaml", Line: 2, Col: 3, EndCol: 5, Message: "100% wrong", Suggestion: `did you mean "x"?`, Help: "y"},
		{Code: "X002", Severity: Warning, File: "f.yaml", Message: "whole file"},
	}
	var b bytes.Buffer
	if err := fs.GitHub(&b); err != nil {
		t.Fatal(err)
	}
	want := "::error file=a%2Cb.yaml,line=2,endLine=2,col=3,endColumn=5,title=K001::100%25 wrong%0Adid you mean \"x\"?%0Ay\n" +
		"::warning file=f.yaml,title=X002::whole file\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestWriteErrors(t *testing.T) {
	fs := readBad(t, "version.yaml")
	for name, f := range map[string]func() error{"text": func() error { return fs.Text(brokenWriter{}) },
		"github": func() error { return fs.GitHub(brokenWriter{}) }} {
		if f() == nil {
			t.Errorf("%s: the error of the writer is lost", name)
		}
	}
}

func TestSuggest(t *testing.T) {
	keys := routeShape().names("")
	for word, want := range map[string]string{"fitler": "filter", "form": "from", "frm": "from", "distribut": "distribute", "zzz": "", "": "", "prefech": "prefetch",
		"x": "", "tp": "to", strings.Repeat("x", 10000): ""} {
		if got := suggest(word, keys); got != want {
			t.Errorf("%.20s: %q, want %q", word, got, want)
		}
	}
	if got := suggest("sorce", []string{"source", "force"}); got != "force" {
		t.Errorf("ties go to the first in the alphabet, got %q", got)
	}
}

func TestUnits(t *testing.T) {
	for s, want := range map[string]string{"500ms": "500ms", "30s": "30s", "90m": "90m", "1h30m": "90m", "7d": "7d", "1.5s": "1500ms", "0s": "0ms", "1": "", "0": "", "": "", "s": "",
		"1 s": "", "-1s": "", "1y": "", "1sm": "", "1e3s": "", "9999999999d": "53375d"} {
		d, ok := parseDuration(s)
		got := ""
		if ok {
			got = formatDuration(d)
		}
		if s == "9999999999d" {
			want, got = "true", fmt.Sprint(ok && d > 0)
		}
		if got != want {
			t.Errorf("duration %q: %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]string{"512B": "512B", "64KiB": "64KiB", "1.5GiB": "1536MiB", "2GB": "1953125KiB", "1KB": "1000B", "1TiB": "1TiB", "1": "", "KiB": "", "1 KiB": "",
		"1kib": "", "-1B": "", "": ""} {
		n, ok := parseSize(s)
		got := ""
		if ok {
			got = formatSize(n)
		}
		if got != want {
			t.Errorf("size %q: %q, want %q", s, got, want)
		}
	}
}

// TestDefaultsAreRight reads every default of the table as if it stood in a file: a default that its own key refuses
// would be a lie.
func TestDefaultsAreRight(t *testing.T) {
	for _, s := range topologyShape().shapes() {
		for _, f := range s.Fields {
			if f.Default == "" {
				continue
			}
			w := &walker{reporter: &reporter{}}
			var out bytes.Buffer
			n := parseScalar(t, f.Default)
			w.doc = n.doc
			if v := w.scalar(n.node, f, s.Name+"."+f.Name); v == nil || cmp.Diff(v, f.initial()) != "" && f.Type != WordOrDuration {
				_ = w.findings.Text(&out)
				t.Errorf("%s.%s: default %q gives %v, used is %v\n%s", s.Name, f.Name, f.Default, v, f.initial(), out.String())
			}
		}
	}
}

// TestTableIsComplete: each row says what the reference, the schema and the reload need.
func TestTableIsComplete(t *testing.T) {
	for _, s := range topologyShape().shapes() {
		if s.Doc == "" {
			t.Errorf("%s: no doc", s.Name)
		}
		for _, f := range s.Fields {
			composite := f.Type == Object || f.Type == Objects || f.Type == OneOrMany || f.Type == Named || f.Type == WordOrObject || f.Type == TextOrObject
			switch {
			case f.Doc == "" || f.Since == "":
				t.Errorf("%s.%s: doc or since is missing", s.Name, f.Name)
			case composite != (f.Of != nil):
				t.Errorf("%s.%s: type and shape do not agree", s.Name, f.Name)
			case f.Required && f.Example == "":
				t.Errorf("%s.%s: a required key without an example", s.Name, f.Name)
			case (f.Type == Word || f.Type == WordOrDuration || f.Type == WordOrObject) != (len(f.Words) > 0):
				t.Errorf("%s.%s: words", s.Name, f.Name)
			case f.Type == Count && f.Name != "version" && f.Unit == "":
				t.Errorf("%s.%s: what does it count?", s.Name, f.Name)
			}
			for _, w := range f.Words {
				if strings.Contains(" on off yes no null true false ", " "+w+" ") {
					t.Errorf("%s.%s: YAML does not read %q as a word", s.Name, f.Name, w)
				}
			}
		}
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &Broker{Name: "a", Secrets: []SecretRef{{Key: "credentials.password", File: file}, {Key: "credentials.token", Env: "TOKEN"}}}
	env := map[string]string{"TOKEN": "tok\n"}
	getenv := func(n string) string { return env[n] }
	for text, want := range map[string]string{"pw": "pw", "pw\n": "pw", "pw\r\n": "pw", " p w \n\n": " p w \n"} {
		write(text)
		c, err := b.Resolve(getenv)
		if err != nil || c.Credentials.Password.Reveal() != want || c.Credentials.Token.Reveal() != "tok" {
			t.Errorf("%q: %q, %q, %v", text, c.Credentials.Password.Reveal(), c.Credentials.Token.Reveal(), err)
		}
	}
	if !b.Config.Credentials.Password.IsZero() {
		t.Error("the table holds a secret")
	}
	for name, prepare := range map[string]func(){
		"environment variable TOKEN is not set": func() { write("pw"); env["TOKEN"] = "" },
		"secret is empty":                       func() { write("\n") },
		"has more than 65536 bytes":             func() { write(strings.Repeat("canary", 20000)) },
		"cannot read the file":                  func() { _ = os.Remove(file) },
	} {
		env["TOKEN"] = "canary"
		prepare()
		c, err := b.Resolve(getenv)
		var e *SecretError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "canary") || !c.Credentials.Password.IsZero() {
			t.Errorf("%s: %v", name, err)
		}
	}
	_ = os.Remove(file)
	if _, err := b.Resolve(getenv); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the cause is lost: %v", err)
	}
}

// TestNoSecretInAnyForm prints a resolved configuration in every way and looks for the canary.
func TestNoSecretInAnyForm(t *testing.T) {
	b := &Broker{Name: "a", Secrets: []SecretRef{{Key: "credentials.password", Env: "X"}}}
	c, err := b.Resolve(func(string) string { return "canary" })
	if err != nil || c.Credentials.Password.Reveal() != "canary" {
		t.Fatal(err)
	}
	text, _ := json.Marshal(c.Credentials)
	if all := fmt.Sprintf("%v %+v %#v %s", c, c.Credentials, c, text); strings.Contains(all, "canary") {
		t.Error(all)
	}
}

func TestExposed(t *testing.T) {
	dir := t.TempDir()
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	for f, mode := range map[string]os.FileMode{open: 0o644, closed: 0o600} {
		if err := os.WriteFile(f, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(f, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	table := &Table{File: "f.yaml", Brokers: map[string]*Broker{
		"a": {Name: "a", Secrets: []SecretRef{{Key: "credentials.password", File: open}, {Key: "credentials.token", File: closed}}},
		"b": {Name: "b", Secrets: []SecretRef{{Key: "credentials.password", File: filepath.Join(dir, "absent")}, {Key: "credentials.token", Env: "X"}}},
	}}
	fs := table.Exposed()
	if len(fs) != 1 || fs[0].Code != "X002" || fs[0].Severity != Warning || !strings.Contains(fs[0].Message, open) {
		t.Errorf("%+v", fs)
	}
	var b bytes.Buffer
	if err := fs.Text(&b); err != nil || !strings.HasPrefix(b.String(), "f.yaml: warning: secret file ") {
		t.Errorf("%q, %v", b.String(), err)
	}
}

// TestAdapterIsAsked: what an adapter objects to becomes a finding at its key, once, and not before the file's own
// mistakes are mended.
func TestAdapterIsAsked(t *testing.T) {
	kinds := testKinds()
	asked := 0
	e := kinds["amqp"].(ends)
	e.check = func(c adapters.Config, as []adapters.Address) error {
		asked++
		if len(as) == 0 {
			return nil
		}
		return errors.Join(&adapters.OptionError{Key: "to.queue", Problem: "no", Help: "write another"}, fmt.Errorf("wrapped: %w", &adapters.OptionError{Key: "nothing.known", Problem: "no"}),
			errors.New("of another kind"))
	}
	kinds["amqp"] = e
	const src = "version: 1\nbrokers:\n  a: { type: amqp, addresses: [amqp://h] }\n  k: { type: kafka, addresses: [\"h:1\"] }\nroutes:\n  - { name: r, from: { broker: k, topic: t }, to: { broker: a, queue: q } }\n"
	_, fs := Load("f.yaml", []byte(src), Options{Kinds: kinds})
	var got []string
	for _, f := range fs {
		got = append(got, fmt.Sprintf("%d:%d %s %s %s", f.Line, f.Col, f.Code, f.Message, f.Help))
	}
	want := []string{"6:51 K003 to: nothing.known: no ", "6:51 K003 to: of another kind ", "6:71 K003 to: to.queue: no write another"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	asked = 0
	_, _ = Load("f.yaml", []byte(strings.Replace(src, "type: amqp,", "type: amqp, zzz: 1,", 1)), Options{Kinds: kinds})
	if asked > 0 {
		t.Error("an adapter was asked about a broker that has been refused")
	}
}

// FuzzLoad: no file panics; a table comes without errors and only then; every form of the report can be written; the
// position of a finding lies inside of the file.
func FuzzLoad(f *testing.F) {
	for _, dir := range []string{"testdata/good", "testdata/bad"} {
		files, _ := filepath.Glob(dir + "/*.yaml")
		for _, name := range files {
			src, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			if len(src) < 8<<10 {
				f.Add(src)
			}
		}
	}
	o := Options{Kinds: testKinds(), Repeater: "r"}
	f.Fuzz(func(t *testing.T, src []byte) {
		table, fs := Load("f.yaml", src, o)
		if (table == nil) != fs.HasErrors() {
			t.Fatalf("table %v, errors %v", table != nil, fs.HasErrors())
		}
		for _, x := range fs {
			if x.Line < 1 || x.Col < 1 || x.EndCol <= x.Col || x.Message == "" {
				t.Errorf("%+v", x)
			}
			if _, ok := Explain(x.Code); !ok {
				t.Errorf("code %s is not explained", x.Code)
			}
		}
		var b bytes.Buffer
		for _, write := range []func() error{func() error { return fs.Text(&b) }, func() error { return fs.GitHub(&b) }} {
			if err := write(); err != nil {
				t.Error(err)
			}
		}
		if table != nil {
			for _, flow := range table.Flows() {
				for _, r := range flow {
					if r.Filter != nil {
						_, _ = r.Filter.Match(testMessage(), r.Name)
					}
				}
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	var src bytes.Buffer
	src.WriteString("version: 1\nbrokers:\n  a: { type: amqp, addresses: [amqp://h] }\n  k: { type: kafka, addresses: [\"h:1\"] }\nroutes:\n")
	for i := range 1000 {
		fmt.Fprintf(&src, "  - name: r%d\n    from: { broker: a, queue: q%d }\n    to: { broker: k, topic: t%d }\n    filter: msg.header.region == \"EU\" and msg.priority > 4\n", i, i, i)
	}
	o := Options{Kinds: testKinds()}
	b.SetBytes(int64(src.Len()))
	for b.Loop() {
		if t, fs := Load("f.yaml", src.Bytes(), o); t == nil {
			b.Fatal(fs)
		}
	}
}

// A password in the URL of the tracing collector is refused, and shown in no form.
func TestTracingEndpointHoldsNoSecret(t *testing.T) {
	const text = "version: 1\nbrokers: { paris: { type: nats, addresses: [\"nats://127.0.0.1:4222\"] } }\n" +
		"routes: [{ name: orders, from: { broker: paris, stream: A }, to: { broker: paris, subject: b } }]\n" +
		"admin: { tracing: { endpoint: \"https://posthouse:hunter2@otel.example.net\" } }\n"
	table, fs := Load("secret.yaml", []byte(text), Options{Kinds: testKinds()})
	var out bytes.Buffer
	if err := fs.Text(&out); err != nil {
		t.Fatal(err)
	}
	program, err := json.Marshal(fs)
	if err != nil {
		t.Fatal(err)
	}
	if table != nil || !strings.Contains(out.String(), "[X001]") || strings.Contains(out.String()+string(program), "hunter2") {
		t.Errorf("%s\n%s", out.String(), program)
	}
}
