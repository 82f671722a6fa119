package routes

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/posthouse/posthouse/routes/yamltree"
)

// report is the text of all findings about a source.
func report(t testing.TB, src string) (Findings, string) {
	t.Helper()
	_, fs := Load("f.yaml", []byte(src), Options{Kinds: testKinds()})
	var b bytes.Buffer
	if err := fs.Text(&b); err != nil {
		t.Fatal(err)
	}
	return fs, b.String()
}

// TestLongLine: the caret stays under its word when the line is cut, wherever the word stands.
func TestLongLine(t *testing.T) {
	for _, before := range []int{0, 10, 150, 170, 1000} {
		for _, behind := range []int{0, 10, 150, 1000} {
			src := "version: 1\nbrokers: { " + strings.Repeat("a", before+1) + ": 1, WRONG: 1, " + strings.Repeat("b", behind+1) + ": 1 }\nroutes: []\n"
			_, text := report(t, src)
			lines := strings.Split(text, "\n")
			found := false
			for i, l := range lines {
				if !strings.Contains(l, `"WRONG" is not a name`) || i+2 >= len(lines) {
					continue
				}
				found = true
				quote, caret := lines[i+1], lines[i+2]
				at := strings.Index(caret, "^")
				if at < 0 || !strings.HasPrefix(quote[at:], "WRONG") || !strings.HasPrefix(caret[at:], "^^^^^ not a name") {
					t.Errorf("%d before, %d behind:\n%s\n%s", before, behind, quote, caret)
				}
				if utf8.RuneCountInString(quote) > 160+len(" 2 | ") {
					t.Errorf("the line is not cut: %d", len(quote))
				}
			}
			if !found {
				t.Errorf("%d before, %d behind: no finding\n%s", before, behind, text)
			}
		}
	}
}

// TestFileOrder: findings come in the order of the file, whichever step made them.
func TestFileOrder(t *testing.T) {
	for _, name := range []string{"design.yaml", "expressions.yaml", "wrong-types.yaml", "unknown-keys.yaml", "secrets.yaml", "names.yaml"} {
		fs := readBad(t, name)
		for i := 1; i < len(fs); i++ {
			if a, b := fs[i-1], fs[i]; a.Line > b.Line || a.Line == b.Line && a.Col > b.Col {
				t.Errorf("%s: %d:%d stands before %d:%d", name, a.Line, a.Col, b.Line, b.Col)
			}
		}
	}
}

// TestSecretsNeverShown puts a random secret in all places where operators put them, in every style of YAML, beside a
// mistake that makes the line be quoted, and looks for it in the report.
func TestSecretsNeverShown(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z!*&][A-Za-z0-9+/=_.!-]{7,30}`).Draw(rt, "secret")
		form := rapid.SampledFrom([]string{"%s", "'%s'", `"%s"`, "|\n        %s", ">-\n        %s\n        second", "{ value: %s }", "[%s]", "{ value: %s, x: 1 }", "'%s"}).Draw(rt, "form")
		key := rapid.SampledFrom([]string{"password", "token", "pasword", "Password", "secret", "user_token", "\"password\""}).Draw(rt, "key")
		more := rapid.SampledFrom([]string{"", "      zzz: 1\n", "      " + key + ": again\n", "     - broken\n"}).Draw(rt, "more")
		src := "version: 1\nbrokers:\n  a:\n    type: amqp\n    addresses: [\"amqp://x:" + secret + "@h\"]\n    credentials:\n      " + key + ": " + fmt.Sprintf(form, secret) + "\n" + more + "routes: []\n"
		_, text := report(t, src)
		if strings.Contains(text, secret) {
			rt.Fatalf("shown:\n%s\n%s", src, text)
		}
		if text == "" {
			rt.Fatalf("no finding:\n%s", src)
		}
	})
}

// TestCaretUnderWord: for a random position and width, after masks, the carets stand under the same runes as before.
func TestCaretUnderWord(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(rt, "length")
		line := make([]rune, n)
		for i := range line {
			line[i] = rune('a' + i%26)
		}
		from := rapid.IntRange(0, n-1).Draw(rt, "from")
		to := rapid.IntRange(from+1, n).Draw(rt, "to")
		col := rapid.IntRange(0, n-1).Draw(rt, "col")
		end := rapid.IntRange(col+1, n).Draw(rt, "end")
		if col < to && from < end {
			return // the finding is about the hidden part itself
		}
		r := &reporter{masks: []mask{{1, from + 1, to + 1}}}
		want := string(line[col:end])
		out, c, e := r.cover(1, line, col, end)
		if string(out[c:e]) != want {
			rt.Fatalf("%q instead of %q in %q", string(out[c:e]), want, string(out))
		}
		if len(out) != n-(to-from)+len(masked) {
			rt.Fatalf("length %d", len(out))
		}
	})
}

func TestMergedMasks(t *testing.T) {
	got := merged([]mask{{1, 20, 30}, {1, 1, 5}, {1, 4, 8}, {1, 8, 9}, {1, 21, 22}})
	want := []mask{{1, 1, 9}, {1, 20, 30}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestOneCauseOneFinding: each of these mistakes has one cause and gets one finding.
func TestOneCauseOneFinding(t *testing.T) {
	const good = `version: 1
