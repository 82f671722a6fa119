package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A tutorial is docs/getting-started.md, as a reader follows it.
type tutorial struct {
	text    string
	files   []string // the YAML in it, in its order, with addresses that are free here
	program *running
	addr    string // of its admin listener
}

func readTutorial(t *testing.T) *tutorial {
	t.Helper()
	doc := filepath.Join("..", "..", "docs", "getting-started.md")
	src, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	tut := &tutorial{text: string(src)}
	var free []string
	for range 3 {
		ln := listen(t)
		free = append(free, ln.Addr().String())
		defer func() { _ = ln.Close() }()
	}
	tut.addr = free[2]
	here := strings.NewReplacer("127.0.0.1:4222", free[0], "127.0.0.1:4223", free[1])
	for _, b := range blocks(t, doc) {
		tut.files = append(tut.files, here.Replace(b.whole(t))+"admin: { listen: \""+tut.addr+"\" }\n")
	}
	return tut
}

// shown is what the document prints below a line that begins so, up to an empty line or the next command.
func (tut *tutorial) shown(t *testing.T, begin string) string {
	t.Helper()
	_, rest, ok := strings.Cut(tut.text, "    "+begin)
	if !ok {
		t.Fatalf("the document does not show %q", begin)
	}
	var b strings.Builder
	for _, line := range strings.Split(rest, "\n")[1:] {
		if !strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "    $ ") {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "    ") + "\n")
	}
	return b.String()
}

// run starts the daemon of the n-th file, in topology.yaml, and waits until it receives and its lane is in a state.
func (tut *tutorial) run(t *testing.T, n int, state string) {
	t.Helper()
	if err := os.WriteFile("topology.yaml", []byte(tut.files[n]), 0o600); err != nil {
		t.Fatal(err)
	}
	tut.program = start(t, "topology.yaml", tut.addr)
	eventually(t, "the route is "+state, func() bool {
		var v view
		return ask(t.Context(), tut.addr, "/api/v1/status", &v) == nil && v.Routes[0].Source.State == "up" && v.Routes[0].Lanes[0].State == state
	})
}

// TestGettingStarted follows the document: its files, its commands, and what it says that they print.
func TestGettingStarted(t *testing.T) {
	tut := readTutorial(t)
	t.Chdir(t.TempDir())
	bad := strings.Replace(tut.files[0], "ORDERS, subject: orders", "ORDERS, sbject: orders", 1)
	if err := os.WriteFile("bad.yaml", []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	posthouse(t, "check", "bad.yaml").want(t, 2, "bad.yaml:15:44: error: unknown key \"sbject\" in from [K001]", tut.shown(t, "bad.yaml:15:44"))

	tut.run(t, 0, "pass-through")
	const check = "posthouse check topology.yaml"
	if r := posthouse(t, "check", "topology.yaml"); r.out != tut.shown(t, "$ "+check) {
		t.Errorf("%s prints\n%s", check, r.out)
	}
	const send = `posthouse send -c topology.yaml paris/orders '{"order": 1}' -H region=EU`
	if r := posthouse(t, "send", "-c", "topology.yaml", "paris/orders", `{"order": 1}`, "-H", "region=EU"); r.out+r.errs != tut.shown(t, "$ "+send) {
		t.Errorf("%s prints\n%s%s", send, r.out, r.errs)
	}
	posthouse(t, "receive", "-c", "topology.yaml", "berlin/ORDERS").want(t, 0, "posthouse-id: ", "\nheader region: \"EU\"\n\n{\"order\": 1}\n---\n")
	tut.program.stop().want(t, 0)

	tut.run(t, 1, "spooling")
	posthouse(t, "send", "-c", "topology.yaml", "paris/orders", `{"order": 2}`, "-n", "3").want(t, 0, "3 of 3 messages confirmed by paris/orders")
	eventually(t, "three messages are spooled", func() bool { return spooled(t, "topology.yaml", "daemon", "orders/berlin") == 3 })
	tut.program.stop().want(t, 0)
	posthouse(t, "spool", "ls", "-c", "topology.yaml").want(t, 0, "3 messages in 1 lane, ", "closed, from the closed journal ", "\norders/berlin  closed         3   576B      -       -\n")

	tut.run(t, 0, "pass-through")
	r := posthouse(t, "receive", "-c", "topology.yaml", "berlin/ORDERS", "-n", "3")
	if r.want(t, 0); strings.Count(r.out, "{\"order\": 2}\n") != 3 {
		t.Errorf("not all three came:\n%s", r.out)
	}
	tut.program.stop().want(t, 0)
}
