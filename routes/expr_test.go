package routes

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// mustCompile compiles an expression that is right.
func mustCompile(t testing.TB, source string, kind reflect.Kind) program {
	t.Helper()
	p, f := compile("filter", source, "paris", kind)
	if f != nil {
		t.Fatalf("%s: [%s] %s (%d-%d)", source, f.Code, f.Message, f.from, f.to)
	}
	return p
}

func testMessage() *adapters.Message {
	return &adapters.Message{
		ID: adapters.StringID("m-1"), Corr: adapters.ID{Form: adapters.IDBytes, B: []byte{0xab, 1}}, ReplyTo: adapters.Addr{Name: "SQ2"},
		Type: "order", Key: []byte("k"), Priority: adapters.Priority{Set: true, Value: 7}, Durable: adapters.Yes,
		Created: 1000, Received: 2000, Expires: 1500, Deliveries: 1, ContentType: "application/json",
		Track: adapters.Track{Origin: "o-1", Path: []string{"a/b", "c/d"}},
		Props: []adapters.Prop{
			{Name: "region", V: adapters.String("US")}, {Name: "region", V: adapters.String("EU")}, {Name: "n", V: adapters.Int(adapters.TI32, 5)},
			{Name: "x-audit-id", V: adapters.Bool(true)}, {Name: "with space", V: adapters.Float64(1.5)},
			{Name: "when", V: adapters.Time(0)}, {Name: "raw", V: adapters.Bytes([]byte{0xff})}},
		Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte(`{"total": 12.5, "name": "x", "urgent": true, "items": [{"sku": "a"}, {"sku": "b"}], "none": null}`)},
	}
}

func TestMatch(t *testing.T) {
	const always = "always"
	for source, want := range map[string]any{
		`msg.id == "m-1" && msg.correlation_id == "ab01" && msg.reply_to == "SQ2"`:   true,
		`msg.type == "order" and msg.key == "k" and msg.origin == "o-1"`:             true,
		`msg.priority >= 7 and msg.size > 80 and msg.hops == 2 and msg.time == 1000`: true,
		`msg.persistent and msg.redelivered and msg.expired`:                         true,
		`not msg.expired`: false,
		`msg.content_type startsWith "application/"`:             true,
		`msg.header.region == "EU"`:                              true, // the last of equal names
		`msg.header.Region == ""`:                                true, // case matters
		`msg.header["with space"] == "1.5"`:                      true,
		`"region" in msg.header and "nothing" not in msg.header`: true,
		`int(msg.header.n) > 4`:                                  true,
		`msg.header.n in ["5", "6"]`:                             true,
		`msg.header.when == "1970-01-01T00:00:00.000Z"`:          true,
		`msg.json.total > 12 and msg.json.name == "x"`:           true,
		`msg.json.urgent == true and msg.json.none == nil`:       true,
		`any(msg.json.items, .sku == "b")`:                       true,
		`count(msg.json.items, {#.sku matches "^[ab]$"}) == 2`:   true,
		`any(msg.json.items, .sku == msg.json.name or .sku in ["z"] or lower(.sku) == msg.header.region or "region" in msg.header)`: true,
		`msg.json.missing?.deeper == nil`:                            true,
		`msg.text contains "total"`:                                  true,
		`msg.type == "other" and msg.json.nothing.there == 1`:        false, // the second half is not evaluated
		`route == "r" and repeater == "paris"`:                       true,
		`msg.priority in 1..9`:                                       true,
		`msg.priority > 8 ? true : msg.size > 0`:                     true,
		`(msg.header.region | lower()) == "eu"`:                      true,
		`get({"a": 1}, "a") == 1`:                                    true,
		`len(msg.header.region) == 2 and upper(msg.type) == "ORDER"`: true,
		`msg?.header?.region == "EU"`:                                true,
		`if msg.priority > 3 { true } else { false }`:                true,
		`msg.header.nothing ?? "d" == ""`:                            always,
		`indexOf(msg.id, "-") == 1 && msg.id[0:1] == "m"`:            true,
		`max(msg.priority, 9) == 9 and abs(-1) == 1`:                 true,
	} {
		if want == always {
			continue // only has to compile or not; mixing ?? and == needs parentheses
		}
		f := &Filter{mustCompile(t, source, reflect.Bool)}
		for range 2 { // the machine is used again
			if got, err := f.Match(testMessage(), "r"); err != nil || got != want {
				t.Errorf("%s: got %v, %v; want %v", source, got, err, want)
			}
		}
	}
}

