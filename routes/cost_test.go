package routes

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posthouse/posthouse/adapters"
)

// The cost of an expression is bounded before it runs, since nothing can stop it. These tests count work, not time: looks
// at the message, steps of patterns, and bytes allocated.
const (
	mostLooks = maxNodes * maxElements / 4 // a look takes four nodes, in a loop over the longest list
	mostAlloc = 320 << 20                  // text joined again and again; half of it was seen, and the race detector empties pools
)

// largest repeats term as often as the limits permit.
func largest(before, term, sep, after string) string {
	for n := maxNodes; n > 1; n-- {
		s := before + strings.TrimSuffix(strings.Repeat(term+sep, n), sep) + after
		if _, f := compile("filter", s, "r", reflect.Bool); f == nil {
			return s
		}
	}
	return before + term + after
}

// hostile is a message that fills every limit on what is looked at.
func hostile(body string) *adapters.Message {
	m := &adapters.Message{Body: adapters.Body{Form: adapters.BodyText, Data: []byte(body)}}
	for i := range maxHeaders - 1 {
		m.Props = append(m.Props, adapters.Prop{Name: fmt.Sprint(strings.Repeat("h", 100), i), V: adapters.String(strings.Repeat("a", maxValue))})
	}
	m.Props = append(m.Props, adapters.Prop{Name: "x", V: adapters.String(strings.Repeat("a", maxValue-1) + "b")})
	return m
}

// looks runs p once and counts: how often it looked at the message, and the bytes that were allocated.
func (p *program) looks(m *adapters.Message) (asked int, bytes uint64, err error) {
	machine := newMachine().(*machine)
	machine.sub = subject{m: m}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = machine.vm.Run(p.code, &machine.env)
	runtime.ReadMemStats(&after)
	return machine.sub.asked, after.TotalAlloc - before.TotalAlloc, err
}

func TestWorstCases(t *testing.T) {
	long, wide := strings.Repeat("y", maxText), strings.Repeat("é", maxText/2)
	list := `{"a":[` + strings.TrimSuffix(strings.Repeat(`"`+strings.Repeat("x", 61)+`",`, 999), ",") + `]}`
	for _, c := range []struct{ source, body string }{
		{largest(`len(`, `msg.text`, ` + `, `) == 1`), long},
		{largest(`len(`, `upper(lower(msg.text))`, ` + `, `) == 1`), wide},
		{largest(``, `lower(msg.text + msg.text) == "a"`, ` or `, ``), wide},
		{largest(``, `string(msg.json) == "a"`, ` or `, ``), list},
		{largest(``, `len(keys(msg.json)) == 0`, ` or `, ``), list},
		{largest(``, `len(msg.header) == 0`, ` or `, ``), long},
		{largest(``, `"a" in keys(msg.header)`, ` or `, ``), long},
		{largest(``, `msg.json.a in msg.json.a`, ` or `, ``), list},
		{largest(``, `msg.json == msg.json`, ` and `, ``), list},
		{largest(`any(msg.json.a, `, `# == msg.header.x`, ` or `, `)`), list},
		{largest(`any(msg.json.a, `, `"x" in msg.header and # == "b"`, ` or `, `)`), list},
		{largest(``, `any(msg.json.a, # == msg.header.x)`, ` or `, ``), list},
		{largest(``, `any(msg.json.a, upper(lower(#)) == "")`, ` or `, ``), list},
		{largest(`any(keys(msg.header), `, `msg.header[#] == msg.header.x`, ` and `, `)`), long},
		{largest(``, `any(msg.json.a, # matches "(x+x+)+y")`, ` or `, ``), list},
		{largest(``, `msg.text matches "(y+y+)+z"`, ` or `, ``), long},
	} {
		p, f := compile("filter", c.source, "r", reflect.Bool)
		if f != nil {
			t.Errorf("%.80s is refused: %s", c.source, f.Message)
			continue
		}
		asked, bytes, err := p.looks(hostile(c.body))
		if err != nil || asked == 0 || asked > mostLooks || bytes > mostAlloc {
			t.Errorf("%.80s: %d looks of at most %d, %d MiB of at most %d, %v", c.source, asked, mostLooks, bytes>>20, mostAlloc>>20, err)
		}
	}
}

// TestPatternsAreCounted: what a pattern costs for every character is bounded, over all patterns of an expression, and so
// is what trim looks up for every character.
func TestPatternsAreCounted(t *testing.T) {
	for source, refused := range map[string]bool{
		`msg.id matches "^[A-Z]{2,4}-[0-9]{6,20}$"`:                                                      false,
		`msg.id matches "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"`:                                   false,
		`msg.text matches "(.*){1000}z"`:                                                                 true,
		`msg.text matches "` + strings.Repeat("(.{500})|", 100) + `z"`:                                   true,
		`msg.text matches "[ab]{100}" and msg.text matches "[cd]{100}"`:                                  false,
		`msg.text matches "[ab]{100}" and msg.text matches "[cd]{100}" and msg.text matches "[ef]{100}"`: true,
		`any(msg.json.a, # matches "[ab]{100}") or all(msg.json.a, # matches "[ab]{200}")`:               true,
		`not (msg.text matches "[ab]{300}") or msg.size > 1`:                                             true,
		`trim(msg.id, "-_") == "a"`:                                                                      false,
		`trim(msg.id) == "a"`:                                                                            false,
		`trim(msg.text, msg.header.x) == "a"`:                                                            true,
		`trim(msg.json.s, msg.json.c) == "a"`:                                                            true,
		`(msg.id | trim(msg.type)) == "a"`:                                                               true,
	} {
		_, f := compile("filter", source, "r", reflect.Bool)
		if (f != nil) != refused || f != nil && f.Code != "F005" {
			t.Errorf("%.80s: %+v, want refused: %v", source, f, refused)
		}
	}
}

