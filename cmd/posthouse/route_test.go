package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/repeater"
)

// in80 fails on a line that a terminal of 80 columns would break.
func (r result) in80(t *testing.T) {
	t.Helper()
	for line := range strings.SplitSeq(r.out, "\n") {
		if len([]rune(line)) > screenWidth {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
}

// TestSteerRoute: a route is paused, keeps what comes, and goes on; a dry run changes nothing, and each answer says what is.
func TestSteerRoute(t *testing.T) {
	p := newPicky(t)
	state := func() string {
		var v view
		if ask(t.Context(), p.addr, "/api/v1/status", &v) != nil {
			return ""
		}
		return v.Routes[0].State
	}
	r := posthouse(t, "route", "ls", "-c", p.file)
	r.want(t, 0, "ROUTE ", "orders pass-through", "a/ORDERS > b/x")
	r.in80(t)
	posthouse(t, "route", "pause", "-c", p.file, "orders", "--dry-run").want(t, 0, "dry run: orders: pause would be ordered\n")
	posthouse(t, "route", "resume", "-c", p.file, "orders").want(t, 0, "orders: nothing changes, nobody has paused it\n")
	if s := state(); s != "pass-through" {
		t.Errorf("a dry run leaves the route %s", s)
	}
	posthouse(t, "route", "pause", "-c", p.file, "orders", "--reason", "ticket 4711").want(t, 0, "orders: pause is ordered\n")
	eventually(t, "the route is paused", func() bool { return state() == "paused" })
	posthouse(t, "route", "pause", "-c", p.file, "orders").want(t, 0, "orders: nothing changes, pause was ordered before\n")
	show := posthouse(t, "route", "show", "-c", p.file, "orders")
	show.want(t, 0, "route orders is paused\n", "\nroute orders: pause since ", ": ticket 4711\n", "source    a/ORDERS, paused", "help: let it go on: posthouse route resume orders\n")
	if strings.Contains(show.out, "break the circle") || strings.Contains(show.out, "no reason is known") {
		t.Errorf("a pause that was ordered is shown as an alarm: %s", show.out)
	}
	p.send("first")
	posthouse(t, "route", "restart", "-c", p.file, "orders").want(t, 0, "ended and begun again: orders\n")
	if s := state(); s != "paused" {
		t.Errorf("a restart leaves the route %s", s)
	}
	r = posthouse(t, "route", "resume", "-c", p.file, "orders", "-o", "json")
	var done repeater.Obeyed
	if err := json.Unmarshal(oneAnswer(t, r.out, true, "route resume", ""), &done); err != nil || !done.Changed || done.Order != repeater.Resume || done.Stands != nil {
		t.Errorf("%v: %s", err, r.out)
	}
	p.arrived(1)
	posthouse(t, "route", "pause", "-c", p.file, "orders/b", "--reason", "stock-taking").want(t, 0, "orders/b: pause is ordered\n")
	eventually(t, "the lane is paused", func() bool { return p.lane().State == "paused" })
	posthouse(t, "status", "-c", p.file).want(t, 0, "lane orders/b: pause since ", ": stock-taking\n", "help: let it go on: posthouse route resume orders/b\n")
	posthouse(t, "route", "resume", "-c", p.file, "orders/b").want(t, 0, "orders/b: resume is ordered\n")
	posthouse(t, "route", "drain", "-c", p.file, "orders").want(t, 0, "orders: drain is ordered\n")
	eventually(t, "the route has drained", func() bool { return state() == "paused" })
	posthouse(t, "route", "resume", "-c", p.file, "orders").want(t, 0)
	p.up()
}

// TestRouteRefused: what the daemon refuses is an exit 1 with its code, and what is wrong with a command line an exit 2.
func TestRouteRefused(t *testing.T) {
	p := newPicky(t)
	r := posthouse(t, "route", "pause", "-c", p.file, "ordrs", "-o", "json")
	oneAnswer(t, r.out, false, "route pause", "R011")
	r.want(t, 1)
	posthouse(t, "route", "show", "-c", p.file, "ordrs").want(t, 1, "[R011]")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"route"}, 0, "pause"},
		{[]string{"route", "puase"}, 2, "did you mean pause?"},
		{[]string{"config", "histroy"}, 2, "did you mean history?"},
		{[]string{"route", "pause"}, 2, "accepts 1 arg"},
		{[]string{"route", "pause", "/b"}, 2, "is no route or lane"},
		{[]string{"route", "pause", "orders/"}, 2, "is no route or lane"},
		{[]string{"route", "drain", "orders/b"}, 2, "a lane can only be paused and resumed"},
		{[]string{"route", "ls", "-o", "xml"}, 2, "write one of text, wide, json"},
		{[]string{"route", "ls", "-c", "absent.yaml"}, 3, "absent.yaml"},
	} {
		posthouse(t, c.args...).want(t, c.code, c.says)
	}
	for args, want := range map[string]string{
		"route show":     "orders\n:4\n",
		"route pause":    "orders\norders/b\n:4\n",
		"route drain":    "orders\n:4\n",
		"resolve":        "orders/b\n:4\n",
		"route pause or": "orders\norders/b\n:4\n",
		"route pause x":  ":4\n",
	} {
		words := strings.Fields(args)
		start := ""
		if words[0] == "route" && len(words) > 2 {
			words, start = words[:2], words[2]
		}
		complete := append(append([]string{"__complete"}, words...), "-c", p.file, start)
		if r := posthouse(t, complete...); r.out != want {
			t.Errorf("%s offers %q, want %q", args, r.out, want)
		}
	}
	p.daemon.stop()
	if r := posthouse(t, "__complete", "route", "show", "-c", p.file, ""); r.out != ":4\n" || strings.Contains(r.errs, "daemon") {
		t.Errorf("without a daemon: %q, %q", r.out, r.errs)
	}
	posthouse(t, "route", "ls", "-c", p.file).want(t, 3, "[E105]")
}