func TestMatchAllHeaders(t *testing.T) {
	m := testMessage()
	m.Props = m.Props[:4]
	f := &Filter{mustCompile(t, `any(keys(msg.header), # startsWith "x-audit-") and len(msg.header) == 3`, reflect.Bool)}
	if got, err := f.Match(m, "r"); !got || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestEvalErrors: what cannot be answered is an error, never a silent no.
func TestEvalErrors(t *testing.T) {
	big := strings.Repeat("x", maxText+1)
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	many := "[" + strings.Repeat("1,", maxElements) + "1]"
	for _, c := range []struct {
		source, reason string
		alter          func(*adapters.Message)
	}{
		{`int(msg.header.region) > 4`, "EU", nil},
		{`msg.json.total.deeper == 1`, "deeper", nil},
		{`msg.json.name > 4`, "", nil},
		{`msg.text == ""`, "65537 bytes", func(m *adapters.Message) { m.Body.Data = []byte(big) }},
		{`msg.json.a == 1`, "not JSON", func(m *adapters.Message) { m.Body.Data = []byte("no") }},
		{`msg.json.a == 1`, "deeper than 32", func(m *adapters.Message) { m.Body.Data = []byte(deep) }},
		{`msg.json[0] == 1`, "1001 elements", func(m *adapters.Message) { m.Body.Data = []byte(many) }},
		{`msg.text == ""`, "not text", func(m *adapters.Message) { m.Body.Data = []byte{0xff} }},
		{`msg.text == ""`, "structured", func(m *adapters.Message) { m.Body.Form = adapters.BodyMap }},
		{`msg.header.raw == ""`, "not text", nil},
		{`msg.header.long == ""`, "4097 bytes", func(m *adapters.Message) {
			m.Props = []adapters.Prop{{Name: "long", V: adapters.String(big[:maxValue+1])}}
		}},
		{`len(msg.header) > 1`, "257 headers", func(m *adapters.Message) { m.Props = make([]adapters.Prop, maxHeaders+1) }},
	} {
		m := testMessage()
		if c.alter != nil {
			c.alter(m)
		}
		f := &Filter{mustCompile(t, c.source, reflect.Bool)}
		got, err := f.Match(m, "r")
		var e *EvalError
		if got || !errors.As(err, &e) || !strings.Contains(e.Reason, c.reason) || strings.Contains(e.Reason, "\n") || e.Expression != c.source {
			t.Errorf("%s: got %v, %v; want a reason with %q", c.source, got, err, c.reason)
		}
	}
}

// TestRefused lists expressions by the code that refuses them. Each would be a way to fill the memory, to run long, or to
// mean something else than it seems.
func TestRefused(t *testing.T) {
	for code, sources := range map[string][]string{
		"F001": {"", "1 +", "msg.type == 'a' b", "msg.size > )", "'a"},
		"F002": {"foo", "msg.foo == 1", "msg", "msg[route] == 1", "env.x == 1", "message.id == ''", "$env == 1"},
		"F003": {"msg.type = 'a'", "region <> 'EU'", "a LIKE 'b%'", "a IS NULL", "a IS NOT NULL AND b = 1", "x BETWEEN 1 AND 2"},
		"F004": {"msg.size", "msg.type", "msg.header", "[1]"},
		"F005": {
			strings.Repeat("x", maxSource+1), strings.Repeat("(", 65) + "1" + strings.Repeat(")", 65), `"` + "))))" + `" == ` + strings.Repeat("(", 65) + "1",
			"true" + strings.Repeat(" and true", 120), "any(msg.json.a, any(msg.json.b, true))", "any(msg.json.a, count(keys(msg.header), true) > 1)",
			`any(msg.json.a, msg.text == "")`, `any(msg.json.a, # in msg.json)`, `any(msg.json.a, # + "x" == "y")`, `any(msg.json.a, # + # == "y")`,
			`msg.type matches msg.id`, `any(keys(msg.header), msg.type matches #)`, `any(keys(msg.header), msg.type matches "a")`,
			`any(msg.json.a, lower(msg.json.s) == "")`, `any(msg.json.a, string(msg.json.s) == "")`, `any(msg.json.a, len(keys(msg.header)) > 1)`,
			`any(msg.json.a, # in msg.json.b)`, `any(msg.json.a, msg.json.b == msg.json.c)`, `any(msg.json.a, len(upper(# in msg.json.b ? "a" : "b")) > 1)`,
			`any(1..100, # == 1)`, `1..5 == [1]`, `msg.size in 1..100000`, `msg.size in 1..msg.size`, `len(1..3) == 3`,
		},
		"F006": {
			"now() > 1", "repeat(msg.type, 100) == ''", "reduce(msg.json.a, #acc + #) == 1", "len(map(msg.json.a, #)) == 1", "len(split(msg.id, '')) == 1",
			"replace(msg.id, 'a', 'b') == ''", "join(msg.json.a) == ''", "let x = 1; x == 1", "true; false", "filter(msg.json.a, true) == []", "msg.id.foo()",
			"b'abc' == b'abc'", "toJSON(msg.json) == ''", "fromJSON(msg.text) == 1", "sum(msg.json.a) > 1", "find(msg.json.a, true) == 1", "sortBy(msg.json.a, #) == []",
			"groupBy(msg.json.a, #) == {}", "flatten(msg.json.a) == []", "'a' | foo()", "msg.header(1) == 1", "::now() > 1", "concat([1], [2]) == [1]",
		},
		"F007": {"nil", "msg.json.a", "msg.header.n > 4", "msg.header.n == 4", "msg.header.n + 1 > 2"},
	} {
		for _, source := range sources {
			_, f := compile("filter", source, "", reflect.Bool)
			if f == nil {
				t.Errorf("accepted: %.80s", source)
			} else if f.Code != code {
				t.Errorf("%.80s: code %s (%s), want %s", source, f.Code, f.Message, code)
			}
		}
	}
}

func TestExprString(t *testing.T) {
	e := &Expr{mustCompile(t, `lower(msg.header.region) + "-" + string(msg.priority)`, reflect.String)}
	if got, err := e.String(testMessage(), "r"); got != "eu-7" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	e = &Expr{mustCompile(t, `msg.text`, reflect.String)}
	m := testMessage()
	m.Body.Data = []byte(strings.Repeat("x", maxKey+1))
	if _, err := e.String(m, "r"); err == nil || !strings.Contains(err.Error(), "4097 bytes") {
		t.Errorf("a long key: %v", err)
	}
}

// TestMatchConcurrently runs one filter from many goroutines over different messages: answers must not mix.
func TestMatchConcurrently(t *testing.T) {
	f := &Filter{mustCompile(t, `any(keys(msg.header), # == "only") and msg.header.n == msg.id and msg.text contains msg.id`, reflect.Bool)}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				id := fmt.Sprint(g, "-", i)
				m := &adapters.Message{ID: adapters.StringID(id), Props: []adapters.Prop{{Name: "n", V: adapters.String(id)}, {Name: "only", V: adapters.Null()}},
					Body: adapters.Body{Form: adapters.BodyText, Data: []byte("a " + id + " b")}}
				if ok, err := f.Match(m, "r"); !ok || err != nil {
					t.Errorf("%s: %v, %v", id, ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestMatchKeepsNothing: a filter that does not look at headers or the body allocates nothing for them.
func TestMatchKeepsNothing(t *testing.T) {
	f := &Filter{mustCompile(t, `msg.priority > 4 and msg.type == "order"`, reflect.Bool)}
	small, large := testMessage(), testMessage()
	for i := range 200 {
		large.Props = append(large.Props, adapters.Prop{Name: fmt.Sprint("h", i), V: adapters.Int(adapters.TI64, int64(i)<<40)})
	}
	count := func(m *adapters.Message) float64 {
		return testing.AllocsPerRun(200, func() {
			if ok, err := f.Match(m, "r"); !ok || err != nil {
				t.Fatal(ok, err)
			}
		})
	}
	if a, b := count(small), count(large); b > a+0.5 {
		t.Errorf("%v allocations for a message with few headers, %v with many", a, b)
	}
}

func TestFromSQL(t *testing.T) {
	for in, want := range map[string]string{
		`msg.header.region = 'EU' AND msg.priority > 4`: `msg.header.region == "EU" and msg.priority > 4`,
		`region <> 'EU' OR NOT urgent = 'x'`:            `msg.header.region != "EU" or not (msg.header.urgent == "x")`,
		`JMSPriority = 4`:                               `msg.priority == 4`,
		`region LIKE 'E%'`:                              `msg.header.region startsWith "E"`,
		`region LIKE '%U'`:                              `msg.header.region endsWith "U"`,
		`region like '%E%'`:                             `msg.header.region contains "E"`,
		`region LIKE 'E_U%x'`:                           `msg.header.region matches "^E.U.*x$"`,
		`region LIKE 'EU'`:                              `msg.header.region == "EU"`,
		`region IS NULL`:                                `not ("region" in msg.header)`,
		`region IS NOT NULL AND msg.type IS NULL`:       `"region" in msg.header and msg.type == ""`,
		`region IN ('EU', 'UK')`:                        `msg.header.region in ["EU", "UK"]`,
		`msg.priority BETWEEN 2 AND 4`:                  `(msg.priority >= 2 and msg.priority <= 4)`,
		`NOT (region = 'EU') AND NOT msg.type = 'a' AND region NOT LIKE 'x%'`: `not (msg.header.region == "EU") and not (msg.type == "a") and msg.header.region not startsWith "x"`,
		`lower(region) = "eu"`: `lower(msg.header.region) == "eu"`,
	} {
		got, _, _, ok := fromSQL(in)
		if !ok || got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
			continue
		}
		if _, f := compile("filter", got, "", reflect.Bool); f != nil {
			t.Errorf("%s: what is proposed does not compile: %s", got, f.Message)
		}
	}
	if _, _, _, ok := fromSQL(`msg.type == "a = b" and msg.size >= 4`); ok {
		t.Error("a right expression looks like SQL")
	}
}

func TestConstant(t *testing.T) {
	for source, want := range map[string]string{"true": "true", "1 > 2": "false", `"a" in ["a"]`: "true", "msg.size > 1": "", `route == "x"`: "", "msg.size > 1 or true": "true"} {
		p := mustCompile(t, source, reflect.Bool)
		v, ok := p.constant()
		got := ""
		if ok {
			got = fmt.Sprint(v)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}

// FuzzExpr: no source makes the compiler or the machine panic, and what compiles answers or fails.
func FuzzExpr(f *testing.F) {
	for _, s := range []string{`msg.header.region in ["EU"] && msg.priority >= 4`, `any(keys(msg.header), # startsWith "x-")`, `a = 'b' AND c IS NULL`,
		`count(msg.json.items, .sku == "a") > 1`, `msg?.json?.a ?? 1 == 1`, "((((", `"\u00`, "msg.text matches '('", `msg.header["a"][1:2] == "x"`, "1..2 in 3"} {
		f.Add(s)
	}
	m := testMessage()
	f.Fuzz(func(t *testing.T, source string) {
		for _, kind := range []reflect.Kind{reflect.Bool, reflect.String} {
			p, fault := compile("filter", source, "r", kind)
			if fault != nil {
				n := len([]rune(source))
				if fault.from < 0 || fault.from > n || fault.to < 0 || fault.to > n+1 {
					t.Errorf("position %d-%d in %d runes", fault.from, fault.to, n)
				}
				continue
			}
			v, err := p.run(m, "r")
			if err == nil && reflect.TypeOf(v) == nil {
				t.Errorf("%q gives nothing", source)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	for name, source := range map[string]string{
		"fields": `msg.priority >= 4 and msg.type == "order"`,
		"header": `msg.header.region in ["EU", "UK"] && msg.priority >= 4`,
		"keys":   `any(keys(msg.header), # startsWith "x-audit-")`,
		"json":   `msg.json.total > 12`,
	} {
		b.Run(name, func(b *testing.B) {
			f := &Filter{mustCompile(b, source, reflect.Bool)}
			m := testMessage()
			m.Props = m.Props[:5]
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := f.Match(m, "r"); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		mustCompile(b, `msg.header.region in ["EU", "UK"] && msg.priority >= 4`, reflect.Bool)
	}
}
