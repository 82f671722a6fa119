package adapters

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestValueText(t *testing.T) {
	uuid := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}
	for _, c := range []struct {
		v    Value
		code string
		text string
	}{
		{Null(), "n", ""},
		{Bool(true), "b", "true"},
		{Bool(false), "b", "false"},
		{Int(TI8, -128), "i8", "-128"},
		{Int(TI64, math.MinInt64), "i64", "-9223372036854775808"},
		{Uint(TU64, math.MaxUint64), "u64", "18446744073709551615"},
		{Uint(TChar, '€'), "c", "€"},
		{Float32(0.1), "f32", "0.1"},
		{Float64(0.1), "f64", "0.1"},
		{Float64(math.Inf(-1)), "f64", "-Inf"},
		{String("Zürich"), "s", "Zürich"},
		{Symbol("sym"), "y", "sym"},
		{Bytes([]byte{0, 255}), "x", "\x00\xff"},
		{Time(1700000000123), "t", "2023-11-14T22:13:20.123Z"},
		{UUID(uuid), "g", "00010203-0405-0607-0809-0a0b0c0d0eff"},
		{Decimal("1.20"), "d", "1.20"},
		{List(Bool(true)), "l", ""},
		{Map(Entry{K: String("k"), V: Null()}), "m", ""},
	} {
		if c.v.Type().Code() != c.code || c.v.Text() != c.text {
			t.Errorf("%#v: code %q text %q, want %q %q", c.v, c.v.Type().Code(), c.v.Text(), c.code, c.text)
		}
		if typ, ok := TypeOf(c.code); !ok || typ != c.v.Type() {
			t.Errorf("TypeOf(%q) = %v, %v", c.code, typ, ok)
		}
		if !c.v.Equal(c.v) || c.v.Equal(String("something else")) {
			t.Errorf("%#v: Equal", c.v)
		}
	}
	if _, ok := TypeOf("zz"); ok || Type(200).Code() != "?" {
		t.Error("an unknown type has a code")
	}
}

func TestValuesKeepTheirTypesApart(t *testing.T) {
	same := []Value{Int(TI32, 1), Int(TI64, 1), Uint(TU32, 1), Bool(true), Time(1), String("1"), Symbol("1"), Bytes([]byte("1"))}
	for i, a := range same {
		for j, b := range same {
			if a.Equal(b) != (i == j) {
				t.Errorf("%#v equals %#v: %v", a, b, a.Equal(b))
			}
		}
	}
	if !Float64(math.NaN()).Equal(Float64(math.NaN())) {
		t.Error("NaN that was carried is not what came")
	}
	nested := Map(Entry{K: String("l"), V: List(Int(TI8, 1), Null())})
	if !nested.Equal(Map(Entry{K: String("l"), V: List(Int(TI8, 1), Null())})) || nested.Equal(Map(Entry{K: String("l"), V: List()})) {
		t.Error("nested values")
	}
	if got := fmt.Sprintf("%#v", nested.Map()[0].V.List()[0]); got != `i8:"1"` {
		t.Errorf("GoString: %s", got)
	}
}

func TestBytesAreCopied(t *testing.T) {
	b := []byte("abc")
	v := Bytes(b)
	b[0] = 'X'
	if v.Str() != "abc" {
		t.Error("the value changed with its caller's slice")
	}
}

func TestCloneCanBeAltered(t *testing.T) {
	m := &Message{
		Track: Track{Path: []string{"r/a"}}, Props: []Prop{{Name: "n", V: Int(TI8, 1)}},
		Annot: Annot{MA: []Prop{{Name: "x"}}}, CE: []Prop{{Name: "id"}}, Body: Body{Form: BodyBytes, Data: []byte("body")},
	}
	c := m.Clone()
	c.Track.Path[0], c.Props[0].Name, c.Annot.MA[0].Name, c.CE[0].Name = "X", "X", "X", "X"
	c.Props = append(c.Props, Prop{Name: "more"})
	if m.Track.Path[0] != "r/a" || m.Props[0].Name != "n" || m.Annot.MA[0].Name != "x" || m.CE[0].Name != "id" || len(m.Props) != 1 {
		t.Errorf("the original changed: %+v", m)
	}
	if &c.Body.Data[0] != &m.Body.Data[0] {
		t.Error("the body was copied: it is shared, for nobody writes to it")
	}
}