brokers:
  a: { type: amqp, addresses: [amqp://h] }
  n: { type: nats, addresses: [nats://h] }
routes:
  - name: r
    from: { broker: a, queue: q }
    to: { broker: n, subject: s }
    filter: msg.size > 1
spool: { dir: d }
`
	if fs, text := report(t, good); len(fs) > 0 {
		t.Fatalf("the good file: %s", text)
	}
	for _, c := range []struct{ old, new, code string }{
		{"version: 1", "versoin: 1", "K001"}, {"version: 1\n", "", "K002"}, {"brokers:", "broker:", "K001"}, {"type: amqp", "tpye: amqp", "K001"},
		{"type: amqp", "type: ampq", "K005"}, {"type: amqp, ", "", "K002"}, {"addresses: [amqp://h]", "addresses: []", "K003"}, {"addresses: [amqp://h]", "adresses: [amqp://h]", "K001"},
		{"- name: r", "- nme: r", "K001"}, {"from:", "form:", "K001"}, {"to:", "too:", "K001"}, {"broker: a, queue: q", "broker: a, queu: q", "K001"}, {"broker: a, queue", "borker: a, queue", "K001"},
		{"broker: a, queue", "broker: b, queue", "R001"}, {"queue: q", "topic: q", "K002"}, {"queue: q", "stream: q", "R009"}, {"subject: s", "subjct: s", "K001"}, {"subject: s", "subject: 5", "K003"},
		{"filter: msg.size > 1", "filter: !msg.expired", "Y003"}, {"msg.size > 1", "msg.sise > 1", "F002"}, {"msg.size > 1", "", "F001"}, {"    from: { broker: a, queue: q }\n", "", "K002"},
		{"  a: {", "  A: {", "K006"}, {"name: r", "name: R", "K006"}, {"routes:", "routes: []\nroute:", ""}, {"spool:", "spol:", "K001"}, {"spool: { dir: d }", "spool: {}", "K002"}, {"spool: { dir: d }", "spool:", "K003"},
		{"spool: { dir: d }", "", "P005"}, {"dir: d", "dir: d, sync: never", "P002"}, {"dir: d", "dirr: d", "K001"}, {"dir: d", "dir: d, max_size: 1MiB", "K003"}, {"dir: d", "dir: d, segment_size: 64", "K004"},
	} {
		fs, text := report(t, strings.Replace(good, c.old, c.new, 1))
		if c.code == "" {
			continue
		}
		if c.code == "K006" && c.old == "  a: {" {
			fs = fs[:1] // that no broker a exists is a second cause: the name may be wrong at either place
		}
		if len(fs) != 1 || fs[0].Code != c.code {
			t.Errorf("%q for %q, want one %s:\n%s", c.new, c.old, c.code, text)
		}
	}
}

// TestReadAhead: the type of a broker is known to the ends also when brokers stand behind the routes.
func TestReadAhead(t *testing.T) {
	const src = `version: 1
routes:
  - { name: r, from: { broker: k, topic: t, start_at: newest }, to: { broker: a, queue: q } }
brokers:
  a: { addresses: [amqp://h], type: amqp }
  k: { addresses: ["h:1"], type: kafka }
spool: { dir: d }
`
	if fs, text := report(t, src); len(fs) > 0 {
		t.Error(text)
	}
}

// TestAliasesShare: aliases within the limit stand for what they name.
func TestAliasesShare(t *testing.T) {
	const src = `version: 1
brokers:
  a: { type: amqp, addresses: &h [amqp://h], reconnect: &r { delay: 2s } }
  b: { type: amqp, addresses: *h, reconnect: *r }
routes:
  - { name: r, from: { broker: a, queue: q }, to: { broker: b, queue: p } }
`
	table, fs := Load("f.yaml", []byte(src), Options{Kinds: testKinds()})
	if table == nil || table.Brokers["b"].Config.Addresses[0] != "amqp://h" || table.Brokers["b"].Reconnect.Delay.String() != "2s" {
		t.Errorf("%+v", fs)
	}
}

// TestHash: two sources have two hashes, one source has one.
func TestHash(t *testing.T) {
	const src = "version: 1\nbrokers:\n  a: { type: amqp, addresses: [amqp://h] }\nroutes:\n  - { name: r, from: { broker: a, queue: q }, to: { broker: a, queue: p } }\n"
	hash := func(s string) string {
		table, fs := Load("f.yaml", []byte(s), Options{Kinds: testKinds()})
		if table == nil {
			t.Fatal(fs)
		}
		return table.Hash
	}
	first, again, other := hash(src), hash(src), hash(src+"# x\n")
	if first != again || first == other {
		t.Error(first, again, other)
	}
}

// TestByteOrderMark: an editor's mark at the start is not part of the file.
func TestByteOrderMark(t *testing.T) {
	d, ps := yamltree.Parse([]byte("\ufeffversion: 1\n"))
	if len(ps) > 0 || d.Root.Pairs[0].Key.Text != "version" || d.Root.Pairs[0].Key.Col != 1 {
		t.Errorf("%+v", ps)
	}
}

// TestPathsAreRelativeToTheFile, not to the working directory.
func TestPathsAreRelativeToTheFile(t *testing.T) {
	const src = "version: 1\nbrokers:\n  a: { type: amqp, addresses: [amqp://h], tls: { ca_file: ca.pem }, credentials: { user: u, password: { file: ../s/pw } } }\nroutes:\n  - { name: r, from: { broker: a, queue: q }, to: { broker: a, queue: p } }\n"
	for name, want := range map[string]string{"/etc/posthouse/f.yaml": "/etc/posthouse/ca.pem /etc/s/pw", "f.yaml": "ca.pem ../s/pw", "conf/f.yaml": "conf/ca.pem s/pw"} {
		table, fs := Load(name, []byte(src), Options{Kinds: testKinds()})
		if table == nil {
			t.Fatal(fs)
		}
		b := table.Brokers["a"]
		if got := b.Config.TLS.CAFile + " " + b.Secrets[0].File; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// TestDefaultTLS: the section under defaults switches TLS on for every broker but an embedded one.
func TestDefaultTLS(t *testing.T) {
	const src = `version: 1
defaults: { broker: { tls: { ca_file: /ca.pem, server_name: s } } }
brokers:
  a: { type: amqp, addresses: [amqps://h], tls: { server_name: own } }
  k: { type: kafka, addresses: ["h:1"] }
  n: { type: nats, embedded: { dir: /d } }
routes:
  - { name: r, from: { broker: a, queue: q }, to: { broker: k, topic: p } }
`
	table, fs := Load("f.yaml", []byte(src), Options{Kinds: testKinds()})
	if table == nil {
		t.Fatal(fs)
	}
	for name, want := range map[string]string{"a": "true /ca.pem own", "k": "true /ca.pem s", "n": "false  "} {
		c := table.Brokers[name].Config.TLS
		if got := fmt.Sprint(c.On, " ", c.CAFile, " ", c.ServerName); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
