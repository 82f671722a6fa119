package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// frame is a file that is right but for what stands in the filter, or behind.
const frame = `version: 1
brokers: { a: { type: nats, embedded: { dir: DIR/a } },
           b: { type: nats, embedded: { dir: DIR/b } } }
spool: { dir: DIR/spool }
routes:
  - name: orders
    from: { broker: a, stream: ORDERS }
    to: { broker: b, subject: orders }
`

// bad is the table of what operators get wrong: the file, and the code and the place that it must be told with.
func bad() map[string]struct{ text, where string } {
	type row = struct{ text, where string }
	return map[string]row{
		"unknown key":                    {frame + "    fitler: msg.priority > 4\n", "9:5: error: unknown key \"fitler\" in route [K001]"},
		"wrong type":                     {frame + "    prefetch: many\n", "9:15: error: prefetch must be a whole number [K003]"},
		"duplicate name":                 {frame + "  - { name: orders, from: { broker: a, stream: X }, to: { broker: b, subject: x } }\n", "9:13: error: two routes are named \"orders\" [K006]"},
		"duplicate key":                  {frame + "    to: { broker: b, subject: x }\n", "9:5: error: "},
		"missing broker":                 {strings.Replace(frame, "broker: b", "broker: c", 1), "8:19: error: no broker named \"c\" [R001]"},
		"filter that does not compile":   {frame + "    filter: msg.priority >\n", "[F001]"},
		"filter with an unknown field":   {frame + "    filter: msg.prioritty > 4\n", "9:17: error: filter: a message has no field \"prioritty\" [F002]"},
		"filter in SQL":                  {frame + "    filter: msg.header.region = 'EU'\n", "[F003]"},
		"filter that is not boolean":     {frame + "    filter: msg.priority + 1\n", "9:13: error: filter"},
		"YAML tag in front of a filter":  {frame + "    filter: !msg.redelivered\n", "9:13: error: YAML reads \"!msg.redelivered\" as a tag"},
		"two documents":                  {frame + "---\n" + frame, "9:1: error: a second document starts here; it would be ignored [Y002]"},
		"alias bomb":                     {bomb(), "[Y005]"},
		"10 MB":                          {frame + strings.Repeat("# padding\n", 1<<20), "1:1: error: the file is larger"},
		"not UTF-8":                      {frame + "    filter: msg.type == \"\xff\"\n", "9:26: error: the file is not UTF-8"},
		"empty":                          {"", "[Y002]"},
		"secret as a value":              {strings.Replace(frame, "embedded: { dir: DIR/b }", "addresses: [\"nats://h\"], credentials: { user: u, password: canary-value }", 1), "[X001]"},
		"secret in an address":           {strings.Replace(frame, "embedded: { dir: DIR/b }", "addresses: [\"nats://u:canary-value@h\"]", 1), "[X001]"},
		"admin beyond loopback":          {frame + "admin: { listen: 0.0.0.0:7421 }\n", "[X004]"},
		"syntax":                         {frame + "  - name: x\n   from: y\n", "[Y001]"},
		"version of another time":        {strings.Replace(frame, "version: 1", "version: 2", 1), "1:10: error: "},
		"several targets, undistributed": {strings.Replace(frame, "to: { broker: b, subject: orders }", "to: [{ broker: b, subject: x }, { broker: b, subject: y }]", 1), "[R003]"},
	}
}

// bomb is a file whose aliases would unfold to 9 to the 9th values.
func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		p := "*a" + string(rune('0'+i-1))
		b.WriteString("a" + string(rune('0'+i)) + ": &a" + string(rune('0'+i)) + " [" + strings.Repeat(p+", ", 8) + p + "]\n")
	}
	return b.String()
}

// TestBadInput: each mistake is told with its place and code, by check and by run; the exit is 2 and nothing was started.
func TestBadInput(t *testing.T) {
	place := regexp.MustCompile(`topology\.yaml:\d+:\d+: error: .* \[[A-Z]\d{3}\]`)
	for name, c := range bad() {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := write(t, "topology.yaml", strings.ReplaceAll(c.text, "DIR", dir))
			for _, args := range [][]string{{"check", file}, {"run", "-c", file}, {"send", "-c", file, "b/x", "x"}, {"check", "--connect", file}} {
				r := posthouse(t, args...)
				r.want(t, 2, c.where)
				report := r.out
				if args[0] != "check" {
					report = r.errs
				}
				if !place.MatchString(report) {
					t.Errorf("%s: no position and code in %q", args[0], report)
				}
				if strings.Contains(r.out+r.errs, "canary") {
					t.Errorf("%s shows the secret: %s%s", args[0], r.out, r.errs)
				}
			}
			if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
				t.Errorf("something was started: %v, %v", es, err)
			}
		})
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	file := write(t, "topology.yaml", strings.Replace(frame, "broker: a", "broker: z", 1)+"    prefetch: many\n    zzz: 1\n    filter: msg.nix\n")
	r := posthouse(t, "check", file)
	r.want(t, 2, ":7:21: error: ", ":9:15: error: ", ":10:5: error: ", ":11:17: error: ", ": 4 errors\n")
}

