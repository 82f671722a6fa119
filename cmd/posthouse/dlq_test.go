package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/repeater"
)

// deadNow is how many dead letters the daemon keeps.
func (p *picky) deadNow() (n uint64) {
	var ds []struct{ Messages uint64 }
	if ask(p.t.Context(), p.addr, "/api/v1/dlq", &ds) == nil && len(ds) == 1 {
		n = ds[0].Messages
	}
	return n
}

// newBurying starts a daemon whose target refuses n messages that become dead letters.
func newBurying(t *testing.T, n uint64) *picky {
	t.Helper()
	p := newPicky(t, "max_attempts: 1")
	posthouse(t, "dlq", "ls", "-c", p.file).want(t, 0, "orders        0    0B      - spool\n")
	p.takes(4000)
	for range n {
		p.send(strings.Repeat("y", 5000))
	}
	eventually(t, "the dead letters are kept", func() bool { return p.deadNow() == n })
	return p
}

// TestDeadLetters: dead letters are seen; a dry run and a missing yes change nothing; some are sent again, one is moved, the
// rest is given up.
func TestDeadLetters(t *testing.T) {
	p := newBurying(t, 4)
	posthouse(t, "dlq", "discard", "-c", p.file, "orders", "--reason", "loop", "--why", "x").want(t, 0, "0 dead letters of route orders will be given up for good")
	posthouse(t, "dlq", "ls", "-c", p.file).want(t, 0, "orders        4 ")
	browse := func(args ...string) (page repeater.Page) {
		t.Helper()
		r := posthouse(t, append([]string{"dlq", "browse", "-c", p.file, "orders", "-o", "json"}, args...)...)
		if err := json.Unmarshal(oneAnswer(t, r.out, true, "dlq browse", ""), &page); err != nil {
			t.Fatal(err)
		}
		return page
	}
	page := browse()
	first := fmt.Sprint(page.Letters[0].Seq)
	if len(page.Letters) != 4 || len(browse("--reason", "loop").Letters) != 0 || len(browse("--filter", "msg.size > 4999", "--lane", "orders/b").Letters) != 4 {
		t.Errorf("%+v", page)
	}
	if next := browse("--limit", "3"); len(next.Letters) != 3 || len(browse("--after", fmt.Sprint(next.Next)).Letters) != 1 {
		t.Errorf("%+v", next)
	}
	r := posthouse(t, "dlq", "browse", "-c", p.file, "orders", "--limit", "3")
	r.want(t, 0, "NUMBER REASON", "; the next page: --after ")
	r.in80(t)
	posthouse(t, "dlq", "show", "-c", p.file, "orders", first).want(t, 0, "message "+first+" of orders/dead-letter: ", "lane      orders/b\n", "body      4.9KiB\n")
	posthouse(t, "dlq", "show", "-c", p.file, "orders", first, "--body").want(t, 0, "yyyyy")

	posthouse(t, "dlq", "discard", "-c", p.file, "orders", "--all", "--dry-run").want(t, 0, "dry run: 4 dead letters of route orders will be given up for good\n")
	posthouse(t, "dlq", "discard", "-c", p.file, "orders", "--all", "--why", "x").want(t, 2, "4 dead letters of route orders will be given up for good: that needs --yes")
	r = posthouse(t, "dlq", "retry", "-c", p.file, "orders", "--all", "-o", "json")
	oneAnswer(t, r.out, false, "dlq retry", "")
	r.want(t, 2)
	posthouse(t, "dlq", "move", "-c", p.file, "orders", "--all", "--to", "c/x", "--yes").want(t, 1, "[A012]")
	posthouse(t, "dlq", "move", "-c", p.file, "orders", "--all", "--to", "a/x", "--form", "queue", "--yes").want(t, 2, "broker a takes [subject]")
	posthouse(t, "dlq", "retry", "-c", p.file, "orders", "--filter", "msg.size >", "--yes").want(t, 1, "[A014]")
	if n := p.deadNow(); n != 4 {
		t.Fatalf("%d dead letters are left of 4", n)
	}

	p.takes(8000)
	posthouse(t, "link", "reconnect", "-c", p.file, "b").want(t, 0) // a raised limit is seen over a new link
	p.up()
	posthouse(t, "dlq", "retry", "-c", p.file, "orders", "--limit", "2", "--lane", "orders/b", "--yes", "--why", "limit raised").want(t, 0, "route orders: 2 of 2 dead letters sent again")
	p.arrived(2)
	posthouse(t, "dlq", "move", "-c", p.file, "orders", "--id", fmt.Sprint(page.Letters[2].Seq), "--to", "b/x", "--yes").want(t, 0, "route orders: 1 of 1 dead letter moved\n")
	p.arrived(3)
	r = posthouse(t, "dlq", "discard", "-c", p.file, "orders", "--all", "--why", "a test", "--yes", "-o", "json")
	var done repeater.DeadDone
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "dlq discard", ""), &done); err != nil || done.Done != 1 || done.Selected != 1 {
		t.Errorf("%v: %s", err, r.out)
	}
	eventually(t, "no dead letter is left", func() bool { return p.deadNow() == 0 })
}

