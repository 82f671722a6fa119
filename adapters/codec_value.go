package adapters

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Values in the binary form (codec.go): a byte Type, then the payload.
//
//	n              nothing
//	b              a byte, 0 or 1
//	i8…i64, t      varint, zigzag
//	u8…u64, c      varint
//	f32, f64       4 or 8 bytes, IEEE 754, the most significant first
//	s y d x        string
//	g              16 bytes
//	l              varint count, values
//	m              varint count, then a key and a value for each

func zigzag(n int64) uint64   { return uint64(n)<<1 ^ uint64(n>>63) }
func unzigzag(n uint64) int64 { return int64(n>>1) ^ -int64(n&1) }

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendProp puts the type before the name, so that one byte holds KeyNum too.
func appendProp(b []byte, p *Prop) ([]byte, error) {
	head := byte(p.V.t)
	if p.KeyNum {
		head |= keyNumBit
	}
	return appendPayload(appendText(append(b, head), p.Name), &p.V, 0)
}

// appendPayload writes v without its type; depth is the number of lists and maps around it.
func appendPayload(b []byte, v *Value, depth int) ([]byte, error) {
	if !inRange(v.t, v.n) {
		return b, fmt.Errorf("number %d does not fit its type %s", int64(v.n), v.t.Code())
	}
	switch v.t {
	case TNull:
	case TBool:
		b = append(b, byte(v.n))
	case TI8, TI16, TI32, TI64, TTime:
		b = binary.AppendUvarint(b, zigzag(int64(v.n)))
	case TU8, TU16, TU32, TU64, TChar:
		b = binary.AppendUvarint(b, v.n)
	case TF32:
		b = binary.BigEndian.AppendUint32(b, uint32(v.n))
	case TF64:
		b = binary.BigEndian.AppendUint64(b, v.n)
	case TString, TSymbol, TDecimal, TBytes:
		b = appendText(b, v.s)
	case TUUID:
		b = append(b, v.s...)
	case TList, TMap:
		return appendNested(b, v, depth+1)
	default:
		return b, fmt.Errorf("type %d is unknown", v.t)
	}
	return b, nil
}

func appendNested(b []byte, v *Value, depth int) (_ []byte, err error) {
	if depth > codecDepth {
		return b, fmt.Errorf("nested more than %d deep", codecDepth)
	}
	b = binary.AppendUvarint(b, uint64(len(v.List())+len(v.Map()))) // one of the two
	for i := range v.List() {
		if b, err = appendValue(b, &v.c.list[i], depth); err != nil {
			return b, err
		}
	}
	for i := range v.Map() {
		if b, err = appendValue(b, &v.c.m[i].K, depth); err != nil {
			return b, err
		}
		if b, err = appendValue(b, &v.c.m[i].V, depth); err != nil {
			return b, err
		}
	}
	return b, nil
}

func appendValue(b []byte, v *Value, depth int) ([]byte, error) {
	return appendPayload(append(b, byte(v.t)), v, depth)
}

// inRange keeps a reader in another language, and a target that cuts a number to its type, from carrying another value
// than the one that was meant.
func inRange(t Type, n uint64) bool {
	switch i := int64(n); t {
	case TBool:
		return n <= 1
	case TI8:
		return i == int64(int8(i))
	case TI16:
		return i == int64(int16(i))
	case TI32:
		return i == int64(int32(i))
	case TU8:
		return n <= math.MaxUint8
	case TU16:
		return n <= math.MaxUint16
	case TU32, TChar:
		return n <= math.MaxUint32
	}
	return true
}

// props reads a list of properties that fills the field.
func (d *decoder) props() []Prop {
	const least = 2 // type and length of the name
	ps := make([]Prop, d.nonEmpty(least))
	for i := 0; i < len(ps) && d.err == nil; i++ {
		head := d.byte()
		ps[i].KeyNum = head&keyNumBit != 0
		ps[i].Name = d.text()
		d.payload(&ps[i].V, Type(head&^keyNumBit), 0)
	}
	return ps
}

// payload reads a value of type t into v, which is zero.
func (d *decoder) payload(v *Value, t Type, depth int) {
	v.t = t
	switch t {
	case TNull:
	case TBool:
		v.n = uint64(d.byte())
	case TI8, TI16, TI32, TI64, TTime:
		v.n = uint64(unzigzag(d.uvarint()))
	case TU8, TU16, TU32, TU64, TChar:
		v.n = d.uvarint()
	case TF32:
		v.n = d.bigEndian(4)
	case TF64:
		v.n = d.bigEndian(8)
	case TString, TSymbol, TDecimal, TBytes:
		v.s = d.text()
	case TUUID:
		v.s = d.take(16)
	case TList, TMap:
		d.nested(v, depth+1)
	default:
		d.fail(ErrCodecVersion, "type %d of a value is unknown here", t)
	}
	if !inRange(t, v.n) {
		d.fail(ErrCodecDamaged, "number %d does not fit its type %s", int64(v.n), t.Code())
	}
}

func (d *decoder) nested(v *Value, depth int) {
	switch {
	case depth > codecDepth:
		d.fail(ErrCodecDamaged, "values nested more than %d deep", codecDepth)
	case v.t == TList:
		*v = List(d.list(depth)...)
	default:
		*v = Map(d.entries(depth)...)
	}
}

func (d *decoder) list(depth int) []Value {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	list := make([]Value, n)
	for i := 0; i < n && d.err == nil; i++ {
		d.value(&list[i], depth)
	}
	return list
}

func (d *decoder) entries(depth int) []Entry {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	m := make([]Entry, n)
	for i := 0; i < n && d.err == nil; i++ {
		d.value(&m[i].K, depth)
		d.value(&m[i].V, depth)
	}
	return m
}

func (d *decoder) value(v *Value, depth int) { d.payload(v, Type(d.byte()), depth) }

func (d *decoder) bigEndian(size int) (n uint64) {
	at := d.pos
	d.take(size)
	for _, c := range d.b[at:d.pos] {
		n = n<<8 | uint64(c)
	}
	return n
}
