package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/routes"
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
	r := posthouse(t, "check", "--format", "json", file)
	r.want(t, 2)
	got := answered(t, r)
	fs := got.Result.Findings
	if len(fs) != 2 || len(got.Result.Lanes) > 0 || r.errs != "" || got.OK || got.Error == nil || got.Error.Message != "1 file, 2 findings, 0 lanes" {
		t.Fatalf("%s%s", r.out, r.errs)
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
	for _, args := range [][]string{{"--format", "json", good}, {"-o", "json", good}} {
		r := posthouse(t, append([]string{"check"}, args...)...)
		if got := answered(t, r); r.code != 0 || !got.OK || got.Error != nil || len(got.Result.Findings) > 0 || len(got.Result.Lanes) != 1 {
			t.Errorf("%+v", r)
		}
	}
	if r := posthouse(t, "check", "--format", "github", good); r.code != 0 || r.out != "" {
		t.Errorf("%+v", r)
	}
}

// A checkedFiles is the object of check -o json.
type checkedFiles struct {
	Command string
	OK      bool
	Summary string
	Result  struct {
		Findings []struct {
			Code, Severity, File, Message, Suggestion string
			Line, Col                                 int
		}
		Lanes   []routes.Promise
		Brokers []tried
	}
	Error *problem
}

// answered reads the one object that a check has printed.
func answered(t *testing.T, r result) (v checkedFiles) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(r.out))
	if err := d.Decode(&v); err != nil || d.More() || v.Command != "check" {
		t.Fatalf("%v in %s%s", err, r.out, r.errs)
	}
	return v
}

// TestCheckNamesClasses: for a file without errors each lane, the class of its target, and what that comes to; also beside
// warnings, and in one object for several files, of which one is not there.
func TestCheckNamesClasses(t *testing.T) {
	once := write(t, "once.yaml", frame+"    delivery: exactly-once\n    max_outage: 90s\n")
	r := posthouse(t, "check", once)
	r.want(t, 0, "LANE      TARGET    CLASS     DELIVERY      WHAT IT COMES TO\n",
		"orders/b  b/orders  T-window  exactly-once  outages of 90s: it remembers ids for 2m; then the lane waits for resolve\n")
	warned := write(t, "warned.yaml", frame+"    filter: 'true'\n    delivery: at-most-once\n")
	posthouse(t, "check", warned).want(t, 0, "[R010]", "orders/b  b/orders  T-window  at-most-once  at most 256 lost after an unclean stop, none twice\n")
	absent := filepath.Join(t.TempDir(), "absent.yaml")
	r = posthouse(t, "check", "-o", "json", once, absent, warned)
	r.want(t, 3)
	got := answered(t, r)
	if got.OK || len(got.Result.Findings) != 1 || len(got.Result.Lanes) != 2 || got.Error == nil || !strings.Contains(got.Error.Message, absent) {
		t.Fatalf("%s", r.out)
	}
	want := "once, as long as an outage is shorter than 90s (max_outage, and confirm_timeout before the window of 2m ends); after a longer one the lane holds what may have arrived, at most 256 messages, until posthouse resolve"
	if p := got.Result.Lanes[0]; p.Lane != "orders/b" || p.Class != "T-window" || p.Source != "S-position" || p.InFlight != 256 || p.Text != want {
		t.Errorf("%+v", p)
	}
}

// TestExplainPromise: explain says the promise in a sentence.
func TestExplainPromise(t *testing.T) {
	file := write(t, "topology.yaml", frame)
	posthouse(t, "explain", "-c", file, "orders").want(t, 0, "  delivery         at-least-once: ", "    b              T-window: once, as long as an outage is shorter than the window of 2m; ", "  not covered    loss of the spool's disk")
}

func TestStrictMakesWarningsErrors(t *testing.T) {
	file := write(t, "topology.yaml", frame+"    filter: 'true'\n")
	posthouse(t, "check", file).want(t, 0, "9:13: warning: filter is always true [R010]", "1 warning")
	posthouse(t, "check", "--strict", file).want(t, 2, "R010")
}

// TestStrictTellsLosses: only --strict asks for what a target does not act on, in all formats.
func TestStrictTellsLosses(t *testing.T) {
	const file = "../../examples/amqp-to-kafka.yaml"
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	warns := write(t, "topology.yaml", strings.ReplaceAll(string(src), "losses: accept", "losses: warn"))
	posthouse(t, "check", "--strict", file).want(t, 0, "ok (2 brokers, 1 route)")
	posthouse(t, "check", warns).want(t, 0, "ok (2 brokers, 1 route)")
	posthouse(t, "check", "--strict", warns).want(t, 2, "lane trades/kafka", "does not act on expiry, priority or delivery time [H001]")
	posthouse(t, "check", "--strict", "-o", "json", warns).want(t, 2, `"code":"H001"`)
	posthouse(t, "explain", "H001").want(t, 0, "losses: accept")
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
	if got := answered(t, r).Result.Brokers; len(got) != 1 || got[0].Broker != "a" || got[0].OK || got[0].Kind != "lost" {
		t.Errorf("%s", r.out)
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