// TestDeadLettersThatStay: what a broker refuses to take stays where it is, and that is an exit 1.
func TestDeadLettersThatStay(t *testing.T) {
	p := newBurying(t, 1)
	posthouse(t, "dlq", "move", "-c", p.file, "orders", "--all", "--to", "b/x", "--yes").want(t, 1, "route orders: 0 of 1 dead letter moved, 1 stay where they are\n")
	if n := p.deadNow(); n != 1 {
		t.Errorf("%d dead letters are left of 1", n)
	}
}

// TestLinks: links and brokers are listed, and a broker's routes begin again.
func TestLinks(t *testing.T) {
	p := newPicky(t)
	for _, args := range [][]string{{"link", "ls"}, {"link", "brokers"}} {
		r := posthouse(t, append(args, "-c", p.file)...)
		r.want(t, 0, " up ")
		r.in80(t)
		r = posthouse(t, append(args, "-c", p.file, "-o", "json")...)
		oneAnswer(t, r.out, true, strings.Join(args, " "), "")
	}
	posthouse(t, "link", "reconnect", "-c", p.file, "b", "--dry-run").want(t, 0, "dry run: would end and begin again orders\n")
	posthouse(t, "link", "reconnect", "-c", p.file, "b", "--reason", "a test").want(t, 0, "ended and begun again: orders\n")
	p.up()
	posthouse(t, "link", "reconnect", "-c", p.file, "c").want(t, 1, "[A012]")
	posthouse(t, "__complete", "link", "reconnect", "-c", p.file, "").want(t, 0, "a\nb\n:4\n")
}

// TestDeadLettersUsage: what is wrong with a command line is told before anybody is asked.
func TestDeadLettersUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"dlq", "retyr"}, 2, "did you mean retry?"},
		{[]string{"dlq", "retry", "orders", "--yes"}, 2, "give some of --id, --reason, --lane and --filter, or else --all"},
		{[]string{"dlq", "retry", "orders", "--all", "--reason", "loop"}, 2, "or else --all"},
		{[]string{"dlq", "retry", "orders", "--id", "x"}, 2, "--id"},
		{[]string{"dlq", "retry", "orders", "--all", "--limit", "-1"}, 2, "--limit -1"},
		{[]string{"dlq", "discard", "orders", "--all", "--yes"}, 2, "add --why TEXT"},
		{[]string{"dlq", "move", "orders", "--all"}, 2, "add --to BROKER/NAME"},
		{[]string{"dlq", "move", "orders", "--all", "--to", "paris/"}, 2, "add --to BROKER/NAME"},
		{[]string{"dlq", "show", "orders", "x"}, 2, "is no number"},
		{[]string{"dlq", "browse"}, 2, "accepts 1 arg"},
		{[]string{"link", "reconnect"}, 2, "accepts 1 arg"},
	} {
		posthouse(t, c.args...).want(t, c.code, c.says)
	}
	ln := listen(t)
	_ = ln.Close()
	posthouse(t, "dlq", "ls", "--admin", ln.Addr().String()).want(t, 3, "no daemon answers", "[E105]")
}
