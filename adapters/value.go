package adapters

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Type is the type of a property's value; the set is that of AMQP 1.0 part 1, section 1.6.
type Type uint8

// The types. The zero type is null.
const (
	TNull Type = iota
	TBool
	TI8
	TI16
	TI32
	TI64
	TU8
	TU16
	TU32
	TU64
	TF32
	TF64
	TString
	TSymbol
	TChar
	TBytes
	TTime    // ms since 1970 UTC
	TUUID    // 16 bytes
	TDecimal // decimal text
	TList
	TMap
)

var typeCodes = [...]string{"n", "b", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "s", "y", "c",
	"x", "t", "g", "d", "l", "m"}

// Code is the short name of the type on the wire: the codes of the posthouse-types header.
func (t Type) Code() string {
	if int(t) < len(typeCodes) {
		return typeCodes[t]
	}
	return "?"
}

// TypeOf returns the type with the given code.
func TypeOf(code string) (Type, bool) {
	i := slices.Index(typeCodes[:], code)
	return Type(max(i, 0)), i >= 0
}

// A Value is a property's value with its type: a tagged union without allocation for scalars. It is immutable; the
// zero Value is null.
type Value struct {
	t Type
	n uint64    // bool, integers, bits of floats, TTime
	s string    // TString, TSymbol, TDecimal, TBytes and TUUID as bytes
	c *compound // TList and TMap; nil = empty
}

// A compound is what a list or map holds: apart, for most values are scalars and messages hold many.
type compound struct {
	list []Value
	m    []Entry
}

// An Entry is one key and value of a map value.
type Entry struct {
	K, V Value
}

// Constructors; each sets the type that its name says.

// Null is the null value.
func Null() Value { return Value{} }

// Bool makes a boolean.
func Bool(b bool) Value {
	if b {
		return Value{t: TBool, n: 1}
	}
	return Value{t: TBool}
}

// Int makes a signed integer of type t, one of TI8 to TI64; the caller sees to the range.
func Int(t Type, i int64) Value { return Value{t: t, n: uint64(i)} }

// Uint makes an unsigned integer of type t, one of TU8 to TU64, or TChar; the caller sees to the range.
func Uint(t Type, u uint64) Value { return Value{t: t, n: u} }

// Float32 makes a 32-bit float.
func Float32(f float32) Value { return Value{t: TF32, n: uint64(math.Float32bits(f))} }

// Float64 makes a 64-bit float.
func Float64(f float64) Value { return Value{t: TF64, n: math.Float64bits(f)} }

// String makes a string.
func String(s string) Value { return Value{t: TString, s: s} }

// Symbol makes an AMQP symbol: ASCII by that standard.
func Symbol(s string) Value { return Value{t: TSymbol, s: s} }

// Decimal makes a decimal number from its text.
func Decimal(text string) Value { return Value{t: TDecimal, s: text} }

// Bytes makes a byte string; b is copied.
func Bytes(b []byte) Value { return Value{t: TBytes, s: string(b)} }

// UUID makes a uuid.
func UUID(u [16]byte) Value { return Value{t: TUUID, s: string(u[:])} }

// Time makes a timestamp from ms since 1970 UTC.
func Time(ms int64) Value { return Value{t: TTime, n: uint64(ms)} }

// List makes a list; vs is the Value's from then on.
func List(vs ...Value) Value {
	if len(vs) == 0 {
		return Value{t: TList}
	}
	return Value{t: TList, c: &compound{list: vs}}
}

// Map makes a map with ordered entries; es is the Value's from then on.
func Map(es ...Entry) Value {
	if len(es) == 0 {
		return Value{t: TMap}
	}
	return Value{t: TMap, c: &compound{m: es}}
}

// Type returns the type.
func (v Value) Type() Type { return v.t }

// Int returns a signed integer, TTime's ms, or an unsigned integer up to 2^63-1; 0 for other types.
func (v Value) Int() int64 { return int64(v.n) }

// Uint returns the bits of an unsigned integer or char.
func (v Value) Uint() uint64 { return v.n }

// Bool returns a boolean; false for other types.
func (v Value) Bool() bool { return v.t == TBool && v.n != 0 }

// Float returns TF32 and TF64 as float64; 0 for other types.
func (v Value) Float() float64 {
	switch v.t {
	case TF32:
		return float64(math.Float32frombits(uint32(v.n)))
	case TF64:
		return math.Float64frombits(v.n)
	}
	return 0
}

// Str returns the bytes of TString, TSymbol, TDecimal, TBytes or TUUID (16 raw bytes) as a string; "" for other types.
func (v Value) Str() string { return v.s }

// List returns the elements of a list. They must not be changed.
func (v Value) List() []Value {
	if v.c == nil {
		return nil
	}
	return v.c.list
}

// Map returns the entries of a map. They must not be changed.
func (v Value) Map() []Entry {
	if v.c == nil {
		return nil
	}
	return v.c.m
}

// Text is the value as people and text-only protocols see it (headers.md, section 3.8): decimal numbers, shortest
// floats that parse back, RFC 3339 times with ms in UTC, 8-4-4-4-12 uuids; bytes as they are; null, lists and maps
// are not expressible and give "".
func (v Value) Text() string {
	switch v.t {
	case TBool:
		return strconv.FormatBool(v.n != 0)
	case TI8, TI16, TI32, TI64:
		return strconv.FormatInt(int64(v.n), 10)
	case TU8, TU16, TU32, TU64:
		return strconv.FormatUint(v.n, 10)
	case TF32:
		return strconv.FormatFloat(v.Float(), 'g', -1, 32)
	case TF64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case TChar:
		return string(rune(v.n))
	case TTime:
		return time.UnixMilli(int64(v.n)).UTC().Format("2006-01-02T15:04:05.000Z07:00")
	case TUUID:
		if len(v.s) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", v.s[:4], v.s[4:6], v.s[6:8], v.s[8:10], v.s[10:])
		}
	}
	return v.s
}

// Equal reports whether both have the same type and value. NaN equals NaN: it is about what was carried.
func (v Value) Equal(o Value) bool {
	return v.t == o.t && v.n == o.n && v.s == o.s &&
		slices.EqualFunc(v.List(), o.List(), Value.Equal) &&
		slices.EqualFunc(v.Map(), o.Map(), func(a, b Entry) bool { return a.K.Equal(b.K) && a.V.Equal(b.V) })
}

// GoString makes test failures readable.
func (v Value) GoString() string {
	switch v.t {
	case TList:
		return fmt.Sprintf("l:%#v", v.List())
	case TMap:
		return fmt.Sprintf("m:%#v", v.Map())
	}
	return fmt.Sprintf("%s:%q", v.t.Code(), v.Text())
}