func TestPropReturnsTheLast(t *testing.T) {
	m := &Message{Props: []Prop{{Name: "a", V: String("1")}, {Name: "b", V: String("2")}, {Name: "a", V: String("3")}}}
	if v, ok := m.Prop("a"); !ok || v.Str() != "3" {
		t.Errorf("a = %v, %v", v, ok)
	}
	if _, ok := m.Prop("c"); ok {
		t.Error("c is there")
	}
}

func TestSizeGrowsWithWhatIsHeld(t *testing.T) {
	small := &Message{Body: Body{Data: make([]byte, 10)}}
	large := &Message{Body: Body{Data: make([]byte, 1010)}, Props: []Prop{{Name: "name", V: String("value")}}, Key: []byte("k")}
	if d := large.Size() - small.Size(); d < 1000+9 || d > 1200 {
		t.Errorf("%d bytes more counted for 1010 more held", d)
	}
}

func TestIDs(t *testing.T) {
	if !StringID("").IsZero() || StringID("a").IsZero() {
		t.Error("IsZero")
	}
	ids := []ID{{}, StringID("1"), {Form: IDBytes, B: []byte("1")}, {Form: IDUUID, B: make([]byte, 16)}, {Form: IDULong, U: 1}}
	for i, a := range ids {
		for j, b := range ids {
			if a.Equal(b) != (i == j) {
				t.Errorf("%+v equals %+v: %v", a, b, a.Equal(b))
			}
		}
	}
}

func TestSets(t *testing.T) {
	if s := IDSet(IDString, IDULong); !s.Has(IDString) || s.Has(IDBytes) {
		t.Error("IDSet")
	}
	if s := Types(TBool, TMap); !s.Has(TMap) || s.Has(TList) {
		t.Error("Types")
	}
	if s := Bodies(BodyBytes); !s.Has(BodyBytes) || s.Has(BodyText) {
		t.Error("Bodies")
	}
	if f := FieldID | FieldCorr; !f.Has(FieldID) || f.Has(FieldID|FieldTo) {
		t.Error("Field.Has is about all of them")
	}
}

func TestWords(t *testing.T) {
	for o, want := range map[Outcome]string{0: "no outcome", Accepted: "accepted", Released: "released", Rejected: "rejected"} {
		if o.String() != want {
			t.Errorf("%d is %q, want %q", o, o, want)
		}
	}
	for c, want := range map[Class]string{ClassNone: "T-none", ClassWindow: "T-window", ClassTx: "T-tx"} {
		if c.String() != want {
			t.Errorf("%d is %q, want %q", c, c, want)
		}
	}
	if s := (Address{Broker: "paris", Form: Queue, Name: "orders"}).String(); s != "paris/orders" {
		t.Error(s)
	}
}

// TestEdited: a value that is set stands where the first of its name stood, or at the end; null takes out; the message
// itself stays as it was.
func TestEdited(t *testing.T) {
	m := &Message{Props: []Prop{{Name: "a", V: String("1")}, {Name: "b", V: String("2")}, {Name: "a", V: String("3")}, {Name: "c", V: String("4")}}}
	if m.Edited() != m {
		t.Error("a message without edits is copied")
	}
	before := slices.Clone(m.Props)
	m.Edits = []Prop{{Name: "new", V: Bool(true)}, {Name: "a", V: Int(TI64, 7)}, {Name: "c", V: Null()}, {Name: "absent", V: Null()}}
	want := []Prop{{Name: "a", V: Int(TI64, 7)}, {Name: "b", V: String("2")}, {Name: "new", V: Bool(true)}}
	got := m.Edited()
	if !slices.EqualFunc(got.Props, want, equalProp) || got.Edits != nil {
		t.Errorf("got %#v, edits %#v", got.Props, got.Edits)
	}
	if !slices.EqualFunc(m.Props, before, equalProp) || len(m.Edits) != 4 {
		t.Errorf("the message itself was changed: %#v", m)
	}
}

func equalProp(a, b Prop) bool { return a.Name == b.Name && a.KeyNum == b.KeyNum && a.V.Equal(b.V) }
