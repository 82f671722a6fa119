package adapters

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

var (
	seedFlag = flag.Uint64("codec.seed", 0, "seed of the random messages; 0: a new one")
)

// encoded is m's binary form, behind bytes that must stay.
func encoded(t testing.TB, m *Message) []byte {
	t.Helper()
	b, err := m.AppendBinary([]byte("before"))
	rest, kept := bytes.CutPrefix(b, []byte("before"))
	if err != nil || !kept {
		t.Fatalf("encode: %q, %v", b[:min(len(b), 10)], err)
	}
	return rest
}

// through is what comes back of m.
func through(t testing.TB, m *Message) *Message {
	t.Helper()
	got := &Message{Type: "overwritten", Left: 7}
	if err := got.UnmarshalBinary(encoded(t, m)); err != nil {
		t.Fatalf("decode %+v: %v", m, err)
	}
	return got
}

func TestBinaryOfRandomMessages(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again with -codec.seed=%d", seed)
	r := &maker{rand.New(rand.NewPCG(seed, 0))}
	for range 3000 {
		m := r.message()
		if got := through(t, m); !reflect.DeepEqual(got, m) {
			t.Fatalf("got  %+v\nwant %+v", got, m)
		}
	}
}

// maker makes messages as adapters make them: what is empty is nil, except Key.
type maker struct{ *rand.Rand }

func (r *maker) some() bool { return r.IntN(3) > 0 }

// n is a length: mostly short, at times around the step from one byte of length to two and three.
func (r *maker) n() int {
	switch r.IntN(12) {
	case 0:
		return 120 + r.IntN(16)
	case 1:
		return 16380 + r.IntN(8)
	}
	return r.IntN(12)
}

func (r *maker) bytes() []byte {
	b := make([]byte, r.n())
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if len(b) == 0 {
		return nil
	}
	return b
}

func (r *maker) text() string { return string(r.bytes()) }

// u64 is a number of any length in bits.
func (r *maker) u64() uint64 { return r.Uint64() >> r.IntN(64) }
func (r *maker) i64() int64  { return int64(r.u64()) * int64(1-2*r.IntN(2)) }

func (r *maker) id() ID {
	switch form := IDForm(r.IntN(int(IDULong) + 1)); form {
	case IDString:
		return ID{Form: form, S: r.text()}
	case IDBytes:
		return ID{Form: form, B: r.bytes()}
	case IDUUID:
		return ID{Form: form, B: []byte(r.uuid().Str())}
	case IDULong:
		return ID{Form: form, U: r.u64()}
	}
	return ID{}
}

func (r *maker) addr() Addr {
	return Addr{Name: r.text(), Form: AddrForm(r.IntN(int(AddrTempTopic) + 1)), Scope: r.text()}
}

func (r *maker) uuid() Value {
	var u [16]byte
	for i := range u {
		u[i] = byte(r.Uint32())
	}
	return UUID(u)
}

func (r *maker) value(depth int) Value {
	t := Type(r.IntN(int(TMap) + 1))
	if depth > 3 && t >= TList {
		t = TNull
	}
	switch t {
	case TBool:
		return Bool(r.some())
	case TI8, TI16, TI32, TI64:
		return Int(t, r.i64()>>(64-8<<(t-TI8)))
	case TU8, TU16, TU32, TU64:
		return Uint(t, r.u64()>>(64-8<<(t-TU8)))
	case TChar:
		return Uint(t, uint64(r.Uint32()))
	case TF32:
		return Value{t: t, n: uint64(r.Uint32())} // any bits, NaN too
	case TF64:
		return Value{t: t, n: r.Uint64()}
	case TTime:
		return Time(r.i64())
	case TUUID:
		return r.uuid()
	case TString, TSymbol, TDecimal, TBytes:
		return Value{t: t, s: r.text()}
	case TList:
		return Value{t: t, list: slice(r, func() Value { return r.value(depth + 1) })}
	case TMap:
		return Value{t: t, m: slice(r, func() Entry { return Entry{r.value(depth + 1), r.value(depth + 1)} })}
	}
	return Null()
}

func slice[T any](r *maker, one func() T) (s []T) {
	for range r.IntN(5) {
		s = append(s, one())
	}
	return s
}

func (r *maker) props() []Prop {
	names := []string{"a", "b", "", r.text()} // so that names repeat
	return slice(r, func() Prop {
		return Prop{Name: names[r.IntN(len(names))], KeyNum: r.IntN(4) == 0, V: r.value(0)}
	})
}

func (r *maker) message() *Message {
	m := &Message{
		Track: Track{r.text(), r.text(), slice(r, r.text), r.some()},
		ID:    r.id(), Corr: r.id(), To: r.addr(), ReplyTo: r.addr(),
		Type: r.text(), ContentType: r.text(), ContentEncoding: r.text(),
		Created: r.i64(), Received: r.i64(), Expires: r.i64(), DeliverAt: r.i64(),
		Priority: Priority{r.some(), uint8(r.Uint32())}, Durable: Tri(r.IntN(3)), Deliveries: uint32(r.u64()),
		Group:      Group{r.id(), uint32(r.u64()), r.some(), r.some()},
		ReplyGroup: r.text(), AppID: r.text(), UserID: r.bytes(),
		MsgType: uint32(r.u64()), Report: uint32(r.u64()), Feedback: int32(r.i64()),
		Props: r.props(), CE: r.props(), Annot: Annot{r.props(), r.props()},
		Body: Body{BodyForm(r.IntN(int(BodyObject) + 1)), r.bytes(), slice(r, r.n), r.some(), r.text(),
			int32(r.i64()), int32(r.i64())},
		Native: Native{r.text(), r.bytes()},
	}
	if r.some() {
		m.Key = append([]byte{}, r.bytes()...)
	}
	return m
}