func TestCheckFormats(t *testing.T) {
	file := write(t, "topology.yaml", frame+"    fitler: 1\n    filter: msg.nix\n")
	var fs []struct {
		Code, Severity, File, Message, Suggestion string
		Line, Col                                 int
	}
	r := posthouse(t, "check", "--format", "json", file)
	r.want(t, 2)
	if err := json.Unmarshal([]byte(r.out), &fs); err != nil || len(fs) != 2 || r.errs != "" {
		t.Fatalf("%v, %d findings in %s%s", err, len(fs), r.out, r.errs)
	}
	if f := fs[0]; f.Code != "K001" || f.Line != 9 || f.Col != 5 || f.Severity != "error" || f.File != file || f.Suggestion == "" {
		t.Errorf("%+v", f)
	}
	r = posthouse(t, "check", "--format", "github", file)
	r.want(t, 2, "::error file="+file+",line=9,endLine=9,col=5,endColumn=11,title=K001::unknown key")
	if lines := strings.Count(r.out, "\n"); lines != 2 {
		t.Errorf("%d lines for two findings:\n%s", lines, r.out)
	}
	good := write(t, "good.yaml", frame)
	posthouse(t, "check", good).want(t, 0, good+": ok (2 brokers, 1 route)\n")
	if r := posthouse(t, "check", "--format", "json", good); r.code != 0 || r.out != "[]\n" {
		t.Errorf("%+v", r)
	}
	if r := posthouse(t, "check", "--format", "github", good); r.code != 0 || r.out != "" {
		t.Errorf("%+v", r)
	}
}

func TestStrictMakesWarningsErrors(t *testing.T) {
	file := write(t, "topology.yaml", frame+"    filter: 'true'\n")
	posthouse(t, "check", file).want(t, 0, "9:13: warning: filter is always true [R010]", "1 warning")
	posthouse(t, "check", "--strict", file).want(t, 2, "R010")
}

// withSecret is a file whose only broker logs in; nothing listens at its address.
func withSecret(t *testing.T, secret string) string {
	t.Helper()
	ln := listen(t)
	_ = ln.Close()
	return write(t, "topology.yaml", `version: 1
brokers:
  a: { type: amqp, addresses: ["amqp://`+ln.Addr().String()+`"], credentials: { user: u, password: `+secret+` } }
routes: [{ name: r, from: { broker: a, queue: x }, to: { broker: a, queue: y }, spool: { mode: never }, dead_letter: { broker: a, queue: z } }]
admin: { listen: 127.0.0.1:0 }
`)
}

func TestMissingSecret(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	empty := write(t, "empty", "\n")
	t.Setenv("POSTHOUSE_NOT_SET", "")
	for secret, says := range map[string]string{
		"{ env: POSTHOUSE_NOT_SET }":   `credentials.password of broker "a": environment variable POSTHOUSE_NOT_SET is not set or empty`,
		"{ file: " + absent + " }":     absent,
		"{ file: " + empty + " }":      empty + " is empty",
		"{ file: " + t.TempDir() + "}": "is a directory",
	} {
		file := withSecret(t, secret)
		posthouse(t, "check", file).want(t, 0) // offline: no secret is read
		for _, args := range [][]string{{"run", "-c", file}, {"check", "--connect", file}, {"send", "-c", file, "a/x", "y"}, {"receive", "-c", file, "a/x"}} {
			posthouse(t, args...).want(t, 3, says)
		}
	}
}

func TestExposedSecretIsWarnedOf(t *testing.T) {
	secret := write(t, "secret", "canary")
	file := withSecret(t, "{ file: "+secret+" }")
	posthouse(t, "check", "--strict", file).want(t, 0)
	if err := os.Chmod(secret, 0o644); err != nil {
		t.Fatal(err)
	}
	posthouse(t, "check", file).want(t, 0, "warning: secret file "+secret+" can be read by every user (mode 0644) [X002]")
	posthouse(t, "check", "--strict", file).want(t, 2, "X002")
	r := posthouse(t, "send", "-c", file, "a/x", "y")
	r.want(t, 1, "X002", "0 of 1 messages confirmed by a/x", "connection refused")
	if strings.Contains(r.out+r.errs, "canary") {
		t.Error("the secret shows")
	}
}

func TestCheckConnectTellsWhatDoesNotAnswer(t *testing.T) {
	secret := write(t, "secret", "canary")
	file := withSecret(t, "{ file: "+secret+" }")
	posthouse(t, "check", "--connect", file).want(t, 3, "a: lost: connect a: ", "connection refused")
	r := posthouse(t, "check", "--connect", "--format", "json", file)
	r.want(t, 3)
	var got tried
	_, second, _ := strings.Cut(r.out, "\n")
	if err := json.Unmarshal([]byte(second), &got); err != nil || got.Broker != "a" || got.OK || got.Kind != "lost" {
		t.Errorf("%v in %s", err, r.out)
	}
	posthouse(t, "check", "--connect", "--format", "github", file).want(t, 3, "::error file="+file+",line=3,title=lost::a: lost")
	embedded := write(t, "embedded.yaml", strings.ReplaceAll(frame, "DIR", t.TempDir()))
	posthouse(t, "check", "--connect", embedded).want(t, 0, "a: ok, embedded", "b: ok, embedded")
}

func TestRunWithAddressInUse(t *testing.T) {
	taken := listen(t).Addr().(*net.TCPAddr).String()
	dir := t.TempDir()
	file := write(t, "topology.yaml", strings.ReplaceAll(frame, "DIR", dir)+"admin: { listen: \""+taken+"\" }\n")
	posthouse(t, "run", "-c", file).want(t, 3, "admin.listen: listen tcp "+taken, "address already in use")
	if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
		t.Errorf("something was started: %v, %v", es, err)
	}
	text := strings.Replace(strings.ReplaceAll(frame, "DIR", dir), "dir: "+dir+"/b", "dir: "+dir+"/b, listen: \""+taken+"\"", 1)
	posthouse(t, "run", "-c", write(t, "topology.yaml", text+"admin: { listen: 127.0.0.1:0 }\n")).want(t, 3, `embedded broker "b"`, taken)
}