// TestNameOfHeaderTooLong: names count too, where an expression looks at all headers.
func TestNameOfHeaderTooLong(t *testing.T) {
	f := &Filter{mustCompile(t, `any(keys(msg.header), # matches "a")`, reflect.Bool)}
	m := &adapters.Message{Props: []adapters.Prop{{Name: strings.Repeat("n", maxValue+1)}}}
	if ok, err := f.Match(m, "r"); ok || err == nil || !strings.Contains(err.Error(), "4097 bytes") {
		t.Errorf("%v, %v", ok, err)
	}
}

// drawExpr makes an expression that looks like one of an operator, or of somebody who means harm.
func drawExpr(t *rapid.T, depth int) string {
	pick := func(ss ...string) string { return rapid.SampledFrom(ss).Draw(t, "part") }
	value := pick(`msg.text`, `msg.json`, `msg.json.a`, `msg.header.x`, `msg.header`, `msg.id`, `msg.priority`, `#`, `.sku`, `"a"`, `4`, `msg.json.a[0]`, `msg.json?.b`, `keys(msg.header)`)
	if depth == 0 {
		return value
	}
	a, b := drawExpr(t, depth-1), drawExpr(t, depth-1)
	return pick(
		a+" + "+b, a+" == "+b, a+" and "+b, a+" or "+b, "not "+a, "any("+a+", "+b+")", "count("+a+", "+b+") > 1", "all("+a+", "+b+" != "+a+")",
		"lower("+a+")", "upper("+a+") + "+b, "len("+a+") > 1", "string("+a+")", a+" in "+b, a+" contains "+b, a+` matches "(a+)+b"`, "keys("+a+")",
		"max("+a+", "+b+")", a+" ?? "+b, a+" ? "+b+" : "+a, "("+a+")", "int("+a+") > 3", "["+a+", "+b+"] == ["+b+"]", a+"[1:5]", "{\"k\": "+a+"}", "trim("+a+", "+b+")", "get("+a+", "+b+")",
	)
}

// TestDrawnExpressions: whatever is accepted ends within the bounds, over messages that fill all limits.
func TestDrawnExpressions(t *testing.T) {
	list := `{"a":[` + strings.TrimSuffix(strings.Repeat(`{"sku":"`+strings.Repeat("a", 40)+`"},`, 999), ",") + `],"b":{"c":[1,2]}}`
	messages := []*adapters.Message{hostile(list), hostile(strings.Repeat("a", maxText)), hostile(""), {}}
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		source := drawExpr(t, rapid.IntRange(1, 4).Draw(t, "depth"))
		p, f := compile("expression", source, "r", reflect.Invalid)
		if f != nil {
			return
		}
		accepted++
		for _, m := range messages {
			if asked, bytes, _ := p.looks(m); asked > mostLooks || bytes > mostAlloc {
				t.Fatalf("%s: %d looks, %d MiB", source, asked, bytes>>20)
			}
		}
	})
	if accepted == 0 {
		t.Error("nothing drawn was accepted")
	}
}

// FuzzMatch: no message makes an accepted filter panic, or answer without an error where it has none.
func FuzzMatch(f *testing.F) {
	for _, s := range []string{`any(keys(msg.header), # startsWith "x-")`, `msg.json.total > 12 and msg.header.x != ""`, `msg.text matches "^a" or msg.json.a[0].b == nil`,
		`count(msg.json.items, .sku == msg.header.x) > 1`, `msg.json?.a?.b ?? false`, `float(msg.json.n) / 0 > 1`, `msg.header["x"][1:2] == "é"`} {
		f.Add(s, []byte(`{"total": 1e400, "a": [{"b": null}], "items": []}`), "x", "é\xff")
	}
	f.Fuzz(func(t *testing.T, source string, body []byte, name, value string) {
		p, fault := compile("filter", source, "r", reflect.Bool)
		if fault != nil {
			return
		}
		filter := &Filter{p}
		for form := adapters.BodyNone; form <= adapters.BodyObject; form++ {
			m := &adapters.Message{Body: adapters.Body{Form: form, Data: body}, Props: []adapters.Prop{
				{Name: name, V: adapters.String(value)}, {Name: "x", V: adapters.Bytes([]byte(value))}, {Name: "l", V: adapters.List(adapters.Null())}}}
			before := string(body)
			ok, err := filter.Match(m, "r")
			if ok && err != nil || string(m.Body.Data) != before {
				t.Errorf("%q: %v beside %v, body changed: %v", source, ok, err, string(m.Body.Data) != before)
			}
			filter.Terms(m, "r")
		}
	})
}
