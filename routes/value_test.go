package routes

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/posthouse/posthouse/adapters"
)

// TestFieldsAsText: ids and priorities in every form that a protocol brings.
func TestFieldsAsText(t *testing.T) {
	uuid := []byte{0x55, 0x0e, 0x84, 0, 0xe2, 0x9b, 0x41, 0xd4, 0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0, 0}
	for source, m := range map[string]adapters.Message{
		`msg.id == ""`: {},
		`msg.id == "550e8400-e29b-41d4-a716-446655440000"`: {ID: adapters.ID{Form: adapters.IDUUID, B: uuid}},
		`msg.id == "550e"`:                 {ID: adapters.ID{Form: adapters.IDUUID, B: uuid[:2]}}, // no UUID, whatever it says
		`msg.id == "18446744073709551615"`: {ID: adapters.ID{Form: adapters.IDULong, U: math.MaxUint64}},
		`msg.correlation_id == "00ff"`:     {Corr: adapters.ID{Form: adapters.IDBytes, B: []byte{0, 0xff}}},
		`msg.priority == 4`:                {}, // none stated
		`msg.priority == 0`:                {Priority: adapters.Priority{Set: true}},
		`msg.redelivered`:                  {Track: adapters.Track{MaybeDup: true}},
		`not msg.expired and not msg.redelivered and msg.hops == 0`: {Received: 5},
		`msg.priority in -3..9`:                                      {},
		`msg.priority - 9 in -5..-5`:                                 {},
		`msg?.json?.a?.b == 1 and msg.json.a.b == 1`:                 {Body: adapters.Body{Data: []byte(`{"a":{"b":1}}`)}},
		`any(msg?.json, #?.a matches "^x")`:                          {Body: adapters.Body{Data: []byte(`[{"a":"y"},{"a":"x"}]`)}},
		`all(msg?.json?.list, # in [1, 2])`:                          {Body: adapters.Body{Data: []byte(`{"list":[1,2,1]}`)}},
		`msg.text == msg.text and msg.json == nil`:                   {Body: adapters.Body{Form: adapters.BodyText, Data: []byte("null")}},
		`msg.text contains "é" and len(msg.text) == 1`:               {Body: adapters.Body{Form: adapters.BodyText, Data: []byte("é")}},
		`msg.header.a == "" and "a" in msg.header and msg.size == 0`: {Props: []adapters.Prop{{Name: "a", V: adapters.String("")}}},
	} {
		if got, err := (&Filter{mustCompile(t, source, reflect.Bool)}).Match(&m, "r"); err != nil || !got {
			t.Errorf("%s: %v, %v", source, got, err)
		}
	}
}

// TestRangesAreShort: a range whose ends are so far apart that their distance overflows is as long as any.
func TestRangesAreShort(t *testing.T) {
	for source, want := range map[string]bool{
		`msg.priority in 1..9`:                                      true,
		`msg.priority in 9..1`:                                      true, // empty
		`msg.priority in -5..5`:                                     true,
		`msg.priority in 0..10000`:                                  true,
		`msg.priority in 0..10001`:                                  false,
		`msg.priority in -9223372036854775807..9223372036854775807`: false,
		`msg.priority in 9223372036854775807..-9223372036854775807`: true,
		`msg.priority in 1..msg.size`:                               false,
		`len(1..3) == 3`:                                            false,
		`msg.priority in -(1)..2 and msg.priority in (1..3)[0:1]`:   false,
		`msg.header.a in ["x"] and not (msg.priority not in 4..4)`:  true,
	} {
		_, fault := compile("filter", source, "r", reflect.Bool)
		if (fault == nil) != want {
			t.Errorf("%s: %+v", source, fault)
		}
	}
}

// TestBodyLimits: what a body may be, for an expression to look into it.
func TestBodyLimits(t *testing.T) {
	deep := func(open, shut string) string {
		return strings.Repeat(open, maxDepth+1) + "1" + strings.Repeat(shut, maxDepth+1)
	}
	long := "[1" + strings.Repeat(",1", maxElements) + "]"
	for name, c := range map[string]struct{ body, says string }{
		"lists":      {deep("[", "]"), "nested deeper"},
		"maps":       {deep(`{"a":`, "}"), "nested deeper"},
		"mixed":      {deep(`{"a":[`, "]}"), "nested deeper"},
		"many":       {long, "elements"},
		"many below": {`{"a":` + long + `}`, "elements"},
		"no JSON":    {"{", "not JSON"},
		"two values": {"1 2", "not JSON"},
		"nothing":    {"", "not JSON"},
	} {
		f := &Filter{mustCompile(t, "msg.json == 1", reflect.Bool)}
		m := &adapters.Message{Body: adapters.Body{Form: adapters.BodyBytes, Data: []byte(c.body)}}
		for range 2 { // an error is not remembered as a value
			got, err := f.Match(m, "r")
			var e *EvalError
			if got || !errors.As(err, &e) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, %v: want an EvalError that says %q", name, got, err, c.says)
			}
		}
	}
}

// TestKeyOf: the ordering key that an expression gives, and when it gives none.
func TestKeyOf(t *testing.T) {
	m := testMessage()
	for source, want := range map[string]string{
		`msg.header.region`:                        "EU",
		`msg.key + "/" + route`:                    "k/r",
		`string(msg.json.name)`:                    "x",
		`msg.priority > 3 ? msg.type : msg.origin`: "order",
	} {
		e := &Expr{mustCompile(t, source, reflect.String)}
		if got, err := e.String(m, "r"); err != nil || got != want || e.Source() != source {
			t.Errorf("%s: %q, %v, want %q (source %q)", source, got, err, want, e.Source())
		}
	}
	m.Body.Data = []byte("no json")
	if got, err := (&Expr{mustCompile(t, "string(msg.json.name)", reflect.String)}).String(m, "r"); err == nil || got != "" {
		t.Errorf("of a body that is no JSON: %q, %v", got, err)
	}
	m.Type = strings.Repeat("x", maxKey+1)
	if got, err := (&Expr{mustCompile(t, "msg.type", reflect.String)}).String(m, "r"); err == nil || got != "" {
		t.Errorf("of a long text: %d bytes, %v", len(got), err)
	}
}
